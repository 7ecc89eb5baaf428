"""The fully connected layer: y = x w + b on the last axis."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.checks import whole
from minidl.errors import ShapeError
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Initialiser, Parameter, Shape


class Linear(Layer):
    """A linear map of the last axis: (N, ..., D) to (N, ..., out_features).

    Parameters
    ----------
    out_features
        The size of the last axis of the output.
    bias : bool
        Whether to add a learnt vector to the output.
    weight_init
        Draws `weight`, of shape (D, out_features). The default is for a ReLU
        behind the layer; `init.xavier_uniform` is for a tanh, a sigmoid or an output.
    bias_init
        Draws `bias`, of shape (out_features,).

    Raises
    ------
    InputError
        If `out_features` is not positive.
    """

    weight: Parameter
    bias: Parameter

    def __init__(
        self,
        out_features: int,
        bias: bool = True,
        *,
        weight_init: Initialiser = init.he_normal,
        bias_init: Initialiser = init.zeros,
    ) -> None:
        self.out_features = whole("Linear: out_features", out_features)
        self.has_bias = bias
        self.weight_init = weight_init
        self.bias_init = bias_init

    def build(self, shape: Shape) -> Shape:
        if not shape or shape[-1] < 1:
            raise ShapeError(
                f"{self.describe()} needs samples with at least one feature on the last axis, "
                f"not of shape {shape}"
            )
        self.parameter("weight", (shape[-1], self.out_features), self.weight_init)
        if self.has_bias:
            self.parameter("bias", (self.out_features,), self.bias_init)
        return (*shape[:-1], self.out_features)

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        w = self.weight.value
        self.expect_features(x, len(w))
        x = self.weight.cast(x)
        y = kernels.of(x).matmul(x.reshape(x.size // len(w), len(w)), w)
        if self.has_bias:
            y += self.bias.value
        return y.reshape(*x.shape[:-1], self.out_features), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        Linear.accumulate(self, dy, saved)  # a subclass may have changed the other
        dy2 = self.weight.cast(dy).reshape(-1, self.out_features)
        return kernels.of(dy2).matmul(dy2, self.weight.value.T).reshape(saved.shape)

    def accumulate(self, dy: Array, saved: Any) -> None:
        x, w, dy = saved, self.weight.value, self.weight.cast(dy)
        self.expect_gradient(dy, (*x.shape[:-1], self.out_features))
        rows = x.size // len(w)
        x2, dy2 = x.reshape(rows, len(w)), dy.reshape(rows, self.out_features)
        if self.weight.trainable:
            self.weight.grad += kernels.of(x).matmul(x2.T, dy2)
        if self.has_bias and self.bias.trainable:
            self.bias.grad += kernels.of(x).bias_gradient(dy2)
