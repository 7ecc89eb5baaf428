"""The two-dimensional convolution (cross-correlation, as the field has it) of images."""

from __future__ import annotations

from typing import Any, ClassVar

from minidl import kernels
from minidl.checks import Pair, checked, pair, whole
from minidl.errors import InputError, ShapeError
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Initialiser, Parameter, Shape
from minidl.nn.windows import Padding, around, checked_padding, extended, positions


@checked
class Conv2d(Layer):
    """A convolution: (N, H, W, C) to (N, H', W', out_channels).

    H' = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1.

    Parameters
    ----------
    out_channels
        The number of filters.
    kernel_size
        Size of the window: a number for both axes, or (vertical, horizontal).
    stride
        Step between windows, likewise.
    padding
        Zeros on either side, likewise. "same" makes H' = ceil(H / stride), with the odd
        zero, if there is one, at the lower or right end.
    dilation
        Step from one number of a window to the next, likewise.
    bias : bool
        Whether each filter adds a learnt number.
    groups
        Into how many equal parts the channels are cut, of the input as of the
        output. Each part of the output sees one part of the input only, which
        costs that many times less (Krizhevsky et al. 2012; Xie et al. 2017). As
        many groups as input channels make a "depthwise" convolution.
    weight_init
        Draws `weight`, of shape (KH, KW, C / groups, out_channels). The default is
        for a ReLU behind the layer; `init.xavier_uniform` is for a tanh.
    bias_init
        Draws `bias`, of shape (out_channels,).

    Raises
    ------
    InputError
        If a size, stride or dilation is not positive, a padding is negative, or
        `groups` does not divide `out_channels`.
    """

    weight: Parameter
    bias: Parameter
    _axes: ClassVar[int] = 2

    def __init__(
        self,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Padding = 0,
        dilation: int | Pair = 1,
        bias: bool = True,
        groups: int = 1,
        *,
        weight_init: Initialiser = init.he_normal,
        bias_init: Initialiser = init.zeros,
    ) -> None:
        name = type(self).__name__
        self.out_channels = whole(f"{name}: out_channels", out_channels)
        self.kernel_size = pair(f"{name}: kernel_size", kernel_size)
        self.stride = pair(f"{name}: stride", stride)
        self.padding = checked_padding(f"{name}: padding", padding)
        self.dilation = pair(f"{name}: dilation", dilation)
        self.groups = whole(f"{name}: groups", groups)
        if self.out_channels % self.groups:
            raise InputError(
                f"{name}: out_channels must be a multiple of the {groups} groups, "
                f"not {out_channels}"
            )
        self.has_bias = bias
        self.weight_init = weight_init
        self.bias_init = bias_init

    def build(self, shape: Shape) -> Shape:
        down, across = positions(
            self, shape, self.kernel_size, self.stride, self.padding, self.dilation
        )
        if shape[-1] % self.groups:
            raise ShapeError(
                f"{self.describe()} has {self.groups} groups and cannot share the {shape[-1]} "
                f"channels of {shape} among them"
            )
        size = self.kernel_size[-self._axes :]
        weight_shape = (*size, shape[-1] // self.groups, self.out_channels)
        self.parameter("weight", weight_shape, self.weight_init)
        if self.has_bias:
            self.parameter("bias", (self.out_channels,), self.bias_init)
        return down, across, self.out_channels

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        w, b = self._kernel(), self.bias.value if self.has_bias else None
        self.expect_features(x, self.groups * w.shape[2])
        x = self.weight.cast(x)
        further, window = self._window(x)
        y = kernels.of(x).conv2d(extended(x, further), w, b, *window, self.groups)
        return y, x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        dy = self.weight.cast(dy)
        Conv2d.accumulate(self, dy, saved)  # a subclass may know other shapes
        x, w, k = saved, self._kernel(), kernels.of(saved)
        further, window = self._window(x)
        height, width = x.shape[1:3]
        shape = extended(x, further).shape
        dx = k.conv2d_input_gradient(dy, w, shape, *window, self.groups)
        return dx[:, :height, :width]

    def accumulate(self, dy: Array, saved: Any) -> None:
        x, w, k = saved, self._kernel(), kernels.of(saved)
        further, window = self._window(x)
        dy = self.weight.cast(dy)
        if self.weight.trainable:
            x = extended(x, further)
            dw = k.conv2d_weight_gradient(dy, x, w.shape, *window, self.groups)
            self.weight.grad += dw.reshape(self.weight.shape)
        if self.has_bias and self.bias.trainable:
            self.bias.grad += k.bias_gradient(dy)

    def _kernel(self) -> Array:
        """The weight with both axes of a window."""
        w = self.weight.value
        return w.reshape(*self.kernel_size, *w.shape[-2:])

    def _window(self, x: Array) -> tuple[Pair, tuple[Pair, Pair, Pair]]:
        """What `extended` adds to x, and the stride, padding and dilation for the result."""
        sides, further = around(
            self.padding, x.shape[1:], self.kernel_size, self.stride, self.dilation
        )
        return further, (self.stride, sides, self.dilation)
