"""A way around a layer (He et al. 2016)."""

from __future__ import annotations

from typing import Any

from minidl.checks import checked
from minidl.errors import InputError, ShapeError
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array, Shape


@checked
class Residual(Layer):
    """y = body(x) + shortcut(x).

    Parameters
    ----------
    body
        What is learnt.
    shortcut
        The way around it: the identity if not given, else a layer that gives x
        the shape of the body's output.

    Raises
    ------
    InputError
        If either is no layer.
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        for name, part in (("body", body), ("shortcut", shortcut)):
            if not isinstance(part, Layer) and (name, part) != ("shortcut", None):
                raise InputError(f"Residual: {name} must be a layer, not {part!r}")
        self.body = body
        self.shortcut = shortcut

    def build(self, shape: Shape) -> Shape:
        through = self.body.build(shape)
        around = self.shortcut.build(shape) if self.shortcut else shape
        if through != around:
            raise ShapeError(
                f"{self.describe()}: the body gives shape {through} and the shortcut {around}; "
                "they must be equal to be added"
            )
        return through

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        y, of_body = self.body.forward(x, mode)
        if self.shortcut is None:
            return y + x, (of_body, None) if mode.training else None
        around, of_shortcut = self.shortcut.forward(x, mode)
        return y + around, (of_body, of_shortcut) if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        of_body, of_shortcut = saved
        dx = self.body.backward(dy, of_body)
        return dx + (self.shortcut.backward(dy, of_shortcut) if self.shortcut else dy)

    def accumulate(self, dy: Array, saved: Any) -> None:
        for layer, kept in zip((self.body, self.shortcut), saved, strict=True):
            if layer is not None and layer.learns:
                layer.accumulate(dy, kept)
