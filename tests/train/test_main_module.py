"""A script's or a notebook's own classes, functions and lambdas train under every strategy.

However minidl is installed, they cross to workers alone, and no worker compiles a kernel.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import minidl

HOME = str(Path(minidl.__file__).parents[1])

DEFINITIONS = """
import numpy as np
import minidl as dl
from minidl import nn, optim, plans, strategy, tasks

SLOPE = 0.1

def compiled_by_this_worker():
    import sys, multiprocess
    if multiprocess.parent_process() is None:
        return 0
    modules = [m for n, m in list(sys.modules.items()) if n.startswith("minidl.kernels.cpu")]
    found = {id(f): f for m in modules for f in vars(m).values() if hasattr(f, "stats")}
    return sum(sum(f.stats.cache_misses.values()) for f in found.values())

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

def bend(x, slope=SLOPE):
    return np.where(x > 0, x, slope * x)

class Bend(nn.Layer):
    "Uses a module-level import, a function and a number."
    def forward(self, x, mode):
        return bend(x), x
    def backward(self, dy, saved):
        assert compiled_by_this_worker() == 0 and even(4)
        return dy * np.where(saved > 0, 1, SLOPE).astype(dy.dtype)

class Block(nn.Residual):
    "A composite with lambdas for initialisers, one of them closing over an argument."
    def __init__(self, width, scale):
        super().__init__(nn.Sequential(
            nn.Linear(width, weight_init=lambda numbers, shape: scale * numbers.normal(size=shape)),
            Bend(),
            nn.Linear(width, bias_init=lambda numbers, shape: np.full(shape, 0.01)),
        ))

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6), Block(6, 0.3), nn.Dropout(0.2), Bend(), nn.Linear(3))

class Steps(optim.SGD):
    "An update rule of the script's own."
    def step(self, values, grads, slots, step):
        values -= self.lr / (1 + 0.1 * step) * grads

class Half(nn.CrossEntropy):
    "A loss of the script's own."
    def forward(self, outputs, targets):
        losses, saved = super().forward(outputs, targets)
        return losses / 2, saved
    def backward(self, dlosses, saved):
        return super().backward(dlosses / 2, saved)

class Learn(tasks.Supervised):
    "A task of the script's own."
    def score_outputs(self, outputs, targets):
        return super().score_outputs(outputs, targets)

class Together(plans.FullySync):
    "A server's rule of the script's own."
    def push(self, state, learner, version, number=0):
        return super().push(state, learner, version, number)

def around(size):
    "A plan of the script's own."
    return plans.ALL_REDUCES["ring"](size)
"""
TRAINING = """
from minidl.runtime import processes, programs
packed, most = [], 4
def weighed(value, what):
    packed.append(len(found := programs.pack(value, what)))
    return found
processes.pack = weighed
numbers = np.random.default_rng(0)
x, y = numbers.normal(size=(22, 4)), numbers.integers(0, 3, 22)
weights = {}
mixed = dl.Trainer(nn.Linear(3), Half(), optim.SGD(lr=0.1), precision=optim.MixedPrecision())
mixed.fit((x, y), epochs=1, batch_size=8, progress=False)
for how in (strategy.Serial(), strategy.AllReduce(2, plan=around),
            strategy.ParameterServer(2, Together()), strategy.Pipeline(2, micro_batches=3))[:most]:
    trainer = dl.Trainer(Net(), Learn(Half()), Steps(lr=0.1), dtype="float64")
    trainer.fit((x, y), epochs=2, batch_size=8, strategy=how, progress=False)
    weights[how.name] = trainer.weights()
for name, found in weights.items():
    for key, array in weights["serial"].items():
        np.testing.assert_allclose(found[key], array, rtol=1e-9, atol=1e-12)
print("equal:", *weights, "packed:", len(packed), max(packed) < 25_000, "in", dl.__path__[0])
"""

TIMES = """
import time
class Convolving(nn.Layer):
    "A layer of the script's own that computes with a built-in one."
    def __init__(self):
        self.inner = nn.Conv2d(8, 3, padding=1)
    def build(self, shape):
        return self.inner.build(shape)
    def forward(self, x, mode):
        return self.inner.forward(x, mode)
    def backward(self, dy, saved):
        return self.inner.backward(dy, saved)
seconds = {Convolving: [], nn.Conv2d: []}
for layer in [Convolving, nn.Conv2d] * 3:
    first = Convolving() if layer is Convolving else nn.Conv2d(8, 3, padding=1)
    model = nn.Sequential(first, nn.Flatten(), nn.Linear(3))
    trainer = dl.Trainer(model, nn.CrossEntropy(), optim.SGD(lr=0.1))
    began = time.perf_counter()
    trainer.fit((numbers.normal(size=(22, 6, 6, 1)), y), epochs=1, batch_size=8, progress=False,
                strategy=strategy.AllReduce(2))
    seconds[layer].append(time.perf_counter() - began)
own, builtin = (sorted(each)[1] for each in seconds.values())
print("as fast" if own <= 2 * builtin + 0.5 else f"{own:.2f} s, built-in {builtin:.2f} s")
"""

FINDER = """
import importlib.util, os, sys

class Finder:
    "What an editable install puts into site-packages: it knows where one package is."
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "minidl":
            file = os.path.join({home!r}, name, "__init__.py")
            return importlib.util.spec_from_file_location(name, file)

sys.path[:] = [folder for folder in sys.path if folder != {home!r}]
sys.meta_path.insert(0, Finder)
"""


def installed(how: str, folder: Path) -> tuple[Path, Path]:
    """minidl as if installed so: what PYTHONPATH must hold, and where the package is then.

    A wheel is built and unpacked, as pip does it; a copy of the package lies where a wheel's does.
    """
    if how == "path":
        return Path(HOME), Path(HOME, "minidl")
    site = folder / "lib" / "site-packages"
    if how == "copy":
        shutil.copytree(Path(HOME, "minidl"), site / "minidl")
        return site, site / "minidl"
    if how == "wheel":
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        subprocess.run(build, cwd=HOME, check=True, capture_output=True, timeout=60)
        (wheel,) = folder.glob("minidl-*.whl")
        with zipfile.ZipFile(wheel) as content:
            content.extractall(site)
        return site, site / "minidl"
    site.mkdir(parents=True)
    (site / "sitecustomize.py").write_text(FINDER.format(home=HOME))
    return site, Path(HOME, "minidl")


def said(
    arguments: list[str], folder: Path, how: str = "path", text: str | None = None
) -> list[str]:
    """What Python says, run with these arguments in a folder."""
    site, package = installed(how, folder)
    # A wheel has no compiled kernels yet, which take a minute.
    settings = {"MINIDL_KERNELS": "reference"} if how == "wheel" else {}
    ended = subprocess.run(
        [sys.executable, *arguments],
        input=text,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site)} | settings,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.replace(str(package), "minidl").splitlines()


SAID = "equal: serial ring server pipeline packed: 7 True in minidl"
FIRST_TWO = TRAINING.replace("packed, most = [], 4", "packed, most = [], 2")
SAID_OF_TWO = "equal: serial ring packed: 2 True in minidl"
GUARDED = 'if __name__ == "__main__":\n' + textwrap.indent(TRAINING, "    ")


@pytest.mark.parametrize(
    ("training", "how"),
    [
        (TRAINING + TIMES, "editable"),
        pytest.param(GUARDED, "path", marks=pytest.mark.slow),
        pytest.param(
            TRAINING,
            "wheel",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    find_spec("hatchling") is None,
                    reason="hatchling, which builds wheels, is missing",
                ),
            ],
        ),
    ],
    ids=["editable", "guarded", "wheel"],
)
@pytest.mark.usefixtures("fast_kernels")
def test_what_a_script_defines_trains_under_every_strategy(
    training: str, how: str, tmp_path: Path
) -> None:
    """And on compiled kernels, none of which a worker compiles, which took 17 s for own layers."""
    (tmp_path / "script.py").write_text(f"print('runs once')\n{DEFINITIONS}{training}")
    lines = ["runs once", SAID, *(["as fast"] if TIMES in training else [])]
    assert said(["script.py"], tmp_path, how) == lines


@pytest.mark.parametrize("how", [pytest.param("editable", marks=pytest.mark.slow), "copy"])
def test_what_standard_input_defines_trains_under_every_strategy(how: str, tmp_path: Path) -> None:
    """There is no file that a worker could import."""
    assert said(["-"], tmp_path, how, DEFINITIONS + TRAINING) == [SAID]


@pytest.mark.parametrize(
    "how", ["path", *(pytest.param(how, marks=pytest.mark.slow) for how in ("editable", "copy"))]
)
def test_what_the_command_line_defines_trains_under_every_strategy(
    how: str, tmp_path: Path
) -> None:
    assert said(["-c", DEFINITIONS + TRAINING], tmp_path, how) == [SAID]


def test_a_module_beside_the_script_is_imported_by_workers(tmp_path: Path) -> None:
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    (tmp_path / "script.py").write_text("from definitions import *\n" + FIRST_TWO)
    assert said(["script.py"], tmp_path) == [SAID_OF_TWO]


THREADS = """
import sys, threading
script = sys.modules["__main__"]
numbers = np.random.default_rng(0)
x, y = numbers.normal(size=(22, 4)), numbers.integers(0, 3, 22)
weights, errors = [], []
def train():
    try:
        trainer = dl.Trainer(Net(), Learn(Half()), Steps(lr=0.1), dtype="float64")
        trainer.fit((x, y), epochs=1, batch_size=8, strategy=strategy.RingAllReduce(2),
                    progress=False)
        weights.append(np.concatenate([array.ravel() for array in trainer.weights().values()]))
    except BaseException as error:
        errors.append(repr(error))
threads = [threading.Thread(target=train) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(errors, [np.array_equal(each, weights[0]) for each in weights])
print(sys.modules["__main__"] is script, [name for name in os.environ if name in BEFORE] == BEFORE)
"""


def test_fits_in_threads_leave_each_other_and_the_script_alone(tmp_path: Path) -> None:
    """Nothing global is exchanged while they start; they used to leave a blank `__main__`."""
    before = "import os\nBEFORE = list(os.environ)\n"
    (tmp_path / "script.py").write_text(before + DEFINITIONS + THREADS)
    lines = ["[] [True, True, True, True]", "True True"]
    assert said(["script.py"], tmp_path) == lines


def printed(shown: list[dict[str, Any]]) -> str:
    """What a cell printed."""
    texts = (output.get("text", "") for output in shown if output.get("name") == "stdout")
    return "".join(texts).strip()


def shown_by(folder: Path, *cells: str, interrupted: bool = False) -> list[list[dict[str, Any]]]:
    """Run cells in a real kernel of this Python; the outputs of each, of its error as well."""
    kernels = folder / "kernels" / "minidl-test"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "minidl test",
                "language": "python",
                "env": {"PYTHONPATH": HOME},
            }
        )
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(
        notebook,
        timeout=90,
        kernel_name="minidl-test",
        resources={"metadata": {"path": str(folder)}},
        allow_errors=interrupted,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        client.execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.mark.usefixtures("fast_kernels")
def test_what_notebook_cells_define_trains_under_every_strategy(tmp_path: Path) -> None:
    """Also when a cell is changed and run again, as one does."""
    changed = DEFINITIONS.replace("SLOPE = 0.1", "SLOPE = 0.3")
    look = """
from minidl import kernels
bent, _ = trainer.model[3].forward(np.array([[-1.0]]), nn.EVALUATE)
print(bent.item(), kernels.chosen().__name__)
"""
    shown = shown_by(tmp_path, DEFINITIONS, TRAINING, look, changed, FIRST_TWO, look)
    texts = [printed(each).replace(HOME + "/", "") for each in shown]
    fast = "minidl.kernels.cpu"
    assert texts == ["", SAID, f"-0.1 {fast}", "", SAID_OF_TWO, f"-0.3 {fast}"]


def test_a_notebook_interrupts_as_a_script_does_and_shows_the_last_line(tmp_path: Path) -> None:
    """The kernel's interrupt is Ctrl-C: it can be caught, and the next fit works.

    A figure is shown as a picture, a history as a table, and Ctrl-C that is not caught as one line.
    """
    caught = """
import os, signal, threading
class Slow(Bend):
    def forward(self, x, mode):
        import time
        time.sleep(0.05)
        return super().forward(x, mode)
numbers = np.random.default_rng(0)
x, y = numbers.normal(size=(22, 4)), numbers.integers(0, 3, 22)
slow = dl.Trainer(nn.Sequential(Slow(), nn.Linear(3)), Half(), Steps(lr=0.1))
def press(run):  # while the second epoch is on its way
    if len(run.epochs) == 1:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    slow.fit((x, y), epochs=1000, batch_size=8, callbacks=[press],
             strategy=strategy.RingAllReduce(2))
except KeyboardInterrupt:
    print("caught", 0 < slow.epoch < 1000)
"""
    again = """
done = slow.epoch
slow.fit((x, y), epochs=1, batch_size=8, strategy=strategy.RingAllReduce(2))
print(slow.epoch - done, len(slow.history.epochs) - done)
"""
    fit = """
x, y = np.zeros((6, 4)), np.zeros(6, int)
trainer = dl.Trainer(nn.Linear(3), nn.CrossEntropy(), optim.SGD(lr=0.1))
trainer.fit((x, y), epochs=2, batch_size=3)
"""
    press = """
import os, signal
def stop(run):
    if len(run.epochs) == 3:
        os.kill(os.getpid(), signal.SIGINT)
trainer.fit((x, y), epochs=9, batch_size=3, callbacks=[stop])
"""
    cells = (caught, again, fit, "trainer.history.plot()", "optim.Cosine(0.1, 9).plot(9)", press)
    _, first, second, *shown = shown_by(tmp_path, DEFINITIONS, *cells, interrupted=True)
    assert (printed(first), printed(second)) == ("caught True", "1 1")
    table, *figures, pressed = shown
    assert table[-1]["data"]["text/html"].count("<tr>") == 3
    for figure in figures:
        assert base64.b64decode(figure[-1]["data"]["image/png"]).startswith(b"\x89PNG")
    assert pressed[-1]["output_type"] == "error"
    assert pressed[-1]["traceback"] == [
        "fit interrupted: 3 of 9 epochs are done and kept; fit again to go on from there"
    ]
