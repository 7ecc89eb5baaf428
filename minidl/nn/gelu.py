"""The Gaussian error linear unit (Hendrycks and Gimpel 2016), and the error function it needs."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

from minidl import kernels
from minidl.nn.layer import Layer, Mode
from minidl.nn.parameters import Array


class GELU(Layer):
    """x · Φ(x), where Φ is the normal distribution function.

    This is the exact form, with the error function, not the approximation by a
    tanh: what PyTorch computes by default.
    """

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        self.expect_floats(x)
        return x * _normal_distribution(x), x if mode.training else None

    def backward(self, dy: Array, saved: Any) -> Array:
        x, xp = saved, kernels.array_module(saved)
        self.expect_gradient(dy, x.shape)
        near = xp.clip(x, -40, 40)  # beyond, the density is 0, and a square could overflow
        density = xp.exp(near * near / -2) / sqrt(2 * pi)
        return dy * (_normal_distribution(x) + near * density)


def _normal_distribution(x: Array) -> Array:
    return (1 + erf(x / sqrt(2))) / 2


def erf(x: Array) -> Array:
    """The error function, to rounding.

    NumPy has none. Quotients of polynomials by Moshier, "Methods and programs for
    mathematical functions" (the Cephes library), 1989: one up to 1, one beyond.
    """
    xp, dtype, x = kernels.array_module(x), x.dtype, kernels.wide(x)
    size = xp.minimum(abs(x), 6)  # erf(6) is 1 to the last digit
    inner = xp.minimum(size, 1) ** 2
    near = size * _polynomial(_NEAR_ABOVE, inner) / _polynomial(_NEAR_BELOW, inner)
    outer = xp.maximum(size, 1)
    tail = xp.exp(-outer * outer) * _polynomial(_FAR_ABOVE, outer) / _polynomial(_FAR_BELOW, outer)
    return xp.copysign(xp.where(size < 1, near, 1 - tail), x).astype(dtype, copy=False)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, the highest power first."""
    y = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        y = y * x + coefficient
    return y


_NEAR_ABOVE = (
    9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3,
    7.00332514112805075473e3, 5.55923013010394962768e4,
)  # fmt: skip
_NEAR_BELOW = (
    1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3,
    2.26290000613890934246e4, 4.92673942608635921086e4,
)  # fmt: skip
_FAR_ABOVE = (
    2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0,
    4.86371970985681366614e1, 1.96520832956077098242e2, 5.26445194995477358631e2,
    9.34528527171957607540e2, 1.02755188689515710272e3, 5.57535335369399327526e2,
)  # fmt: skip
_FAR_BELOW = (
    1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2,
    9.75708501743205489753e2, 1.82390916687909736289e3, 2.24633760818710981792e3,
    1.65666309194161350182e3, 5.57535340817727675546e2,
)  # fmt: skip
