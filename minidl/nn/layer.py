"""What a layer is: a function and its gradient, with parameters.

`forward` returns its output and whatever its gradient will need; the caller
holds the latter and hands it to `backward`. Nothing is kept on the layer, so
any number of batches can be under way at once and one layer can be used twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from reprlib import recursive_repr
from reprlib import repr as short
from typing import Any, Self

import numpy as np

from minidl.checks import LARGEST, fits, is_whole, whole
from minidl.errors import InputError, NotBuiltError, ShapeError
from minidl.kernels.contracts.types import DOUBLE, SINGLE, floats, no_array
from minidl.nn.parameters import Array, Initialiser, Parameter, ParameterBuffer, RunningMean, Shape
from minidl.reprs import brief, call, first_and_last, html_table


@dataclass(frozen=True)
class Mode:
    """How a forward pass is meant.

    Parameters
    ----------
    training
        Whether a backward pass will follow. If not, layers keep nothing.
    seed
        Of the run; with the step, it names the random numbers of this pass (dropout masks).
    step
        Of the run, from 0.
    first
        Position, in the global batch, of the first sample given.
    batch_size
        Samples in the global batch, of which the samples given are a slice.
    total
        Adds an array to those of all who have a slice of the batch at this moment, and
        gives the sum; None where nobody else has. Each must call it as often as the others.
    scale
        What the loss is multiplied with before its gradient is taken, so that float16 can
        hold it (see `minidl.optim.MixedPrecision`).
    pause
        Called by `Sequential` before each layer, both ways. By raising an exception it puts
        an end to the pass.
    """

    training: bool = False
    seed: int = 0
    step: int = 0
    first: int = 0
    batch_size: int = 1
    total: Callable[[Array], Array] | None = None
    scale: float = 1.0
    pause: Callable[[], None] | None = None

    __repr__ = brief


EVALUATE = Mode()


class Layer:
    """The base of every layer.

    A layer is written as `build`, `forward` and `backward`. Axis 0 of what
    passes through is the batch; the last axis holds features or channels.
    """

    _frozen = False

    def __repr__(self) -> str:
        return first_and_last(_drawn(self), "analysis.summary lists all layers")

    def _repr_html_(self) -> str | None:
        """For notebooks, a row for each of the layers that this one is made of, if there are any.

        Those that have no parameters of their own and are made of others are left out.
        """
        sizes: Counter[str] = Counter()
        for name, parameter in self.parameters().items():
            sizes[name.rpartition(".")[0]] += parameter.size * parameter.has_gradient
        rows = [
            (path, call(layer), f"{sizes[path]:,}" if sizes[path] else "")
            for path, layer in self.walk(self.path)
            if sizes[path] or not list(layer.children())
        ]
        caption = f"{type(self).__name__}, {sizes.total():,} parameters"
        return html_table(caption, ("", "layer", "parameters"), rows) if len(rows) > 1 else None

    @property
    def takes_integers(self) -> bool:
        """Whether inputs are whole numbers that stand for something, not numbers to compute with.

        A layer that hands its input to an `Embedding` says so by overriding this.
        """
        return False

    def check_integers(self, x: Array) -> None:
        """Raise an InputError if these inputs are not whole numbers that the layer knows."""

    def build(self, shape: Shape) -> Shape:
        """Declare the parameters for inputs of this shape.

        Parameters
        ----------
        shape
            The shape of one input sample.

        Returns
        -------
        tuple of int
            The shape of one output sample.

        Raises
        ------
        ShapeError
            If the layer cannot take such an input.
        """
        return shape

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        """The output, and what `backward` will need (None outside training)."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def backward(self, dy: Array, saved: Any) -> Array:
        """The gradient of the input; the parameters' gradients are added to theirs.

        Parameters
        ----------
        dy
            Gradient of the loss by this layer's output.
        saved
            What the forward pass of the same samples returned.
        """
        raise TypeError(f"{type(self).__name__} defines no backward")

    def accumulate(self, dy: Array, saved: Any) -> None:
        """As `backward`, where nobody wants the gradient of the input: a model's is of no use.

        A layer overrides this if it can save that work.
        """
        self.backward(dy, saved)

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "backward" in vars(cls) and "accumulate" not in vars(cls):
            cls.accumulate = Layer.accumulate  # type: ignore[method-assign]  # not that of a base

    def parameter(self, name: str, shape: Shape, init: Initialiser) -> Parameter:
        """The parameter ``self.name``: made by the first build, the same in any later one."""
        return self._declare(name, Parameter(shape, init))

    def running_mean(
        self, name: str, shape: Shape, init: Initialiser, momentum: float
    ) -> RunningMean:
        """As `parameter`, for a value that follows batch means."""
        made = self._declare(name, RunningMean(shape, init, momentum))
        assert isinstance(made, RunningMean)
        return made

    def _declare(self, name: str, fresh: Parameter) -> Parameter:
        fresh.frozen = self._frozen
        known = self.__dict__.setdefault(name, fresh)
        if known.shape != fresh.shape:
            raise ShapeError(
                f"{self.describe()} was built with {name} of shape {known.shape} "
                f"and cannot take an input that needs {fresh.shape}"
            )
        return known

    def __getattr__(self, name: str) -> Any:
        # Reached only for attributes that are missing: a parameter, if the class declares it.
        if any(name in vars(kind).get("__annotations__", {}) for kind in type(self).__mro__):
            raise NotBuiltError(
                f"{type(self).__name__}.{name} does not exist yet: "
                "call initialise(input_shape) first"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def path(self) -> str:
        """The dotted name within the model, known once the model has been initialised."""
        return str(self.__dict__.get("_path", ""))

    def expect_features(self, x: Array, count: int) -> None:
        """Raise an InputError unless `x` is an array whose last axis has this size."""
        try:
            if x.ndim >= 2 and x.shape[-1] == count:
                return
            shape = x.shape
        except AttributeError:
            raise no_array(x, taker=self.describe()) from None
        raise ShapeError(
            f"{self.describe()} was built for samples with {count} on the last axis "
            f"and cannot take a batch of shape {shape}"
        )

    def expect_axes(self, x: Array, count: int, what: str = "images (N, H, W, C)") -> None:
        """Raise an InputError unless `x` is an array of so many axes, which `what` names."""
        try:
            if x.ndim == count:
                return
            shape = x.shape
        except AttributeError:
            raise no_array(x, taker=self.describe()) from None
        raise ShapeError(f"{self.describe()} takes {what}, not an array of shape {shape}")

    def expect_batch(self, x: Array) -> None:
        """Raise an InputError unless `x` is an array with an axis for the samples."""
        try:
            if x.ndim:
                return
        except AttributeError:
            raise no_array(x, taker=self.describe()) from None
        raise ShapeError(f"{self.describe()} takes batches (N, ...), not an array without axes")

    def expect_floats(self, x: Array) -> None:
        """Raise an InputError unless `x` is an array of floats that kernels compute with."""
        try:
            dtype = x.dtype
        except AttributeError:
            raise no_array(x, taker=self.describe()) from None
        if dtype is not SINGLE and dtype is not DOUBLE:
            floats(x)

    def expect_gradient(self, dy: Array, shape: Shape) -> None:
        """Raise an InputError unless `dy` holds floats and has the shape of this layer's output.

        The batch is part of that shape.
        """
        self.expect_floats(dy)
        if dy.shape != shape:
            raise ShapeError(
                f"{self.describe()}: the gradient of an output of shape {tuple(shape)} must have "
                f"this shape, not {dy.shape}; backward takes what forward of the same samples saved"
            )

    def describe(self) -> str:
        """The layer's type and, where known, its place: ``Conv2d (0.conv1)``."""
        return f"{type(self).__name__} ({self.path})" if self.path else type(self).__name__

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers this one is made of, by name, in the order of their definition."""
        for name, attribute in self.__dict__.items():
            if isinstance(attribute, Layer):
                yield name, attribute
            elif isinstance(attribute, list | tuple | dict):
                parts = attribute if isinstance(attribute, dict) else dict(enumerate(attribute))
                for key, part in parts.items():
                    if isinstance(part, Layer):
                        yield f"{name}.{key}", part

    def walk(self, path: str = "") -> Iterator[tuple[str, Layer]]:
        """This layer and all below it with their dotted names, each layer once."""
        seen: set[int] = set()
        pending: list[tuple[str, Layer]] = [(path, self)]
        while pending:
            here, layer = pending.pop()
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            yield here, layer
            prefix = f"{here}." if here else ""
            pending.extend(reversed([(prefix + name, child) for name, child in layer.children()]))

    def _passed(self, within: frozenset[int] = frozenset()) -> Iterator[Layer]:
        """This layer and all below it, each as often as it has a place of its own."""
        yield self
        within |= {id(self)}
        children = [child for _, child in self.children() if id(child) not in within]
        if type(self).children is Layer.children:  # two attributes may be names of one place
            children = list({id(child): child for child in children}.values())
        for child in children:
            yield from child._passed(within)

    def parameters(self) -> dict[str, Parameter]:
        """All parameters by dotted name, in the order of their definition.

        One that several layers share stands here once, under its first name.
        """
        found: dict[int, tuple[str, Parameter]] = {}
        for path, layer in self.walk(self.path):
            for name, attribute in layer.__dict__.items():
                if isinstance(attribute, Parameter):
                    found.setdefault(id(attribute), (f"{path}.{name}" if path else name, attribute))
        return dict(found.values())

    def initialise(
        self, shape: Shape, *, seed: int = 0, dtype: np.typing.DTypeLike = np.float32
    ) -> ParameterBuffer:
        """Build for inputs of this shape, and draw initial values.

        Parameters
        ----------
        shape
            The shape of one input sample.
        seed
            Together with each parameter's name, decides its initial value.
        dtype
            Of parameters and gradients.

        Raises
        ------
        ShapeError
            If a layer cannot take such an input, or was built for another. Nothing
            that this call has built then remains.
        """
        if not fits(shape, Shape) or not all(is_whole(n, least=0) and n <= LARGEST for n in shape):
            raise InputError(
                "initialise: shape must be that of one input sample, such as (28, 28, 1), "
                f"not {short(shape)}"
            )
        if not fits(dtype, np.typing.DTypeLike):
            raise InputError(f"initialise: dtype must be a type of numbers, not {dtype!r}")
        seed = whole("initialise: seed", seed, least=0, most=inf)
        shape = tuple(shape)
        places = Counter(map(id, self._passed()))
        for path, layer in list(self.walk()):
            layer.__dict__.update(_path=path, _places=places[id(layer)])
        before = {id(parameter) for parameter in self.parameters().values()}
        try:
            self.build(shape)
        except Exception:
            self.forget(before)
            raise
        buffer = ParameterBuffer(self.parameters(), dtype)
        buffer.draw(seed)
        return buffer

    def freeze(self) -> Self:
        """Let nothing that is in this layer learn; before or after it is built.

        What is frozen keeps its value, bit for bit: no gradient is computed for it, no
        optimizer moves it, its weights do not decay, and a frozen `BatchNorm` normalises by
        its running values, which stay as they are. The gradient still passes through the
        layer, unless there is nothing to learn before it. Freeze and unfreeze between fits:
        what is unfrozen begins with optimizer slots of zero.

        A parameter that layers share is one parameter: freezing or unfreezing any of these
        layers does that to it.

        Returns
        -------
        Layer
            This one.

        Examples
        --------
        >>> from minidl import nn
        >>> model = nn.Sequential(nn.Linear(8), nn.ReLU(), nn.Linear(2)).freeze()
        >>> _ = model[-1].unfreeze()
        >>> [layer.frozen for layer in model]
        [True, True, False]
        """
        return self._set_frozen(True)

    def unfreeze(self) -> Self:
        """Let all that is in this layer learn again; the inverse of `freeze`."""
        return self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> Self:
        for _, layer in self.walk():
            layer._frozen = frozen
        for parameter in self.parameters().values():
            parameter.frozen = frozen
        return self

    @property
    def frozen(self) -> bool:
        """Whether `freeze` has been called on this layer, or on all layers it is made of."""
        return all(
            layer._frozen
            for _, layer in self.walk()
            if not any(True for _ in layer.children())
            or any(isinstance(each, Parameter) for each in vars(layer).values())
        )

    @frozen.setter
    def frozen(self, frozen: bool) -> None:
        raise InputError(
            f"{self.describe()}: frozen is not set but asked for; call freeze() or unfreeze()"
        )

    @property
    def learns(self) -> bool:
        """Whether a training step changes anything in this layer, which must have been built."""
        return any(not parameter.frozen for parameter in self.parameters().values())

    def forget(self, keep: set[int]) -> None:
        """Undo a build, so that another shape can be tried.

        Parameters
        ----------
        keep
            The `id` of each parameter that was there before.
        """
        for _, layer in self.walk():
            for name, attribute in list(layer.__dict__.items()):
                if isinstance(attribute, Parameter) and id(attribute) not in keep:
                    del layer.__dict__[name]


@recursive_repr()
def _drawn(layer: Layer) -> str:
    """A line for each layer, in the lines of those that are made of them."""
    children = list(layer.children())
    if not children:
        return call(layer)
    count = sum(p.size for p in layer.parameters().values() if p.has_gradient)
    drawn = (
        (name, _drawn(child) if type(child).__repr__ is Layer.__repr__ else repr(child))
        for name, child in children
    )
    inner = (f"{name}: {text}".replace("\n", "\n  ") for name, text in drawn)
    lines = "".join(f"\n  {line}" for line in inner)
    return f"{type(layer).__name__}({lines}\n)" + (f", {count:,} parameters" if count else "")
