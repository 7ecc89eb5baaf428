"""What every kernel takes, checked before it runs: types, shapes, and ranges of indices.

Compiled code reads and writes wherever it is told to, so nothing reaches it unchecked. The
contracts have the names of the kernels and take the same arguments. Each returns them as the kernel
may have them, or raises; `under_contract` puts it before the kernel. `reference`, `cpu` and `gpu`
share them, so that all three accept and refuse the same.

Floats of different types are brought to the wider one, as NumPy does. What a kernel writes to
must have the right type already.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from minidl.kernels.contracts import images, recurrent, rows, vectors

_PLACES = (images, recurrent, rows, vectors)


def under_contract(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel behind the contract of its name."""
    place = next(place for place in _PLACES if hasattr(place, kernel.__name__))
    contract = getattr(place, kernel.__name__)

    @wraps(kernel)
    def call(*arguments: Any) -> Any:
        return kernel(*contract(*arguments))

    return call
