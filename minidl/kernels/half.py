"""Half precision where the processor has none: every kernel through float32 and back.

As on hardware made for it, products of float16 are summed in float32. What is as large as
the activations comes back as float16; vectors of sums, such as batch norm's, stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from minidl import kernels


def __getattr__(name: str) -> Callable[..., Any]:
    return _through_float32(name)


@cache
def _through_float32(name: str) -> Callable[..., Any]:
    def kernel(*arguments: Any) -> Any:
        found = getattr(kernels.chosen(), name)(*map(kernels.wide, arguments))
        return tuple(map(_narrow, found)) if isinstance(found, tuple) else _narrow(found)

    return kernel


def _narrow(found: Any) -> Any:
    large = isinstance(found, np.ndarray) and found.dtype == np.float32 and found.ndim > 1
    return found.astype(np.float16) if large else found
