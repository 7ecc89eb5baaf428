"""A report knows the smallest case in which something is wrong, and it runs again by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.course import grade
from minidl.course.replay import replay
from minidl.course.student import Question
from minidl.errors import NotWrittenError

ROOT = Path(__file__).parents[2]


def test_the_smallest_case_of_a_drawn_check_runs_again(tmp_path: Path) -> None:
    path = tmp_path / "staleness.py"
    source = (ROOT / "solutions" / "hw_staleness" / "staleness.py").read_text()
    assert "1 / max(1, missed)" in source
    path.write_text(source.replace("1 / max(1, missed)", "1 / max(1, missed) ** 2"))
    first = grade("hw_staleness", tmp_path).results[0]
    assert "smallest case found: staleness = [2]" in first.message
    assert first.questions == (Question("weights", ["ByGradient", [[2]]], "ByGradient.weights"),)
    shown: list[tuple[str, Any]] = []
    replay("hw_staleness", path, first.questions, lambda *what: shown.append(what))
    ((call, (weights,)),) = shown
    assert call == "ByGradient.weights"
    np.testing.assert_allclose(weights, [0.25])


def test_what_the_code_raises_is_raised_here() -> None:
    folder = ROOT / "exercises" / "hw_ring"
    result = grade("hw_ring", folder).results[2]
    with pytest.raises(NotWrittenError):
        replay("hw_ring", folder / "ring.py", result.questions, lambda *what: None)
