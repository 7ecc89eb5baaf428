"""Samples a second of training on one device, against the batch size.

Whole training steps of the networks of ``benchmarks.steps``, beside PyTorch where it can be
imported. Fixed costs of a step weigh less the larger the batch is, until the arithmetic
alone counts, or the batch no longer fits the caches. The picture is saved.

Run it with ``python -m benchmarks.throughput [--threads N] [picture]``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import TORCH, cores, interleaved, machine
from benchmarks.steps import CASES, ours, theirs
from minidl import kernels
from minidl.report.style import SERIES, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SECONDS = 20.0
"""For each network, at least: all batch sizes take turns."""

Curves = Mapping[str, Mapping[int, float]]
"""By who trains, samples a second for each batch size."""


def measure(name: str) -> Curves:
    """Samples a second of one of the networks, from the median time of a step."""
    make, shape, _ = CASES[name]
    makers = {"minidl": ours} | ({"torch": theirs} if TORCH else {})
    steps = {f"{who} {n}": step(make, shape, n) for who, step in makers.items() for n in BATCHES}
    took = interleaved(steps, SECONDS)
    return {who: {n: n / took[f"{who} {n}"] for n in BATCHES} for who in makers}


def draw(axes: Axes, name: str, curves: Curves) -> None:
    """Draw one network's curves."""
    for colour, (way, curve) in zip(SERIES, curves.items(), strict=False):
        axes.loglog(list(curve), list(curve.values()), "o-", color=colour, label=way)
    axes.set(title=name, xlabel="batch size", ylabel="samples a second")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def main() -> None:
    """Print what was measured, and save the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("picture", type=Path, nargs="?", default=Path("runs/throughput.png"))
    given = parser.parse_args()
    kernels.set_threads(given.threads)
    if TORCH:
        import torch

        torch.set_num_threads(given.threads)
    where = f"{machine()}; {given.threads} threads"
    print(f"{where}; samples a second in training, median steps")
    figure = new_figure(8, 7)
    figure.suptitle(where, fontsize=8)
    for axes, case in zip(figure.subplots(2, 2).flat, CASES, strict=True):
        name, curves = case.partition(",")[0], measure(case)
        print(f"{name}\n{'batch':>8}" + "".join(f"{way:>12}" for way in curves))
        for batch in BATCHES:
            shown = "".join(f"{curve[batch]:12,.0f}" for curve in curves.values())
            print(f"{batch:8}{shown}", flush=True)
        draw(axes, name, curves)
        save(figure, given.picture)
    print(f"saved as {given.picture}")


if __name__ == "__main__":
    main()
