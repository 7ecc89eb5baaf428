"""Running one case of an exercise in this process, where breakpoints and the keyboard work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minidl import kernels
from minidl.course.child import load
from minidl.course.grading import load_exercise
from minidl.course.student import Question
from minidl.course.values import decode


def replay(
    exercise: str, path: Path, questions: Sequence[Question], show: Callable[[str, Any], None]
) -> None:
    """Ask a student's file what the judge has asked it; what it raises, this raises.

    The code runs as if its student had started it: with no limit and no protection.

    Parameters
    ----------
    exercise
        Its name.
    path
        The student's file.
    questions
        Of one result of a report.
    show
        Told each call and what it gives.
    """
    probes = load_exercise(exercise)
    with kernels.using("reference"):
        module = load(path, probes.NAMES)
        for question in questions:
            probe = getattr(probes, question.probe)
            show(question.call, probe(module, *decode(question.arguments)))
