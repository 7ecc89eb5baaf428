"""A script's or a notebook's own classes, functions and lambdas train under every strategy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import minidl

HOME = str(Path(minidl.__file__).parents[1])

DEFINITIONS = """
import numpy as np
import minidl as dl
from minidl import nn, optim, strategy

SLOPE = 0.1

def bend(x, slope=SLOPE):
    return np.where(x > 0, x, slope * x)

class Bend(nn.Layer):
    "Uses a module-level import, a function and a number."
    def forward(self, x, mode):
        return bend(x), x
    def backward(self, dy, saved):
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
"""
TRAINING = """
numbers = np.random.default_rng(0)
x, y = numbers.normal(size=(22, 4)), numbers.integers(0, 3, 22)
weights = {}
for how in (strategy.Serial(), strategy.RingAllReduce(2), strategy.ParameterServer(2),
            strategy.Pipeline(2, micro_batches=3)):
    trainer = dl.Trainer(Net(), Half(), Steps(lr=0.1), dtype="float64")
    trainer.fit((x, y), epochs=2, batch_size=8, strategy=how, progress=False)
    weights[how.name] = trainer.weights()
for name, found in weights.items():
    for key, array in weights["serial"].items():
        np.testing.assert_allclose(found[key], array, rtol=1e-9, atol=1e-12)
print("equal:", *weights)
"""
SAID = "equal: serial ring server pipeline"


@pytest.mark.parametrize("guarded", [False, True])
def test_what_a_script_defines_trains_under_every_strategy(guarded: bool, tmp_path: Path) -> None:
    training = TRAINING
    if guarded:
        training = 'if __name__ == "__main__":\n' + textwrap.indent(TRAINING, "    ")
    script = tmp_path / "script.py"
    script.write_text(f"print('runs once')\n{DEFINITIONS}{training}")
    said = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": HOME},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == ["runs once", SAID]


def test_what_standard_input_defines_trains_under_every_strategy(tmp_path: Path) -> None:
    """There is no file that a worker could import."""
    said = subprocess.run(
        [sys.executable, "-"],
        input=DEFINITIONS + TRAINING,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": HOME},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == [SAID]


def test_a_module_beside_the_script_is_imported_by_workers(tmp_path: Path) -> None:
    (tmp_path / "definitions.py").write_text(DEFINITIONS)
    script = tmp_path / "script.py"
    script.write_text("from definitions import *\n" + TRAINING)
    said = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": HOME},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == [SAID]


def run_notebook(folder: Path, *cells: str) -> list[str]:
    """Run cells in a real kernel of this Python; what each printed."""
    kernels = folder / "kernels" / "minidl-test"
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(
        json.dumps(
            {
                "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "minidl test",
                "language": "python",
                "env": {"PYTHONPATH": HOME, "MINIDL_KERNELS": "reference"},
            }
        )
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = NotebookClient(
        notebook,
        timeout=90,
        kernel_name="minidl-test",
        resources={"metadata": {"path": str(folder)}},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        client.execute()
    return [
        "".join(
            output.get("text", "") for output in cell.outputs if output.get("name") == "stdout"
        ).strip()
        for cell in notebook.cells
    ]


def test_what_notebook_cells_define_trains_under_every_strategy(tmp_path: Path) -> None:
    """Also when a cell is changed and run again, as one does."""
    changed = DEFINITIONS.replace("SLOPE = 0.1", "SLOPE = 0.3")
    look = "print(trainer.model[3].forward(np.array([[-1.0]]), nn.EVALUATE)[0].item())"
    said = run_notebook(tmp_path, DEFINITIONS, TRAINING, look, changed, TRAINING, look)
    assert said == ["", SAID, "-0.1", "", SAID, "-0.3"]


def test_a_notebook_shows_progress_and_interrupts_as_a_script_does(tmp_path: Path) -> None:
    """The kernel's interrupt is Ctrl-C: it can be caught, and the next fit works."""
    press = """
import os, signal, threading
class Slow(Bend):
    def forward(self, x, mode):
        import time
        time.sleep(0.05)
        return super().forward(x, mode)
numbers = np.random.default_rng(0)
x, y = numbers.normal(size=(22, 4)), numbers.integers(0, 3, 22)
slow = dl.Trainer(nn.Sequential(Slow(), nn.Linear(3)), Half(), Steps(lr=0.1))
threading.Timer(3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    slow.fit((x, y), epochs=1000, batch_size=8, strategy=strategy.RingAllReduce(2))
except KeyboardInterrupt:
    print("caught", 0 < slow.epoch < 1000)
"""
    again = """
done = slow.epoch
slow.fit((x, y), epochs=1, batch_size=8, strategy=strategy.RingAllReduce(2))
print(slow.epoch - done, len(slow.history.epochs) - done)
"""
    assert run_notebook(tmp_path, DEFINITIONS, press, again)[1:] == ["caught True", "1 1"]
