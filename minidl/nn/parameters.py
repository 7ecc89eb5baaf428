"""What is learnt: arrays with gradients, all of a network's in one vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from minidl import rng
from minidl.checks import checked, masked_in
from minidl.errors import InputError, NotBuiltError, ShapeError
from minidl.kernels.contracts.types import no_array
from minidl.reprs import brief

Array = Any
"""An array of NumPy or CuPy."""
Shape = tuple[int, ...]
"""The shape of one sample, which is what an array's shape is without its batch axis."""
Initialiser = Callable[[np.random.Generator, Shape], np.ndarray]


@checked
class Parameter:
    """An array to be learnt, and its gradient.

    Both are views into a `ParameterBuffer`; until one is made, only the shape
    is known, so a network too large for this machine can still be counted.

    Parameters
    ----------
    shape
        The array's shape.
    init
        Draws the initial value: ``init(generator, shape)``.

    Attributes
    ----------
    frozen
        Whether the value stays as it is; see `Layer.freeze`. Layers that share a
        parameter share this too.
    """

    has_gradient: ClassVar[bool] = True
    """Whether optimizers move it when it is not frozen; otherwise it follows the run."""

    __repr__ = brief

    def __init__(self, shape: Shape, init: Initialiser) -> None:
        self.shape = tuple(shape)
        self.init = init
        self.frozen = False
        self._value: Array = None
        self._grad: Array = None

    @property
    def value(self) -> Array:
        """The array itself; raises NotBuiltError as long as there is none.

        What is assigned is copied into it, in its type, and must have exactly its shape.
        """
        return self._existing(self._value)

    @value.setter
    def value(self, value: Array) -> None:
        self._write("value", self.value, value)

    @property
    def grad(self) -> Array:
        """Its gradient, of the same shape; raises NotBuiltError as long as there is none."""
        return self._existing(self._grad)

    @grad.setter
    def grad(self, grad: Array) -> None:
        self._write("grad", self.grad, grad)

    def bind(self, value: Array, grad: Array) -> None:
        """Let the value and its gradient be these arrays from now on, or None: be none."""
        self._value, self._grad = value, grad

    def _write(self, what: str, own: Array, given: Array) -> None:
        """Copy numbers into an array that stays part of the buffer."""
        if given is own:  # after ``value += ...``
            return
        shape, kind = getattr(given, "shape", ()), getattr(given, "dtype", np.dtype(object)).kind
        if tuple(shape) != self.shape or kind not in "fiub":
            raise ShapeError(
                f"the {what} of a parameter of shape {self.shape} must be an array of real numbers "
                f"of this shape, not {getattr(given, 'dtype', type(given).__name__)} of {shape}"
            )
        if masked := masked_in(given):
            raise InputError(
                f"the {what} of a parameter of shape {self.shape} cannot be a masked array with "
                f"{masked} numbers masked: give filled(number)"
            )
        own[...] = given

    def cast(self, x: Array) -> Array:
        """An array of floats in this parameter's type; itself if it has that type already.

        Layers do this to what comes in, both ways: so what another layer has made wider, as
        ``x * np.sqrt(2.0)`` does, costs a conversion and goes no further.

        Raises
        ------
        InputError
            If this is no array of floats.
        """
        own = self.value.dtype
        try:
            dtype = x.dtype
        except AttributeError:
            raise no_array(x, taker="a layer") from None
        if dtype is own:
            return x
        if dtype.kind != "f":
            raise InputError(
                f"layers compute with floats, not with {dtype}: convert the array with astype"
            )
        return x.astype(own, copy=False)

    def _existing(self, array: Array) -> Array:
        if array is None:
            raise NotBuiltError(
                f"a parameter of shape {self.shape} has no values yet: "
                "call initialise(input_shape) on the network first"
            )
        return array

    @property
    def trainable(self) -> bool:
        """Whether optimizers move it. A layer computes no gradient for one that they do not."""
        return self.has_gradient and not self.frozen

    @property
    def initialised(self) -> bool:
        """Whether there are values."""
        return self._value is not None

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


class RunningMean(Parameter):
    """A value that follows, from step to step, the mean of what batches show.

    Each slice of a batch adds its share of the batch's mean to `grad`, as it
    would add its share of a gradient, so every strategy sums these as it sums
    gradients; `follow` then moves the value.

    Parameters
    ----------
    shape
        The array's shape.
    init
        Draws the initial value: ``init(generator, shape)``.
    momentum
        The step from the old value to the new mean, between 0 and 1.
    """

    has_gradient: ClassVar[bool] = False

    def __init__(self, shape: Shape, init: Initialiser, momentum: float) -> None:
        super().__init__(shape, init)
        self.momentum = momentum

    def follow(self) -> None:
        """Move the value towards the mean that has been gathered in `grad`."""
        self.value += self.momentum * (self.grad - self.value)


def parts_of(index: Mapping[str, slice], path: str) -> dict[str, slice]:
    """Those of some named places that belong to the layer at a dotted path; all if it is empty."""
    return {n: place for n, place in index.items() if not path or n.startswith(f"{path}.")}


class ParameterBuffer:
    """All parameters in one vector, all gradients in another.

    What is learnt comes first, running means after it, and what is frozen last;
    within each, the order of definition. So an optimizer's step is one pass over
    ``values[:trainable]``, and what ranks exchange has no gaps. Freezing or unfreezing
    parameters later needs another buffer.

    Parameters
    ----------
    parameters
        By dotted name. Their `value` and `grad` become views of this buffer.
    dtype
        Of both vectors.
    home
        The module whose arrays they are: ``numpy``, or ``cupy`` on a GPU.

    Attributes
    ----------
    values
        All values, one after another.
    grads
        All gradients, in the same places.
    index
        Where each parameter lies in them, by name.
    places
        Where each parameter that is learnt lies, by name.
    frozen
        Where each parameter that is frozen lies, by name.
    trainable
        How many elements are learnt.
    """

    def __repr__(self) -> str:
        return (
            f"ParameterBuffer({len(self.parameters)} parameters, {self.trainable:,} numbers "
            f"learnt of {len(self.values):,}, {self.values.dtype})"
        )

    def __init__(
        self, parameters: dict[str, Parameter], dtype: np.typing.DTypeLike, home: Any = np
    ) -> None:
        self.parameters = dict(sorted(parameters.items(), key=lambda item: _rank(item[1])))
        self.index: dict[str, slice] = {}
        end = 0
        for name, parameter in self.parameters.items():
            self.index[name] = slice(end, end + parameter.size)
            end += parameter.size
        self.places = {n: self.index[n] for n, p in self.parameters.items() if p.trainable}
        self.frozen = {n: self.index[n] for n, p in self.parameters.items() if p.frozen}
        self.trainable = sum(place.stop - place.start for place in self.places.values())
        self._spans: dict[str, tuple[slice, slice]] = {}
        self.bind(home.zeros(end, dtype), home.zeros(end, dtype))

    def spans(self, path: str) -> tuple[slice, slice]:
        """Where what is learnt in the layer at a dotted path lies, and where its running means.

        As they lie in the order of definition, neither has gaps.
        """
        if path not in self._spans:
            here, others = parts_of(self.index, path), {*self.places, *self.frozen}
            learnt = {name: place for name, place in here.items() if name in self.places}
            means = {name: place for name, place in here.items() if name not in others}
            self._spans[path] = _hull(learnt, 0), _hull(means, self.trainable)
        return self._spans[path]

    def bind(self, values: Array, grads: Array) -> None:
        """Let the parameters be views of these two vectors from now on."""
        self.values, self.grads = values, grads
        for name, parameter in self.parameters.items():
            place, shape = self.index[name], parameter.shape
            parameter.bind(values[place].reshape(shape), grads[place].reshape(shape))

    def reclaim(self) -> None:
        """Be the home of the parameters again, with the values that they have now.

        Another buffer may have been made for them since this one was.
        """
        if all(parameter.value.base is self.values for parameter in self.parameters.values()):
            return
        for name, parameter in self.parameters.items():
            self.values[self.index[name]] = parameter.value.reshape(-1)
        self.bind(self.values, self.grads)

    @contextmanager
    def borrowed(self, values: Array, grads: Array | None = None) -> Iterator[None]:
        """Within the block, the parameters are views of other values, with these gradients.

        Those that lie behind the end of `values` stay as they are.
        """
        inside = {n: p for n, p in self.parameters.items() if self.index[n].stop <= len(values)}
        before = [(p, p._value, p._grad) for p in inside.values()]
        try:
            for name, parameter in inside.items():
                place, shape = self.index[name], parameter.shape
                grad = None if grads is None else grads[place].reshape(shape)
                parameter.bind(values[place].reshape(shape), grad)
            yield
        finally:
            for parameter, value, grad in before:
                parameter.bind(value, grad)

    def draw(self, seed: int) -> None:
        """Set every parameter to its initial value."""
        for name, parameter in self.parameters.items():
            drawn = parameter.init(rng.stream(seed, "weights", name), parameter.shape)
            if drawn.shape != parameter.shape:
                raise InputError(
                    f"the initialiser of {name} drew shape {drawn.shape}, not {parameter.shape}"
                )
            parameter.value[...] = drawn

    def follow_means(self, path: str = "") -> None:
        """Let the running means below a path follow what the finished step has gathered."""
        for name in parts_of(self.index, path):
            parameter = self.parameters[name]
            if isinstance(parameter, RunningMean) and name not in self.frozen:
                parameter.follow()

    def __len__(self) -> int:
        return int(self.values.size)


def _rank(parameter: Parameter) -> int:
    """The order of what is learnt, follows the run, or is frozen: weights first in the latter."""
    return 2 * parameter.frozen + (not parameter.has_gradient)


def _hull(places: Mapping[str, slice], otherwise: int) -> slice:
    """From the start of the first of neighbouring places to the end of the last."""
    if not places:
        return slice(otherwise, otherwise)
    return slice(min(p.start for p in places.values()), max(p.stop for p in places.values()))
