"""A learnt vector for each word, letter or other thing that has a number."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.checks import whole
from minidl.errors import InputError
from minidl.kernels.contracts.types import no_array
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Initialiser, Parameter, Shape


class Embedding(Layer):
    """Rows of a table, looked up: whole numbers (N, ...) to (N, ..., features).

    It stands first in a network, which then is given its inputs as whole numbers.

    Parameters
    ----------
    vocabulary
        How many vectors there are; inputs run from 0 to ``vocabulary - 1``.
    features
        The size of each.
    weight_init
        Draws `weight`, of shape (vocabulary, features).

    Raises
    ------
    InputError
        If a size is not positive; in `forward`, if an input is no such number.
    """

    weight: Parameter

    def __init__(
        self, vocabulary: int, features: int, *, weight_init: Initialiser | None = None
    ) -> None:
        self.vocabulary = whole("Embedding: vocabulary", vocabulary)
        self.features = whole("Embedding: features", features)
        self.weight_init = init.normal() if weight_init is None else weight_init

    @property
    def takes_integers(self) -> bool:
        """Yes."""
        return True

    def build(self, shape: Shape) -> Shape:
        self.parameter("weight", (self.vocabulary, self.features), self.weight_init)
        return (*shape, self.features)

    def check_integers(self, x: Array) -> None:
        if not hasattr(x, "dtype"):
            raise no_array(x, taker=self.describe())
        if x.dtype.kind not in "iu":
            raise InputError(
                f"{self.describe()} looks up whole numbers and cannot take {x.dtype} inputs"
            )
        if x.size and not 0 <= x.min() <= x.max() < self.vocabulary:
            raise InputError(
                f"{self.describe()}: inputs must be from 0 to {self.vocabulary - 1}; "
                f"they run from {x.min()} to {x.max()}"
            )

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.check_integers(x)
        return self.weight.value[x], x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x, dy = saved, self.weight.cast(dy)
        self.expect_gradient(dy, (*x.shape, self.features))
        if self.weight.trainable:
            self.weight.grad += kernels.of(dy).embedding_gradient(
                dy.reshape(x.size, self.features), x.reshape(x.size), self.vocabulary
            )
        # A table has no slope between its rows.
        return kernels.array_module(dy).zeros(x.shape, dy.dtype)
