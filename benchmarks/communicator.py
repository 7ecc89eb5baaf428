"""How fast worker processes start, and how fast they sum vectors around a ring.

Where PyTorch can be imported, its gloo backend sums the same vectors in processes
of its own, round after round in turn with ours, on as many threads.

Run it with ``python -m benchmarks.communicator [workers]``.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import TORCH, machine
from minidl.plans import ring_all_reduce
from minidl.runtime import Processes, RankContext, collective
from minidl.runtime.requests import Request

ROUNDS = 5
SIZES = {
    "4 B": (4, 2000),
    "64 KiB": (1 << 16, 500),
    "4 MB": (4_000_000, 40),
    "64 MB": (64_000_000, 4),
}
"""Bytes of the vector, and how often it is summed in a round."""


def launch_time(workers: int) -> float:
    """Seconds to start workers, run an empty program on each, and end them."""

    def program(context: RankContext) -> Generator[Request, Any, None]:
        return
        yield

    start = time.perf_counter()
    Processes().launch([program] * workers, shared={}, channels=[], listen=print)
    return time.perf_counter() - start


def ring_seconds(workers: int, size: int, repeats: int, **options: int) -> float:
    """Seconds for one all-reduce of `size` bytes around a ring of our workers."""
    plan = ring_all_reduce(workers)

    def program(context: RankContext) -> Generator[Request, Any, float]:
        vector = np.ones(size // 4, np.float32)
        yield from collective(plan, context.rank, vector, "warm-up")
        start = time.perf_counter()
        for _ in range(repeats):
            yield from collective(plan, context.rank, vector, "all-reduce")
            vector *= 1 / context.size
        return (time.perf_counter() - start) / repeats

    runtime = Processes(**options)
    outcome = runtime.launch([program] * workers, shared={}, channels=plan.channels(), listen=print)
    return float(max(outcome.results))


def gloo_seconds(workers: int, size: int, repeats: int) -> float:
    """Seconds for the same through PyTorch's gloo."""
    import torch.multiprocessing as processes

    with tempfile.TemporaryDirectory() as folder:
        arguments = (workers, size, repeats, folder)
        processes.start_processes(_gloo, arguments, nprocs=workers, start_method="spawn")
        times = [float(Path(folder, f"{rank}.txt").read_text()) for rank in range(workers)]
    return max(times)


def _gloo(rank: int, workers: int, size: int, repeats: int, folder: str) -> None:
    import torch
    import torch.distributed as distributed

    torch.set_num_threads(1)
    store = distributed.FileStore(str(Path(folder, "store")), workers)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=workers)
    vector = torch.ones(size // 4)
    distributed.all_reduce(vector)
    start = time.perf_counter()
    for _ in range(repeats):
        distributed.all_reduce(vector)
        vector *= 1 / workers
    Path(folder, f"{rank}.txt").write_text(str((time.perf_counter() - start) / repeats))
    distributed.destroy_process_group()


def main() -> None:
    """Print what was measured."""
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    print(machine())
    first, second = launch_time(workers), launch_time(workers)
    print(f"{workers} workers start, and end: first {first:.3f} s, then {second:.3f} s")
    ways: dict[str, Callable[[int, int, int], float]] = {"minidl": ring_seconds}
    if TORCH:
        ways["gloo"] = gloo_seconds
    for label, (size, repeats) in SIZES.items():
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, measure in ways.items():
                times[way].append(measure(workers, size, repeats))
        medians = {way: statistics.median(seconds) for way, seconds in times.items()}
        moved = size * 2 * (workers - 1) / workers
        if "gloo" in medians:
            print(f"gloo/minidl {medians['gloo'] / medians['minidl']:5.2f}", end="   ")
        shown = "   ".join(
            f"{way} {seconds * 1e6:9.1f} µs ({moved / seconds / 1e9:5.2f} GB/s)"
            for way, seconds in medians.items()
        )
        print(f"all-reduce of {label:>6}: {shown}")


if __name__ == "__main__":
    main()
