"""Whether a kernel can be compiled, kept and read back on this machine; `minidl doctor` asks."""

from __future__ import annotations

import json
import warnings

from minidl.kernels.cpu.cache import njit


def add_one(x: float) -> float:
    """A kernel as small as can be."""
    return x + 1


def main() -> None:
    """Try it, and print a JSON object.

    ``kept`` is the folder that took the kernel, or null; ``failures`` says why others did not;
    ``read`` tells whether a second compilation was spared.
    """
    first, second = njit()(add_one), njit()(add_one)
    first._cache.load_overload = lambda *_: None  # compile it, whether it was kept before or not
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it would say is printed
        first(1.0)
        second(1.0)
    kept, failures = first._cache.kept, first._cache.failures
    read = bool(second.stats.cache_hits)
    if kept is not None:
        kept.unlink(missing_ok=True)
    print(json.dumps({"kept": kept and str(kept.parent), "failures": failures, "read": read}))
