"""Whatever happens to a worker in the middle of a step: one error that names it, and a model as
it was after the last whole epoch, from which a further fit goes on as if nothing had happened.

`test_fault_sweep` strikes at every other moment.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import DISTRIBUTED, State, samples, strategy, trainer

import minidl
from minidl import nn, optim
from minidl.errors import SharedMemoryError, WorkerError
from minidl.nn import Array, Layer, Mode
from minidl.runtime import Processes
from minidl.runtime.leftovers import SHARED_MEMORY as FOLDER
from minidl.train import Trainer

EPOCHS, BATCH = 3, 8
pytestmark = pytest.mark.timeout(60)


@dataclass(frozen=True)
class Fault:
    """Happens once, in a process other than the caller's, at one step.

    `flag` is a file: as long as it exists, the fault is still to come. The delay lets the
    caller hear of what was done before.
    """

    kind: str
    step: int
    flag: Path
    caller: int
    delay: float

    def strike(self, step: int) -> None:
        if step != self.step or os.getpid() == self.caller:
            return
        try:
            self.flag.unlink()
        except FileNotFoundError:
            return
        time.sleep(self.delay)
        if self.kind == "raise":
            raise ZeroDivisionError("one over nothing")
        os.kill(os.getpid(), getattr(signal, self.kind))
        time.sleep(30)


class Sabotaged(Layer):
    """The identity, but for a fault, which strikes whoever has not the batch's first samples."""

    def __init__(self, fault: Fault, first: int = 1) -> None:
        self.fault = fault
        self.first = first

    def forward(self, x: Array, mode: Mode) -> tuple[Array, Any]:
        if mode.training and mode.first >= self.first:
            self.fault.strike(mode.step)
        return x, None

    def backward(self, dy: Array, saved: Any) -> Array:
        return dy


@dataclass(frozen=True)
class SabotagedSGD(optim.SGD):
    """Plain descent, but for a fault, which strikes whoever updates the parameters."""

    fault: Fault | None = None

    def step(self, values: Array, grads: Array, slots: dict[str, Array], step: int) -> None:
        assert self.fault is not None
        self.fault.strike(step)
        super().step(values, grads, slots, step)


def fault(kind: str, step: int, folder: Path, delay: float = 0.5) -> Fault:
    flag = folder / "armed"
    flag.touch()
    return Fault(kind, step, flag, os.getpid(), delay)


def network(trouble: Fault) -> nn.Sequential:
    """Its last stage, and its second worker, meet the fault."""
    return nn.Sequential(
        nn.Linear(6), nn.Dropout(0.2), nn.Tanh(), nn.Linear(5), Sabotaged(trouble), nn.Linear(3)
    )


MESSAGES = {
    "raise": r"{who} raised an exception; its traceback:(.|\n)*ZeroDivisionError: one over nothing",
    "SIGKILL": r"{who} \(process \d+\) was killed by SIGKILL",
}
STRUCK = {"ring": "worker 1", "server": "learner 2", "pipeline": "stage 1"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ring", "raise"),
        ("server", "raise"),
        ("pipeline", "raise"),
        ("pipeline", "SIGKILL"),
    ],
)
def test_a_struck_worker_is_named_and_the_next_fit_makes_good(
    name: str, kind: str, tmp_path: Path
) -> None:
    chosen = strategy(name, Processes(deadline=3))
    data, step = samples(), 4  # in the second of three epochs of three steps
    undisturbed = trainer(network(fault(kind, step, tmp_path)))
    undisturbed.fit(data, epochs=1, batch_size=BATCH, strategy=strategy(name))
    after_one = State.of(undisturbed)
    undisturbed.fit(data, epochs=EPOCHS - 1, batch_size=BATCH, strategy=strategy(name))

    struck = trainer(network(fault(kind, step, tmp_path)))
    began = time.monotonic()
    with pytest.raises(WorkerError) as caught:
        struck.fit(data, epochs=EPOCHS, batch_size=BATCH, strategy=chosen)
    assert time.monotonic() - began < 20
    assert re.match(MESSAGES[kind].format(who=STRUCK[name]), str(caught.value))
    assert not (tmp_path / "armed").exists()
    after_one.assert_equals(State.of(struck))

    struck.fit(data, epochs=EPOCHS - 1, batch_size=BATCH, strategy=chosen)
    State.of(undisturbed).assert_equals(State.of(struck))


def test_a_server_that_is_killed_is_named(tmp_path: Path) -> None:
    sgd = SabotagedSGD(lr=0.05, momentum=0.9, fault=fault("SIGKILL", 4, tmp_path))
    struck = trainer(optimizer=sgd)
    with pytest.raises(WorkerError, match=r"^server \(process \d+\) was killed by SIGKILL"):
        struck.fit(
            samples(),
            epochs=EPOCHS,
            batch_size=BATCH,
            strategy=strategy("server", Processes(deadline=3)),
        )
    undisturbed = trainer(optimizer=sgd)
    undisturbed.fit(samples(), epochs=1, batch_size=BATCH, strategy=strategy("server"))
    State.of(undisturbed).assert_equals(State.of(struck))


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_epochs_faster_than_their_news_are_still_left_whole(name: str, tmp_path: Path) -> None:
    """A worker tells the caller what it has done some 50 ms later: many such epochs."""
    data, epoch = samples(4), 25
    struck = trainer(network(fault("SIGKILL", 2 * epoch + 1, tmp_path, delay=0)))
    with pytest.raises(WorkerError):
        struck.fit(data, epochs=99, batch_size=2, strategy=strategy(name, Processes(deadline=10)))
    assert struck.epoch == epoch
    undisturbed = trainer(network(fault("SIGKILL", 0, tmp_path)))
    undisturbed.fit(data, epochs=struck.epoch, batch_size=2, strategy=strategy(name))
    State.of(undisturbed).assert_equals(State.of(struck))


SCRIPT = """
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = sys.argv[1:3]
from cases import State, samples, strategy, trainer
from conftest import segments, workers
from minidl import nn
from minidl.runtime import Processes
from minidl.runtime.leftovers import SHARED_MEMORY as FOLDER
from minidl.train import Trainer

class Slow(nn.Layer):
    "Says, at a step of the second epoch, that it has come so far."
    def forward(self, x, mode):
        if mode.training and mode.step >= 4:
            Path(f"begun-{name}").touch()
            time.sleep(0.05)
        return x, None
    def backward(self, dy, saved):
        return dy

def network():
    return nn.Sequential(nn.Linear(5), nn.Dropout(0.2), nn.Tanh(), nn.Linear(3), Slow())

for name in sys.argv[3:]:
    chosen = strategy(name, Processes(deadline=20))
    before = segments()
    pressed = trainer(network())
    try:
        pressed.fit(samples(), epochs=1000, batch_size=8, strategy=chosen)
    except KeyboardInterrupt:
        print("caught", name, flush=True)
    until = time.monotonic() + 5
    while workers() and time.monotonic() < until:
        time.sleep(0.05)
    assert not workers(), workers()
    assert segments() <= before, segments() - before
    undisturbed = trainer(network())
    if pressed.epoch:
        undisturbed.fit(samples(), epochs=pressed.epoch, batch_size=8, strategy=strategy(name))
    State.of(undisturbed).assert_equals(State.of(pressed))
    for each in (undisturbed, pressed):
        each.fit(samples(), epochs=1, batch_size=8, strategy=chosen)
    State.of(undisturbed).assert_equals(State.of(pressed))
print("good", flush=True)
"""


@pytest.mark.parametrize(
    "names", [["ring"], pytest.param(["serial", "server", "pipeline"], marks=pytest.mark.slow)]
)
def test_ctrl_c_can_be_caught_and_the_next_fit_goes_on(names: list[str], tmp_path: Path) -> None:
    """The interrupt reaches every process of the terminal, workers included."""
    here = Path(__file__).parent
    home = str(Path(minidl.__file__).parents[1])
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(here.parent), str(here), *names],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": home},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        for name in names:
            begun = tmp_path / f"begun-{name}"
            while not begun.exists() and script.poll() is None:
                time.sleep(0.02)
            time.sleep(0.2)
            if script.poll() is None:
                os.killpg(script.pid, signal.SIGINT)
        out, err = script.communicate(timeout=60)
    finally:
        script.kill()
        script.wait()
    assert script.returncode == 0, err
    assert out.splitlines() == [*(f"caught {name}" for name in names), "good"]


def test_too_little_shared_memory_is_said_before_anything_starts() -> None:
    """With both sizes; the data are far larger than this machine's memory, and cost none here."""
    room = shutil.disk_usage(FOLDER).free
    rows = room // 1024 + 1
    inputs = np.broadcast_to(np.zeros((1, 1024), np.uint8), (rows, 1024))
    labels = np.broadcast_to(np.zeros(1, np.uint8), (rows,))
    model = nn.Sequential(nn.Linear(2))
    before = set(os.listdir(FOLDER))
    with pytest.raises(SharedMemoryError, match=r"are needed, but .* has \d+ bytes .* free"):
        Trainer(model, nn.CrossEntropy(), optim.SGD(lr=0.1)).fit(
            (inputs, labels), epochs=1, batch_size=8, strategy=strategy("ring", Processes())
        )
    assert set(os.listdir(FOLDER)) == before
    assert shutil.disk_usage(FOLDER).free >= room - (1 << 20)
