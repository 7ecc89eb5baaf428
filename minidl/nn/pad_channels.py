"""The shortcut without parameters of the small residual networks (He et al. 2016, option A)."""

from __future__ import annotations

from typing import Any

from minidl import kernels
from minidl.checks import whole
from minidl.errors import ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


class PadChannels(Layer):
    """Every `stride`-th pixel, with channels of zeros added: (N, H, W, C) to (N, H', W', channels).

    H' = ceil(H / stride). The zeros follow the channels of x.

    Parameters
    ----------
    channels
        How many there are afterwards, at least as many as before.
    stride
        From pixel to pixel, down and across.

    Raises
    ------
    InputError
        If either is not positive.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        self.channels = whole("PadChannels: channels", channels)
        self.stride = whole("PadChannels: stride", stride)

    def build(self, shape: Shape) -> Shape:
        if len(shape) != 3 or min(shape) < 1 or shape[2] > self.channels:
            raise ShapeError(
                f"{self.describe()} needs images of shape (height, width, channels) with at most "
                f"{self.channels} channels, not {shape}"
            )
        down, across = (-(-side // self.stride) for side in shape[:2])
        return down, across, self.channels

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_axes(x, 4)
        if x.shape[3] > self.channels:
            raise ShapeError(
                f"{self.describe()} takes images of at most {self.channels} channels, "
                f"not of shape {x.shape[1:]}"
            )
        seen = x[:, :: self.stride, :: self.stride]
        y = kernels.array_module(x).zeros((*seen.shape[:3], self.channels), x.dtype)
        y[..., : x.shape[3]] = seen
        return y, x.shape if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        n, h, w, c = saved
        down, across = -(-h // self.stride), -(-w // self.stride)
        self.expect_gradient(dy, (n, down, across, self.channels))
        dx = kernels.array_module(dy).zeros(saved, dy.dtype)
        dx[:, :: self.stride, :: self.stride] = dy[..., :c]
        return dx
