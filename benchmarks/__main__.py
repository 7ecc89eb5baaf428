"""Run every benchmark, or those named: ``python -m benchmarks [kernels|steps|...]``."""

from __future__ import annotations

import sys
from importlib import import_module

ALL = (
    "kernels", "steps", "throughput", "communicator", "overlap", "pipeline_bubble", "virtual_time",
    "faults",
)  # fmt: skip

for name in sys.argv[1:] or ALL:
    if name not in ALL:
        sys.exit(f"unknown benchmark {name!r}; known: {', '.join(ALL)}")
    print(f"\n{name}")
    sys.argv[1:] = []
    import_module(f"benchmarks.{name}").main()
