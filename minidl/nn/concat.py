"""Several ways from one input, side by side (Szegedy et al. 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from minidl import kernels
from minidl.errors import InputError, ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class Concat(Layer):
    """y = [branch(x) for each branch], joined along the last axis.

    The branches are named by their place, as the layers of a `Sequential` are.

    Parameters
    ----------
    *branches
        One or more layers that are all given x. Their outputs may differ in
        the size of the last axis only.

    Raises
    ------
    InputError
        If there is none, or one is no layer.
    """

    def __init__(self, *branches: Layer) -> None:
        if not branches:
            raise InputError("Concat: branches must be at least one layer, not none")
        for position, branch in enumerate(branches):
            if not isinstance(branch, Layer):
                raise InputError(f"Concat: argument {position} must be a layer, not {branch!r}")
        self.branches = branches

    def children(self) -> Iterator[tuple[str, Layer]]:
        return zip(map(str, range(len(self.branches))), self.branches, strict=True)

    def build(self, shape: Shape) -> Shape:
        shapes = [branch.build(shape) for branch in self.branches]
        if not all(shapes) or len({made[:-1] for made in shapes}) > 1:
            raise ShapeError(
                f"{self.describe()}: the branches give shapes {', '.join(map(str, shapes))}; "
                "they must be equal but for the last axis to be joined"
            )
        return *shapes[0][:-1], sum(made[-1] for made in shapes)

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_batch(x)
        ways, saved = zip(*(branch.forward(x, mode) for branch in self.branches), strict=True)
        ends = list(accumulate(y.shape[-1] for y in ways[:-1]))
        y = kernels.array_module(x).concatenate(ways, axis=-1)
        return y, (y.shape, saved, ends) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        return sum(branch.backward(part, kept) for branch, part, kept in self._ways(dy, saved))

    def accumulate(self, dy: Array, saved: Any) -> None:
        for branch, part, kept in self._ways(dy, saved):
            if branch.learns:
                branch.accumulate(part, kept)

    def _ways(self, dy: Array, saved: Any) -> Iterator[tuple[Layer, Array, Any]]:
        """Each branch, its part of the gradient, and what it has kept."""
        shape, of_branches, ends = saved
        self.expect_gradient(dy, shape)
        parts = kernels.array_module(dy).split(dy, ends, axis=-1)
        return zip(self.branches, parts, of_branches, strict=True)
