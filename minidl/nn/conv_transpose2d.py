"""The transposed convolution, which enlarges images: a convolution's gradient run forward."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.checks import Pair, pair, whole
from minidl.errors import InputError, ShapeError
from minidl.nn import init
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Initialiser, Parameter, Shape


class ConvTranspose2d(Layer):
    """A transposed convolution: (N, H, W, C) to (N, H', W', out_channels).

    H' = (H - 1) stride - 2 padding + kernel_size + output_padding: each pixel of
    the input is painted onto the output as a multiple of the kernel, and where
    the paint overlaps it adds up. Its forward pass is the gradient by its input
    of the `Conv2d` that has these settings, and that convolution is its gradient.

    Parameters
    ----------
    out_channels
        The number of channels made.
    kernel_size
        Size of the window: a number for both axes, or (vertical, horizontal).
    stride
        Step between windows in the output, likewise.
    padding
        How much is cut off the output on either side, likewise.
    output_padding
        Rows and columns more at the lower and right end, fewer than the stride. With
        a stride, a convolution takes images of several sizes to the same size; this
        chooses the one that comes back.
    bias : bool
        Whether each channel adds a learnt number.
    weight_init
        Draws `weight`, of shape (KH, KW, C, out_channels).
    bias_init
        Draws `bias`, of shape (out_channels,).

    Raises
    ------
    InputError
        If a size or stride is not positive, a padding is negative, or the output
        padding is not less than the stride.

    References
    ----------
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4.
    """

    weight: Parameter
    bias: Parameter

    def __init__(
        self,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        bias: bool = True,
        *,
        weight_init: Initialiser = init.he_normal,
        bias_init: Initialiser = init.zeros,
    ) -> None:
        self.out_channels = whole("ConvTranspose2d: out_channels", out_channels)
        self.kernel_size = pair("ConvTranspose2d: kernel_size", kernel_size)
        self.stride = pair("ConvTranspose2d: stride", stride)
        self.padding = pair("ConvTranspose2d: padding", padding, least=0)
        self.output_padding = pair("ConvTranspose2d: output_padding", output_padding, least=0)
        if any(more >= s for more, s in zip(self.output_padding, self.stride, strict=True)):
            raise InputError(
                "ConvTranspose2d: output_padding must be less than the stride "
                f"{self.stride}, not {self.output_padding}"
            )
        self.has_bias = bias
        self.weight_init = weight_init
        self.bias_init = bias_init

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape) < 1:
            raise ShapeError(
                f"{self.describe()} needs images of shape (height, width, channels), not {shape}"
            )
        made = self._enlarged(shape)
        if min(made) < 1:
            raise ShapeError(
                f"{self.describe()} would make an image of {made[0]}×{made[1]} from one of "
                f"{shape[0]}×{shape[1]}: its padding {self.padding} is too large"
            )
        self.parameter(
            "weight", (*self.kernel_size, shape[-1], self.out_channels), self.weight_init
        )
        if self.has_bias:
            self.parameter("bias", (self.out_channels,), self.bias_init)
        return made

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        w = self.weight.value
        self.expect_features(x, w.shape[2])
        x = self.weight.cast(x)
        y = kernels.of(x).conv2d_input_gradient(
            x, w.swapaxes(2, 3), (len(x), *self._enlarged(x.shape[1:])), *self._window
        )
        if self.has_bias:
            y += self.bias.value
        return y, x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x, w, k = saved, self.weight.value.swapaxes(2, 3), kernels.of(saved)
        dy = self.weight.cast(dy)
        self.expect_gradient(dy, (len(x), *self._enlarged(x.shape[1:])))
        if self.weight.trainable:
            dw = k.conv2d_weight_gradient(x, dy, w.shape, *self._window)
            self.weight.grad += dw.swapaxes(2, 3)
        if self.has_bias and self.bias.trainable:
            self.bias.grad += k.bias_gradient(dy)
        return k.conv2d(dy, w, None, *self._window)

    @property
    def _window(self) -> tuple[Pair, Pair, Pair]:
        """Stride, padding and dilation of the convolution that this is the gradient of."""
        return self.stride, self.padding, (1, 1)

    def _enlarged(self, shape: Shape) -> Shape:
        """The shape of the image made from one of this shape."""
        settings = zip(
            shape[:2], self.kernel_size, self.stride, self.padding, self.output_padding, strict=True
        )
        down, across = ((size - 1) * s - 2 * p + k + more for size, k, s, p, more in settings)
        return down, across, self.out_channels
