"""The all-reduce of a phase's gradients, bucket by bucket, beside the backward pass or after it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.errors import InputError, PlanError
from minidl.nn import Layer, Mode, Parameter
from minidl.plans import Bucketing
from minidl.runtime.requests import Exchange, Launch, Requests
from minidl.strategy.replica import Replica
from minidl.tasks import Phase

Ask = Callable[[Requests], Any]
"""Carries out requests in the middle of a pass."""


class Reduction:
    """Leaves in a replica's gradients their sums over all ranks.

    Buckets are exchanged in the same order on every rank, each one whole. So it makes no
    difference to the sums when that happens.

    Parameters
    ----------
    replica
        Holds the gradients.
    exchange
        Makes the requests that leave in an array, a place in the gradients, its sum over all
        ranks.
    how
        How gradients are put into buckets.
    least
        How many numbers go into each, at least.
    """

    def __init__(
        self,
        replica: Replica,
        exchange: Callable[[np.ndarray, slice], Requests],
        how: Bucketing,
        least: float,
    ) -> None:
        self._replica, self._exchange = replica, exchange
        self._how, self._least = how, least
        self._ask: Ask | None = None
        self._watch: Watch | None = None

    def begin(self, phase: Phase) -> None:
        """Have all buckets of a phase still to come."""
        buckets = self._replica.job.buckets(phase.path, self._how, self._least)
        self._left = dict(enumerate(buckets))
        self._launches = self._how.launches([bucket.names for bucket in buckets])

    def beside(self, ask: Ask) -> None:
        """Launch, during the pass that begins now, each bucket as soon as it is filled."""
        if self._watch is None:
            self._watch = Watch(self._replica.model, self._filled)
        self._watch.begin()
        self._ask = ask

    def finish(self) -> Requests:
        """Exchange the buckets left when the pass has ended, and wait for those launched."""
        self._ask = None
        for number in [*self._left]:
            yield from self._exchanged(number)
        if self._watch is not None:
            yield Exchange(())

    def _filled(self, name: str) -> None:
        if self._ask is not None:
            for number in self._launches.filled(name):
                self._ask(self._launched(number))

    def _launched(self, number: int) -> Requests:
        yield Launch(self._exchanged(number))

    def _exchanged(self, number: int) -> Requests:
        due = next(iter(self._left), None)
        if number != due:
            # A rank without samples goes by the buckets' order, so the others have to.
            raise PlanError(
                f"bucket {number} was launched, but buckets go in their order on every rank, and "
                + ("none is left" if due is None else f"the next is {due}")
            )
        bucket = self._left.pop(number)
        return self._exchange(self._replica.buffer.grads[bucket.place], bucket.place)


class Watch:
    """Tells when a backward pass has completed the gradient of a parameter.

    It has when as many backward passes have gone through the layers that use the parameter
    as forward passes: a layer may be used twice, and two layers may share a parameter. A layer
    uses its own parameters, and those of layers below it that it does not call.

    Parameters
    ----------
    model
        Its layers are watched from now on.
    tell
        Is given the parameter's name.

    Raises
    ------
    InputError
        By a forward pass through a layer whose gradients have been told complete.
    """

    def __init__(self, model: Layer, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._names = {
            id(each): name for name, each in model.parameters().items() if not each.frozen
        }
        for _, layer in model.walk():
            below = {self._names[id(p)] for p in layer.parameters().values() if not p.frozen}
            if below:
                self._follow(layer, below)
        self.begin()

    def begin(self) -> None:
        """Forget a pass that was not finished."""
        self._open: Counter[str] = Counter()
        self._used: set[str] = set()
        self._told: set[str] = set()
        self._uses: dict[int, list[set[str]]] = defaultdict(list)

    def _follow(self, layer: Layer, below: set[str]) -> None:
        own = {
            self._names[id(each)]
            for each in vars(layer).values()
            if isinstance(each, Parameter) and not each.frozen
        }
        plain, inside = layer.forward, False

        def forward(x: np.ndarray, mode: Mode) -> tuple[np.ndarray, Any]:
            if not mode.training:
                return plain(x, mode)
            before, self._used = self._used, set()
            result = plain(x, mode)
            uses = own | (below - self._used)
            self._used |= uses | before
            if late := uses & self._told:
                raise InputError(
                    f"the gradient of {min(late)} is to change again after a backward pass that "
                    "had completed it, when it may be on its way: use overlap=False"
                )
            self._uses[id(layer)].append(uses)
            self._open.update(uses)
            return result

        def counted(gradient: Callable[..., Any]) -> Callable[..., Any]:
            def backward(dy: np.ndarray, saved: Any) -> Any:
                nonlocal inside
                if inside:  # `accumulate` has called `backward`
                    return gradient(dy, saved)
                inside = True
                try:
                    dx = gradient(dy, saved)
                finally:
                    inside = False
                self._close(self._uses[id(layer)].pop())
                return dx

            return backward

        vars(layer).update(
            forward=forward,
            backward=counted(layer.backward),
            accumulate=counted(layer.accumulate),
        )

    def _close(self, uses: set[str]) -> None:
        self._open.subtract(uses)
        for name in sorted(uses):
            if not self._open[name]:
                self._told.add(name)
                self._tell(name)
