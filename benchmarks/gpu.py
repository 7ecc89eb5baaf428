"""Check minidl on a GPU, measure it, and write one report.

Five parts, each written to the report as soon as it is done:

1. one call of every kernel, against its definition on the host;
2. every test marked ``gpu``: the kernels, every layer, loss and update rule, four networks and
   mixed precision on the device, against the definitions on the host;
3. a CNN trained on digits with ``Serial(device="gpu")``, in float32 and in mixed precision;
4. training steps, beside PyTorch on the same device where that is installed;
5. the kernels that a training step spends its time in, as bandwidth or arithmetic per second.

It needs a CUDA device, NumPy and CuPy. Parts 2 to 4 also need the packages in `NEEDED`, which
``pip install '.[test]'`` installs from the checkout; where one is missing, these parts are left
out, and the report says so. The host computes with NumPy (``MINIDL_KERNELS=reference``), so
nothing is compiled for the CPU, and numba is not needed. It ends within 8 minutes: what is not
done after `LIMIT` seconds is left out, and tests that have not finished after `TESTING` seconds
are reported as such.

Run it with ``make gpu``, or ``python -m benchmarks.gpu [report.md]``. Exit status 1 says that a
check failed, 2 that nothing failed but something was left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

NEEDED = (
    "pytest", "pytest_timeout", "hypothesis", "dill", "multiprocess", "greenlet", "rich",
    "safetensors", "threadpoolctl",
)  # fmt: skip
"""Beside NumPy and CuPy, by all but the parts that only call kernels."""
INSTALL = "In the checkout, pip install '.[gpu,test]' installs all of it; beside CuPy, '.[test]'"
TESTS = ("tests/kernels/test_equal_to_reference.py", "tests/strategy/test_gpu.py", "tests/table")
"""Where the tests marked ``gpu`` are, in files that need no numba."""
LIMIT = 450
"""Seconds after which no part begins, and the one that runs is stopped."""
TESTING = 240
"""Seconds that the tests may take together."""
MEASURING = 2.0
"""Seconds for the steps of one network, at least."""


class _Late(BaseException):
    """The time is over; no `Exception`, so that nothing but the report catches it."""


class Report:
    """A Markdown file that grows part by part, and says what failed or was left out."""

    def __init__(self, path: Path, heading: str) -> None:
        self.path, self.failed, self.began = path, False, time.perf_counter()
        self.left_out: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {heading}\n")

    def add(self, *lines: str) -> None:
        """Append lines, and show them."""
        with self.path.open("a") as file:
            for line in lines:
                print(line, flush=True)
                file.write(f"{line}\n")

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """A part with its heading and its time; an error ends the part, not the report.

        So does the end of the time; see `LIMIT`. It must not have passed yet.
        """
        self.add("", f"## {title}", "")
        began = time.perf_counter()
        try:
            with _stopped_after(self.left):
                yield
        except _Late:
            self.leave_out(title, f"not finished {LIMIT} s after the start")
        except Exception as error:  # whatever it is, the other parts still tell something
            self.failed = True
            self.add(f"**failed**: {type(error).__name__}: {error}")
        self.add("", f"{time.perf_counter() - began:.0f} s")

    @property
    def left(self) -> float:
        """Seconds until the time is over."""
        return self.began + LIMIT - time.perf_counter()

    def leave_out(self, title: str, why: str) -> None:
        """Say that a part, or the rest of it, is not done."""
        self.left_out.append(title)
        self.add("", f"**left out**: {why}")

    def table(self, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
        """A table in Markdown; each row is written as soon as there is one."""
        self.add(f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}")
        for row in rows:
            self.add(f"| {' | '.join(row)} |")
        self.add("")

    def check(self, passed: bool) -> str:
        """The word for a check's outcome, which is remembered."""
        self.failed |= not passed
        return "passed" if passed else "**failed**"


@contextmanager
def _stopped_after(seconds: float) -> Iterator[None]:
    """Raise `_Late` in what is done here, once so much time has passed."""

    def stop(number: int, frame: object) -> None:
        raise _Late

    handler = signal.signal(signal.SIGALRM, stop)
    before = signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)
        signal.signal(signal.SIGALRM, handler)


def check_kernels(report: Report) -> None:
    """Call every kernel once on the device, and compare what it gives and changes."""
    import cupy
    import numpy as np

    from benchmarks.kernel_calls import calls, difference
    from minidl.kernels import gpu, reference

    close = 200 * float(np.finfo(np.float32).eps)
    wrong = []
    for name, arguments in calls().items():
        moved = [cupy.asarray(x) if isinstance(x, np.ndarray) else x for x in arguments]
        kept = [x.copy() if isinstance(x, np.ndarray) else x for x in arguments]
        try:
            found = getattr(gpu, name)(*moved)
            wanted = getattr(reference, name)(*kept)
            apart = difference((found, moved), (wanted, kept))
        except Exception as error:  # the other kernels still tell something
            wrong.append(f"- `{name}`: {type(error).__name__}: {error}")
            continue
        if apart > close:
            wrong.append(f"- `{name}`: {apart:.1g} away, relative to the largest number")
    verdict = report.check(not wrong)
    report.add(f"{verdict}: {len(calls()) - len(wrong)} of {len(calls())} kernels agree", *wrong)


def run_tests(report: Report) -> None:
    """Run the tests marked ``gpu`` in a process of their own; list them by file."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = Path(folder, "outcome.xml")
        command = [
            sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider",
            f"--junitxml={outcome}", f"--timeout={TESTING}", *TESTS,
        ]  # fmt: skip
        try:
            subprocess.run(command, timeout=TESTING, check=False)
        except subprocess.TimeoutExpired:
            report.add(f"{report.check(False)}: the tests took more than {TESTING} s")
            return
        cases = ElementTree.parse(outcome).getroot().iter("testcase")
        counts: Counter[tuple[str, str]] = Counter()
        messages: list[str] = []
        for case in cases:
            file, bad = case.get("classname", ""), case.find("failure")
            bad = case.find("error") if bad is None else bad
            kind = "passed" if bad is None else "failed"
            kind = "skipped" if case.find("skipped") is not None else kind
            counts[file, kind] += 1
            if bad is not None:
                text = (bad.get("message") or "no message").splitlines()
                messages.append(f"- `{case.get('name')}`: {text[0][:200]}")
    files = sorted({file for file, _ in counts})
    kinds = ("passed", "failed", "skipped")
    report.table(("tests", *kinds), [(f, *(str(counts[f, kind]) for kind in kinds)) for f in files])
    passed, failed, skipped = (sum(counts[f, kind] for f in files) for kind in kinds)
    verdict = report.check(failed == 0 and skipped == 0 and passed > 0)
    report.add(f"{verdict}: {passed} passed, {failed} failed, {skipped} skipped", *messages)


def train_digits(report: Report) -> None:
    """Train on the device; the accuracy is to be what the CPU's is."""
    from minidl import data, models, nn, optim, strategy
    from minidl.train import Trainer

    train, test = data.digits()

    def rows() -> Iterator[tuple[str, ...]]:
        for name, precision in (("float32", None), ("mixed precision", optim.MixedPrecision())):
            trainer = Trainer(
                models.digits_cnn(), nn.CrossEntropy(), optim.Adam(1e-3), precision=precision
            )
            began = time.perf_counter()
            trainer.fit(
                train,
                epochs=12,
                batch_size=64,
                strategy=strategy.Serial(device="gpu"),
                progress=False,
            )
            seconds, accuracy = time.perf_counter() - began, trainer.evaluate(test)["accuracy"]
            yield name, f"{accuracy:.2%}", f"{seconds:.1f}", report.check(accuracy > 0.97)

    report.table(("12 epochs of digits", "test accuracy", "seconds", "above 97%"), rows())


def measure_steps(report: Report, picture: Path) -> None:
    """Time training steps beside PyTorch's, and draw the ratios."""
    import cupy

    from benchmarks.measure import TORCH, interleaved
    from benchmarks.steps import CASES, ours, theirs

    if TORCH:
        import torch

        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    report.add("Median of interleaved steps in float32, SGD with momentum; TF32 is off.", "")
    ratios: dict[str, float] = {}

    def rows() -> Iterator[tuple[str, ...]]:
        for name, (make, shape, batch) in CASES.items():
            ways = {"minidl": finished(cupy, ours(make, shape, batch, cupy))}
            if TORCH:
                ways["torch"] = finished(cupy, theirs(make, shape, batch, "cuda"))
            times = interleaved(ways, MEASURING)
            if TORCH:
                ratios[name] = times["torch"] / times["minidl"]
            ratio = f"{ratios[name]:.2f}" if TORCH else ""
            yield name, ratio, *(f"{seconds * 1e3:.3f} ms" for seconds in times.values())

    report.table(("network", "torch / minidl", "minidl", *(["torch"] if TORCH else [])), rows())
    if ratios and importlib.util.find_spec("matplotlib"):
        draw(ratios, picture)
        report.add(f"![Speed beside PyTorch's, by network]({picture.name})")


def measure_kernels(report: Report) -> None:
    """Time single kernels on large arrays, where the device and not the call is what takes time."""
    import cupy
    import numpy as np

    from benchmarks.measure import interleaved
    from minidl.kernels import gpu

    numbers = cupy.random.default_rng(0)

    def draw_numbers(*shape: int) -> Any:
        return numbers.standard_normal(shape, dtype=np.float32)

    a, b, flat = draw_numbers(4096, 4096), draw_numbers(4096, 4096), draw_numbers(1 << 26)
    grad, velocity = draw_numbers(1 << 26), cupy.zeros(1 << 26, np.float32)
    image, filters = draw_numbers(64, 32, 32, 64), draw_numbers(3, 3, 64, 64)
    ones = (1, 1)
    kernels: dict[str, tuple[Callable[[], object], float, str]] = {
        "matmul 4096³": (lambda: gpu.matmul(a, b), 2 * 4096**3 / 1e12, "TFLOP/s"),
        "conv2d 64×32×32×64, 3×3": (
            lambda: gpu.conv2d(image, filters, None, ones, ones, ones),
            2 * 64 * 32 * 32 * 64 * 64 * 9 / 1e12,
            "TFLOP/s",
        ),
        "relu of 2²⁶": (lambda: gpu.relu(flat), 2 * flat.nbytes / 1e12, "TB/s"),
        "sgd_step of 2²⁶": (
            lambda: gpu.sgd_step(flat, grad, velocity, 1e-9, 0.9, False, 0.0),
            5 * flat.nbytes / 1e12,
            "TB/s",
        ),
    }

    def rows() -> Iterator[tuple[str, ...]]:
        for name, (kernel, work, unit) in kernels.items():
            seconds = interleaved({name: finished(cupy, kernel)}, 0.5)[name]
            yield name, f"{seconds * 1e3:.3f} ms", f"{work / seconds:.2f} {unit}"

    report.table(("kernel", "time", "rate"), rows())


def finished(cupy: Any, work: Callable[[], object]) -> Callable[[], object]:
    """The same work, done only when the device has finished it."""

    def call() -> None:
        work()
        cupy.cuda.runtime.deviceSynchronize()

    return call


def draw(ratios: dict[str, float], path: Path) -> None:
    """Bars: how many times as fast as PyTorch each network's step is."""
    from minidl.report.style import SERIES, new_figure, save

    figure = new_figure(7, 0.8 + 0.35 * len(ratios))
    axes = figure.subplots()
    bars = axes.barh(list(ratios), list(ratios.values()), color=SERIES[0])
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.axvline(1, color="0.3", linewidth=1)
    axes.invert_yaxis()
    axes.set(xlabel="PyTorch's time / minidl's time (above 1: minidl is faster)")
    axes.margins(x=0.12)
    save(figure, path)


def device(cupy: Any) -> str:
    """The device and the versions, in a line."""
    import numpy as np

    from benchmarks.measure import TORCH

    properties = cupy.cuda.runtime.getDeviceProperties(0)
    versions = {
        "driver": _dotted(cupy.cuda.runtime.driverGetVersion()),
        "CUDA": _dotted(cupy.cuda.runtime.runtimeGetVersion()),
        "CuPy": cupy.__version__,
        "NumPy": np.__version__,
        "Python": sys.version.split()[0],
    }
    if TORCH:
        import torch

        versions["PyTorch"] = torch.__version__
    named = ", ".join(f"{name} {number}" for name, number in versions.items())
    memory = properties["totalGlobalMem"] / 2**30
    return f"{properties['name'].decode()}, {memory:.0f} GiB; {named}."


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def missing(names: Iterable[str] = NEEDED) -> list[str]:
    """Which of these packages are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def main() -> int:
    """Write the report; the exit status."""
    os.environ["MINIDL_KERNELS"] = "reference"
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("report", type=Path, nargs="?", default=Path("runs/gpu.md"))
    path = parser.parse_args().report
    if without := missing(("numpy", "cupy")):
        print(f"missing: {', '.join(without)}. {INSTALL}.", file=sys.stderr)
        return 2
    import cupy

    from minidl import kernels
    from minidl.errors import InputError

    try:
        kernels.home_of("gpu")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    report = Report(path, "minidl on a GPU")
    report.add("", f"{date.today()}. {device(cupy)} Made by `make gpu`.")
    parts: tuple[tuple[str, bool, Callable[[], None]], ...] = (
        ("Kernels against the definitions", False, lambda: check_kernels(report)),
        ("Tests on the device", True, lambda: run_tests(report)),
        ("Training", True, lambda: train_digits(report)),
        ("Training steps", True, lambda: measure_steps(report, path.with_suffix(".svg"))),
        ("Speed of kernels", False, lambda: measure_kernels(report)),
    )
    without = ", ".join(missing())
    for title, needs_all, work in parts:
        if report.left > 0 and not (needs_all and without):
            with report.part(title):
                work()
            continue
        report.add("", f"## {title}")
        late = f"{LIMIT} s had passed"
        report.leave_out(title, late if report.left <= 0 else f"it needs {without}. {INSTALL}")
    verdict = report.check(not report.failed)
    seconds = time.perf_counter() - report.began
    if report.left_out:
        verdict += f", but left out, in whole or in part: {', '.join(report.left_out)}"
    report.add("", f"Checks: {verdict}. {seconds:.0f} s in all.")
    return 1 if report.failed else 2 if report.left_out else 0


if __name__ == "__main__":
    sys.exit(main())
