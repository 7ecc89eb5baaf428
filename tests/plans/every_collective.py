"""Every collective by name, and every way to call it."""

from __future__ import annotations

from typing import Any

from minidl import plans

ALL = {**plans.ALL_REDUCES, **plans.COLLECTIVES}
ROOTED = ("broadcast", "reduce", "scatter", "gather")


def options(name: str, size: int) -> list[dict[str, Any]]:
    """Every way to call a collective for so many ranks, but for pieces, of which there are some."""
    match name:
        case "torus":
            return [{"shape": (x, size // x)} for x in range(1, size + 1) if size % x == 0]
        case "hierarchical":
            return [{"groups": groups} for groups in range(1, size + 1)]
        case "tree" | "double-tree":
            return [{"pieces": pieces} for pieces in (1, 2, 3, 5)]
        case "send/receive":
            ends = {(0, size - 1), (size - 1, 0), (size // 2, 0)}
            return [{"source": a, "target": b} for a, b in sorted(ends) if a != b]
        case _ if name in ROOTED:
            return [{"root": root} for root in range(size)]
    return [{}]
