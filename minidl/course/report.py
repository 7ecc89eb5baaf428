"""What grading found: as a table to read, and as Gradescope's results.json."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidl.course.student import Question
from minidl.errors import InputError
from minidl.reprs import brief, html_table

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Result:
    """What one check found.

    Parameters
    ----------
    name
        What is checked.
    score
        Points reached, from 0 to `max_score`.
    max_score
        Points to be had.
    message
        What is wrong and what may help; empty if nothing is.
    questions
        What the student's code was asked in the case that the check ended with: the smallest
        one in which something is wrong, if there is one.
    """

    name: str
    score: float
    max_score: float
    message: str = ""
    questions: tuple[Question, ...] = ()

    __repr__ = brief

    @property
    def passed(self) -> bool:
        """Whether all points were reached."""
        return self.score == self.max_score


@dataclass(frozen=True)
class Report:
    """What all checks of an exercise found.

    Parameters
    ----------
    exercise
        The exercise's name.
    results
        One for each check.
    seconds
        How long grading took.
    printed
        What the student's code printed.
    isolation
        What kept the student's code from the rest of the machine.
    first
        The number of the first result; the next has the next.
    """

    exercise: str
    results: tuple[Result, ...]
    seconds: float
    printed: str = ""
    isolation: str = ""
    first: int = 1

    __repr__ = brief

    def _repr_html_(self) -> str:
        """The checks and what is wrong, for notebooks."""
        rows = [
            (f"{number}", result.name, f"{result.score:g} / {result.max_score:g}")
            for number, result in enumerate(self.results, self.first)
        ]
        caption = f"{self.exercise}: {self.score:g} of {self.max_score:g} points"
        found = (f"<p>case {escape(names[0])}</p><pre>{escape(message)}</pre>"
                 for message, names in self._messages().items())  # fmt: skip
        return html_table(caption, ("case", "check", "points"), rows) + "".join(found)

    @property
    def score(self) -> float:
        """Points reached in all checks together."""
        return sum(result.score for result in self.results)

    @property
    def max_score(self) -> float:
        """Points to be had in all checks together."""
        return sum(result.max_score for result in self.results)

    @property
    def passed(self) -> bool:
        """Whether all points were reached."""
        return all(result.passed for result in self.results)

    def only(self, number: int) -> Report:
        """The report of one check.

        Raises
        ------
        InputError
            If there is no check of this number.
        """
        last = self.first + len(self.results) - 1
        if not self.first <= number <= last:
            raise InputError(
                f"there is no case {number}; {self.exercise} has {self.first} to {last}"
            )
        result = self.results[number - self.first]
        return replace(self, results=(result,), first=number)

    def render(self) -> RenderableType:
        """A table of the checks, then what is wrong, to be printed by rich."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self.exercise}: {self.score:g} of {self.max_score:g} points")
        table.add_column("case", justify="right")
        table.add_column("check")
        table.add_column("points", justify="right")
        table.add_column("")
        for number, result in enumerate(self.results, self.first):
            verdict = Text("right", "green") if result.passed else Text("wrong", "bold red")
            if not result.passed and result.score:
                verdict = Text("in part", "yellow")
            points = f"{result.score:g} / {result.max_score:g}"
            table.add_row(str(number), Text(result.name), points, verdict)
        parts: list[RenderableType] = [table]
        for message, names in self._messages().items():
            # Sentences wrap; a drawing's long rows are cut, because wrapping would break it up.
            text = Group(
                *(
                    Text(line, no_wrap="  " in line.strip(), overflow="ellipsis")
                    for line in message.splitlines()
                )
            )
            title = f"case {names[0]}"
            if len(names) > 1:
                title += f" (and {len(names) - 1} more)"
            parts.append(Panel(text, title=Text(title), title_align="left"))
        if self.printed:
            parts.append(Panel(Text(self.printed), title="your code printed", title_align="left"))
        if self.isolation and not self.passed:
            here = f"minidl grade {self.exercise} --case NUMBER --here"
            parts.append(Text(f"To look into a case in your own terminal: {here}", "dim"))
        if self.isolation:
            parts.append(Text(f"Your code ran {self.isolation}.", "dim"))
        return Group(*parts)

    def _messages(self) -> dict[str, list[str]]:
        """The checks that each message belongs to, so that a message is shown once."""
        messages: dict[str, list[str]] = {}
        for number, result in enumerate(self.results, self.first):
            if result.message:
                messages.setdefault(result.message, []).append(f"{number}: {result.name}")
        return messages

    def to_json(self) -> str:
        """Everything, for scripts; the same as Gradescope's format."""
        return json.dumps(self._gradescope(), indent=2, ensure_ascii=False)

    def to_gradescope(self, path: str | Path) -> None:
        """Write Gradescope's results.json; the file is complete or not there.

        The format is described in Gradescope's documentation of autograders, under
        "Output format". Whoever reads the file may be another user.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.to_json() + "\n")
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise

    def _gradescope(self) -> dict[str, Any]:
        output = f"{self.exercise}: {self.score:g} of {self.max_score:g} points"
        if self.isolation:
            output += f"\nYour code ran {self.isolation}."
        if self.printed:
            output += f"\n\nYour code printed:\n{self.printed}"
        return {
            "score": self.score,
            "execution_time": round(self.seconds, 3),
            "output": output,
            "output_format": "text",
            "tests": [
                {
                    "number": str(number),
                    "name": result.name,
                    "score": result.score,
                    "max_score": result.max_score,
                    "status": "passed" if result.passed else "failed",
                    "output": result.message,
                    "output_format": "text",
                }
                for number, result in enumerate(self.results, self.first)
            ],
        }
