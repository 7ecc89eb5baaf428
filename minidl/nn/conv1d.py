"""The convolution of sequences, which are images of one row."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from minidl.checks import checked, whole
from minidl.nn import init
from minidl.nn.conv2d import Conv2d
from minidl.nn.parameters import Array, Initialiser
from minidl.nn.sequences import OverSequences


@checked
class Conv1d(OverSequences, Conv2d):
    """A convolution over time: (N, T, C) to (N, T', out_channels).

    T' = floor((T + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1.

    Parameters
    ----------
    out_channels
        The number of filters.
    kernel_size
        Steps in a window.
    stride
        Steps between windows.
    dilation
        Steps from one number of a window to the next.
    padding
        Zeros at either end, or "same"; see `Conv2d`.
    bias : bool
        Whether each filter adds a learnt number.
    groups
        Into how many equal parts the channels are cut, as for `Conv2d`.
    weight_init
        Draws `weight`, of shape (kernel_size, C / groups, out_channels).
    bias_init
        Draws `bias`, of shape (out_channels,).

    Raises
    ------
    InputError
        If a size, stride or dilation is not positive, the padding is negative, or
        `groups` does not divide `out_channels`.
    """

    _axes: ClassVar[int] = 1

    def __init__(
        self,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | Literal["same"] = 0,
        dilation: int = 1,
        bias: bool = True,
        groups: int = 1,
        *,
        weight_init: Initialiser = init.he_normal,
        bias_init: Initialiser = init.zeros,
    ) -> None:
        super().__init__(
            out_channels,
            (1, whole("Conv1d: kernel_size", kernel_size)),
            (1, whole("Conv1d: stride", stride)),
            padding if isinstance(padding, str) else (0, whole("Conv1d: padding", padding, 0)),
            (1, whole("Conv1d: dilation", dilation)),
            bias,
            groups,
            weight_init=weight_init,
            bias_init=bias_init,
        )

    def accumulate(self, dy: Array, saved: Any) -> None:
        self.expect_axes(dy, 3, "gradients (N, T, C)")
        Conv2d.accumulate(self, dy[:, None], saved)
