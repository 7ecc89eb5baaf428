"""What an optimizer is: a rule that moves a vector of weights, given its gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from minidl.errors import InputError
from minidl.kernels.contracts.types import misfit, no_array
from minidl.nn.parameters import Array
from minidl.optim.schedules import Schedule, slowed
from minidl.optim.settings import require


@dataclass(frozen=True)
class Optimizer:
    """The base of every update rule.

    An optimizer is a frozen dataclass of its settings and keeps no state. What it
    remembers between steps are vectors as long as the weights, one for each name in
    `slots`; whoever trains holds them, all zero before the first step, and can cut
    them beside the weights, send them or save them. A rule of your own is three
    things, settings, `slots` and `step`:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class MyAdagrad(Optimizer):
    ...     lr: float = 0.01
    ...
    ...     @property
    ...     def slots(self):
    ...         return ("sum_of_squares",)
    ...
    ...     def step(self, values, grads, slots, step):
    ...         slots["sum_of_squares"] += grads**2
    ...         values -= self.lr * grads / (slots["sum_of_squares"] ** 0.5 + 1e-10)

    Such a rule must treat every element by itself: a vector may be updated in parts.
    One that must know which elements are a parameter's defines `update` too, which
    is what a training step calls.
    """

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state vectors that `step` needs."""
        return ()

    @property
    def needs_norm(self) -> bool:
        """Whether `update` must be told how long the whole gradient is."""
        return False

    @property
    def needs_distance(self) -> bool:
        """Whether `weights` must be told how far the weights have moved."""
        return False

    def weights(self, staleness: Sequence[int], distances: Sequence[float]) -> tuple[float, ...]:
        """What a parameter server multiplies the gradients of one update with.

        Parameters
        ----------
        staleness
            For each gradient, how many updates it has missed.
        distances
            How far the weights have moved since those that it was computed from. Told only
            if `needs_distance`; otherwise NaN.
        """
        return (1.0,) * len(staleness)

    def check(self, names: Iterable[str]) -> None:
        """See, before training, that the rule suits a model.

        Parameters
        ----------
        names
            Of all parameters that are learnt.

        Raises
        ------
        InputError
            If it does not.
        """

    def slowed(self, factor: float) -> Self:
        """The same rule with its learning rate multiplied.

        Raises
        ------
        InputError
            If it has no `lr` to multiply.
        """
        lr = vars(self).get("lr")
        if lr is None:
            raise InputError(f"{type(self).__name__} has no lr, so it cannot be slowed down")
        changed: dict[str, Any] = {"lr": slowed(lr, factor)}
        return replace(self, **changed)

    def _slot(self, slots: Mapping[str, Array], name: str) -> Array:
        """The vector of this name; an InputError if there is none."""
        if name not in slots:
            raise InputError(
                f"{type(self).__name__} has {', '.join(self.slots)}: slots must hold one vector "
                f"for each name, and there is none for {name!r}"
            )
        return slots[name]

    def _expect_vectors(self, values: Array, grads: Array, slots: Mapping[str, Array]) -> None:
        """Raise an InputError unless weights, gradient and slots are vectors of one length."""
        given = (values, grads, *(self._slot(slots, name) for name in self.slots))
        for x in given:
            if not hasattr(x, "dtype"):
                raise no_array(x, taker=type(self).__name__)
        if values.ndim != 1 or any(x.shape != values.shape for x in given):
            raise misfit(
                type(self).__name__, "weights, gradient and slots as vectors of one length", *given
            )

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        """Move the weights, in place.

        Parameters
        ----------
        values
            Weights, (P,), changed in place.
        grads
            Their gradient, (P,), not to be changed.
        slots
            For each name in `slots` a vector (P,), to be changed in place.
        step
            How many steps came before; 0 in the first.
        """
        raise TypeError(f"{type(self).__name__} defines no step")

    def update(
        self,
        values: Array,
        grads: Array,
        slots: dict[str, Array],
        step: int,
        places: Mapping[str, slice],
        norm: float,
    ) -> None:
        """Move all weights that one rank holds, in place; by default, with one `step`.

        A rank holds a parameter as a whole or not at all.

        Parameters
        ----------
        values
            Weights, (P,), changed in place.
        grads
            Their gradient, (P,), not to be changed.
        slots
            By name, what the rule keeps from step to step, (P,) each, changed in place.
        step
            How many updates came before.
        places
            Where each parameter lies in the vectors, by name; one after the other,
            without gaps.
        norm
            The length of the gradient of the whole model, of which this rank may hold
            a part. Told only if `needs_norm`; otherwise NaN.
        """
        self.step(values, grads, slots, step)

    def step_in(
        self, place: slice, values: Array, grads: Array, slots: dict[str, Array], step: int
    ) -> None:
        """Do a `step` in one place of the vectors only."""
        own = {name: slots[name][place] for name in self.slots}
        self.step(values[place], grads[place], own, step)

    def require_inner(self, rule: Optimizer) -> None:
        """Check that this is a rule that another one can be made of.

        Raises
        ------
        InputError
            If it is none, or weighs gradients by their staleness, which is done before all else.
        """
        own = type(self).__name__
        if not isinstance(rule, Optimizer):
            raise InputError(f"{own}: optimizer must be an Optimizer, not {rule!r}")
        if type(rule).weights is not Optimizer.weights:
            kind = type(rule).__name__
            raise InputError(f"{own} cannot hold {kind}: write {kind}({own}(...)) instead")

    def require(
        self, name: str, least: float, below: float = float("inf"), *, strict: bool = False
    ) -> None:
        """Check that a setting is a finite number in a range: `minidl.optim.settings.require`."""
        require(self, name, least, below, strict=strict)

    def require_rate(self) -> None:
        """Check that `lr` is a finite number greater than 0, or a schedule.

        Raises
        ------
        InputError
            If it is not.
        """
        if not isinstance(vars(self)["lr"], Schedule):
            self.require("lr", 0, strict=True)


@dataclass(frozen=True)
class Wrapper(Optimizer):
    """The base of a rule around another one, which does all that the outer one does not."""

    optimizer: Optimizer

    def __post_init__(self) -> None:
        self.require_inner(self.optimizer)

    @property
    def slots(self) -> tuple[str, ...]:
        return self.optimizer.slots

    @property
    def needs_norm(self) -> bool:
        return self.optimizer.needs_norm

    def check(self, names: Iterable[str]) -> None:
        self.optimizer.check(names)

    def slowed(self, factor: float) -> Self:
        return replace(self, optimizer=self.optimizer.slowed(factor))

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        self.optimizer.step(values, grads, slots, step)

    def update(
        self,
        values: Array,
        grads: Array,
        slots: dict[str, Array],
        step: int,
        places: Mapping[str, slice],
        norm: float,
    ) -> None:
        self.optimizer.update(values, grads, slots, step, places, norm)
