"""What is right in another form gets all points."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from minidl.course import Report, checks, child, student
from minidl.course.grading import load_exercise
from minidl.course.student import GoneError, Question, Student
from minidl.course.values import decode, encode
from minidl.errors import ExerciseError, NotWrittenError

ROOT = Path(__file__).parents[2]
FORMS = {
    "batch norm by var and lists of parts": ("hw_batch_norm", {
        "(off * off).mean(axis=0)": "x.var(axis=0)", "return dx, dgamma, dbeta":
        "return [dx, dgamma, dbeta]"}),
    "batch norm as an object": ("hw_batch_norm", {
        "(normal, inv_std, gamma)\n": "{'n': normal, 's': inv_std, 'g': gamma}\n",
        "normal, inv_std, gamma = saved": "normal, inv_std, gamma = saved.values()"}),
    "batch norm, a generator of gradients": ("hw_batch_norm", {
        "return dx, dgamma, dbeta": "return (g for g in (dx, dgamma, dbeta))"}),
    "gan by where": ("hw_gan", {
        "return np.logaddexp(0, z), sigmoid(z)": "a = np.abs(z)\n"
        "    return np.maximum(z, 0) + np.log1p(np.exp(-a)), sigmoid(z)"}),
    "gan, turns as a tuple": ("hw_gan", {
        'return ["discriminator", "generator"] if (step + 1) % k == 0 else ["discriminator"]':
        'return ("discriminator",) + ("generator",) * ((step + 1) % k == 0)'}),
    "gan, turns as a generator": ("hw_gan", {
        'return ["discriminator", "generator"] if (step + 1) % k == 0 else ["discriminator"]':
        'yield "discriminator"\n    if (step + 1) % k == 0:\n        yield "generator"'}),
    "lstm by exp": ("hw_lstm", {
        "(1 + np.tanh(z / 2)) / 2": "1 / (1 + np.exp(-np.clip(z, -80, 80)))"}),
    "lstm, y as an array of its own": ("hw_lstm", {
        "return np.stack(y, axis=1), saved": "return np.array(y).swapaxes(0, 1), (saved,)",
        "    dh = dc =": "    (saved,) = saved\n    dh = dc ="}),
    "lstm, gradients as a list": ("hw_lstm", {
        "return np.stack(dxs[::-1], axis=1), *(sum(each) for each in zip(*shared, strict=True))":
        "return [np.stack(dxs[::-1], axis=1), *map(sum, zip(*shared))]"}),
    "momentum, slots as a list": ("hw_momentum", {
        'return ("velocity",) if self.momentum else ()':
        'return ["velocity"] if self.momentum else []'}),
    "momentum by slices": ("hw_momentum", {
        "v *= self.momentum\n        v += grads": "v[:] = self.momentum * v + grads"}),
    "momentum by np": ("hw_momentum", {
        "values -= self.lr * grads\n": "np.subtract(values, self.lr * grads, out=values)\n"}),
    "overlap, buckets from a generator": ("hw_overlap", {
        "return found": "return (tuple(names) for names in found)"}),
    "overlap, launches from a generator": ("hw_overlap", {
        "return range(first, self.next)": "return (n for n in range(first, self.next))"}),
    "overlap, launches as an array": ("hw_overlap", {
        "return range(first, self.next)": "return np.arange(first, self.next)"}),
    "receptive fields, tuples": ("hw_receptive_field", {
        "views.append(View(size, jump, centre, field))":
        "views.append((size, jump, centre, field))"}),
    "receptive fields, a generator": ("hw_receptive_field", {
        "return views": "return iter(views)"}),
    "receptive fields, an array": ("hw_receptive_field", {
        "return views": "return np.array(views, float).reshape(-1, 4)"}),
    "server, lists and sets": ("hw_server", {
        "cancel=others, release=everyone": "cancel=set(others), release=list(everyone)"}),
    "staleness, an array": ("hw_staleness", {
        "return tuple(1 / max(1, missed) for missed in staleness)":
        "return 1 / np.maximum(1, staleness)"}),
    "staleness, a generator": ("hw_staleness", {
        "return tuple(1 / max(1, missed) for missed in staleness)":
        "return (1 / max(1, missed) for missed in staleness)"}),
    "staleness, a list": ("hw_staleness", {
        "(1 / max(1.0, mean),) * len(staleness)": "[1 / max(1.0, mean)] * len(staleness)"}),
    "torus, generators": ("hw_torus", {
        "    return programs\n": "    return (iter(program) for program in programs)\n"}),
    "overlap, keys of a dict": ("hw_overlap", {
        "return found": "return [dict.fromkeys(names).keys() for names in found]"}),
    "server, arrays, generators, another order": ("hw_server", {
        "cancel=others, release=everyone": "cancel=np.array(others, int), "
        "release=(each for each in everyone)",
        "apply=tuple(sorted(waiting))": "apply=waiting[::-1]"}),
    "ring, generators that are read as they come": ("hw_ring", {
        "        programs.append(program)\n    return programs\n":
        "        yield (program[step] for step in range(2 * (size - 1)))\n",
        "    programs = []\n": ""}),
    "ring, tuples": ("hw_ring", {
        "    return programs\n": "    return tuple(map(tuple, programs))\n"}),
    "gan, turns as an array": ("hw_gan", {
        'return ["discriminator", "generator"] if (step + 1) % k == 0 else ["discriminator"]':
        'return np.array(["discriminator", "generator"][: 1 + (step % k == k - 1)])'}),
    "batch norm by a matrix of slopes": ("hw_batch_norm", {
        "dx = gamma * inv_std * (dy - dy.mean(axis=0) - normal * (dy * normal).mean(axis=0))":
        "dx, M = np.empty_like(dy), len(dy)\n    for c, n in enumerate(normal.T):\n"
        "        slopes = np.eye(M, dtype=n.dtype) - (1 + np.outer(n, n)) / M\n"
        "        dx[:, c] = gamma[c] * inv_std[c] * slopes @ dy[:, c]"}),
    "momentum, a velocity that points down": ("hw_momentum", {
        "v += grads": "v -= grads", "values -= self.lr * (grads + self.momentum * v if":
        "values += self.lr * (self.momentum * v - grads if"}),
    "lstm, gradients from a generator": ("hw_lstm", {
        "return dz @ w.T, dz @ u.T, dc_next * f, x.T @ dz, h.T @ dz, dz.sum(axis=0)":
        "yield from (dz @ w.T, dz @ u.T, dc_next * f, x.T @ dz, h.T @ dz, dz.sum(axis=0))"}),
    "receptive fields by recursion": ("hw_receptive_field", {
        "    jump, centre, field = 1, 0.0, 1\n    views = []\n    for kernel, stride, padding, "
        "dilation in windows:\n": "    views = receptive_fields(size, windows[:-1]) if windows "
        "else []\n"
        "    size, jump, centre, field = views[-1] if views else (size, 1, 0.0, 1)\n"
        "    for kernel, stride, padding, dilation in windows[-1:]:\n"}),
    "momentum, slots from a generator": ("hw_momentum", {
        'return ("velocity",) if self.momentum else ()':
        'return (name for name in ["velocity"] if self.momentum)'}),
    "momentum, slots as a set": ("hw_momentum", {
        'return ("velocity",) if self.momentum else ()':
        'return {"velocity"} if self.momentum else {}.keys()'}),
    "gan, turns as keys of a dict": ("hw_gan", {
        'return ["discriminator", "generator"] if (step + 1) % k == 0 else ["discriminator"]':
        'return dict.fromkeys(["discriminator", "generator"][: 1 + (step % k == k - 1)]).keys()'}),
    "staleness, numbers of float32": ("hw_staleness", {
        "tuple(1 / max(1, missed) for": "tuple(np.float32(1) / max(1, missed) for",
        "(1 / max(1.0, mean),)": "(np.float32(1 / max(1.0, mean)),)"}),
    "server, gradients as tuples": ("hw_server", {
        "push = plans.Push(learner, version, number)": "push = (learner, version, number)",
        "plans.Push(learner, version, number))": "(learner, version, number))"}),
    "batch norm, y and gradients as lists": ("hw_batch_norm", {
        "return gamma * normal + beta, (": "return (gamma * normal + beta).tolist(), (",
        "return dx, dgamma, dbeta": "return dx.tolist(), dgamma.tolist(), list(dbeta)"}),
    "lstm, y and dx as lists of rows": ("hw_lstm", {
        "return np.stack(y, axis=1), saved": "return list(np.stack(y, axis=1)), saved",
        "return np.stack(dxs[::-1], axis=1), *(": "return list(np.stack(dxs[::-1], axis=1)), *("}),
}  # fmt: skip


def crossed(value: Any, what: str) -> Any:
    """What arrives of a value on the other side of the judge's pipes, which carry JSON."""
    return decode(json.loads(json.dumps(encode(value, what))))


class Here:
    """A student whose code is asked in this process: as a `Student`, but for the time to start."""

    gone = case = printed = ""

    def __init__(self, exercise: str, path: Path) -> None:
        self.exercise, self.path = exercise, path
        self.task = load_exercise(exercise)
        self.asked: list[Any] = []
        kept = sys.path.copy()
        try:
            self.module = child.load(path, self.task.NAMES)
        except BaseException as error:  # sys.exit() too, as in the child
            self.gone = self._explained(error)
        sys.path[:] = kept

    def ask(self, probe: str, *arguments: Any, call: str = "") -> Any:
        self.asked.append(Question(probe, encode(arguments, "arguments"), call or probe))
        if self.gone:
            raise GoneError(self.gone)
        given = crossed(arguments, "arguments")
        try:
            return crossed(getattr(self.task, probe)(self.module, *given), "the result")
        except NotWrittenError as error:
            raise NotWrittenError(self._explained(error)) from None
        except BaseException as error:
            raise ExerciseError(f"{call or probe}: {self._explained(error)}") from None

    def _explained(self, error: BaseException) -> str:
        known = child._explain(error, self.path, self.exercise)
        return student._explain({name: str(known.get(name) or "") for name in student.ERROR})


def graded_here(exercise: str, source: str, folder: Path) -> Report:
    """What `grade` finds of a source text, without a process of its own."""
    (path,) = (ROOT / "solutions" / exercise).glob("*.py")
    (folder / path.name).write_text(source)
    here = Here(exercise, folder / path.name)
    return Report(exercise, here.task.grade(cast(Student, here)), 0.0)


DRAWS = 10
"""For each check of one form or mistake; there are many, and each solution has all draws."""


@pytest.mark.parametrize("form", [
    pytest.param(form, marks=[pytest.mark.slow] * (place % 3 > 0))
    for place, form in enumerate(FORMS)
])  # fmt: skip
def test_another_form_of_what_is_right_gets_all_points(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "EXAMPLES", DRAWS)
    exercise, changes = FORMS[form]
    (path,) = (ROOT / "solutions" / exercise).glob("*.py")
    source = path.read_text()
    for one, other in changes.items():
        assert one in source
        source = source.replace(one, other)
    report = graded_here(exercise, source, tmp_path)
    assert not [result.message for result in report.results if result.message]
