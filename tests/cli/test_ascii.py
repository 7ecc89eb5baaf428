"""Every command works on a terminal that cannot show all of Unicode."""

from __future__ import annotations

import io
import sys

import pytest

from minidl.cli import main
from minidl.reprs import LOOKALIKES

COMMANDS = [
    "--help",
    "train --help",
    "summary lenet5",
    "summary all",
    "simulate server --updates 20",
    "simulate collectives",
    "grade hw_ring --directory solutions/hw_ring",
    "train digits --model mlp --epochs 1",
    pytest.param("simulate formulas", marks=pytest.mark.slow),
    pytest.param("doctor", marks=pytest.mark.slow),
]


class Terminal(io.TextIOWrapper):
    """A stream that takes ASCII only, and is strict about it."""

    def __init__(self) -> None:
        self.written = io.BytesIO()
        super().__init__(self.written, encoding="ascii", errors="strict")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_terminal_of_ascii_is_enough(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit) as ended:
        main.app(command.split())
    out.flush()
    assert ended.value.code == 0
    assert out.written.getvalue()


def test_what_stands_for_a_letter_is_one_letter() -> None:
    """So columns stay columns."""
    assert all(len(chr(code)) == 1 and chr(code).isascii() for code in LOOKALIKES.values())
