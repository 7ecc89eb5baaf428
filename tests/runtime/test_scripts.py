"""Programs of scripts, of the command line and of files that no worker could import."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from minidl.runtime import Processes, Virtual

pytestmark = pytest.mark.timeout(30)

SCRIPT = textwrap.dedent(
    """
    import math
    import numpy as np
    from minidl.errors import InputError
    from minidl.runtime import Exchange, Incoming, Outgoing, Processes, Report

    print("top level")
    BIAS = np.arange(3.0)

    class Base:
        def __init__(self, scale):
            self.scale = scale

    class Net(Base):
        copies = 0

        def __init__(self):
            super().__init__(2)
            self.square = lambda x: x**2

        def __call__(self, x):
            return self.square(outer(x)) * self.scale

        @classmethod
        def make(cls):
            return cls()

    class OwnError(InputError):
        def __init__(self, what, count):
            super().__init__(f"{what} {count}")

    def outer(x):
        return inner(x) + BIAS

    def inner(x):
        return x * math.floor(1.5)

    def make(context):
        net = Net.make()
        x = np.full(3, float(context.rank))
        peer = 1 - context.rank
        yield Exchange((Outgoing(peer, x, "x"), Incoming(peer, x_other := np.zeros(3), "x")))
        yield Report(Net())
        return net(x_other), isinstance(net, Base), net

    def fault(context):
        raise OwnError("mine", 2)
        yield

    def launch(make):
        return Processes(deadline=20).launch(
            [make] * 2,
            shared={},
            channels=[(0, 1), (1, 0)],
            listen=lambda rank, event: print(type(event).__name__),
        )

    for values, is_base, net in launch(make).results:
        print(values.tolist(), is_base and type(net) is Net, net(BIAS).tolist())
    print(launch(lambda context: (yield Report(2.5))).results)
    try:
        launch(fault)
    except OwnError as error:
        print(type(error).__name__, error)
    """
)
EXPECTED = [
    "top level",
    "Net",
    "Net",
    "[2.0, 8.0, 18.0] True [0.0, 8.0, 32.0]",
    "[0.0, 2.0, 8.0] True [0.0, 8.0, 32.0]",
    "float",
    "float",
    "(None, None)",
    "OwnError rank",
]


def check(result: subprocess.CompletedProcess[str]) -> None:
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[:-1] == EXPECTED[:-1]
    assert lines[-1] in ("OwnError rank 0: mine 2", "OwnError rank 1: mine 2")


def run(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    home = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PYTHONPATH": home, "MINIDL_KERNELS": "reference"},
        timeout=25,
        check=False,
    )


def test_a_script_run_as_a_module_of_a_package(tmp_path: Path) -> None:
    """Its functions import relative to the package."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "beside.py").write_text("ONE = 1")
    script = SCRIPT.replace("return x * math", "from . import beside; return x * beside.ONE * math")
    (tmp_path / "package" / "script.py").write_text(script)
    check(run(["-m", "package.script"], tmp_path))


def test_a_program_on_the_command_line(tmp_path: Path) -> None:
    check(run(["-c", SCRIPT], tmp_path))


def test_spawned_workers_do_not_run_the_script_again(tmp_path: Path) -> None:
    """As those of a server do not. Each imports anew what it needs, so few are started."""
    script = SCRIPT.replace("deadline=20", 'deadline=20, context="spawn"')
    (tmp_path / "script.py").write_text(script[: script.index("print(launch(lambda")])
    result = run(["script.py"], tmp_path)
    assert (result.stdout.splitlines(), result.stderr) == (EXPECTED[:5], "")


def test_a_file_loaded_from_its_path_travels_by_value(tmp_path: Path) -> None:
    file = tmp_path / "homework.py"
    file.write_text(
        textwrap.dedent(
            """
            class Answer:
                def value(self):
                    return helper() + 1

            def helper():
                return 41

            def make(context):
                return Answer().value()
                yield
            """
        )
    )
    spec = importlib.util.spec_from_file_location("homework_of_nobody", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        for runtime in (Processes(), Virtual()):
            outcome = runtime.launch(
                [module.make] * 2, shared={}, channels=[], listen=lambda r, e: None
            )
            assert outcome.results == (42, 42)
    finally:
        del sys.modules[spec.name]


def test_importing_the_runtime_is_light(tmp_path: Path) -> None:
    heavy = ["multiprocess", "dill", "numba", "matplotlib", "rich", "typer"]
    script = (
        "import sys, minidl.runtime.requests, minidl.runtime.base; "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    assert run(["-c", script], tmp_path).stdout.strip() == "[]"
