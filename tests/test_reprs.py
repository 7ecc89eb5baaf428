"""What a notebook or a message shows of an object: short, without addresses or arrays."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import io
import re
import sys
from functools import cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import minidl as dl
from minidl import analysis, data, models, nn, optim, plans, strategy
from minidl.course import Report
from minidl.course.report import Result
from minidl.errors import InputError
from minidl.reprs import LONGEST, MOST_COLUMNS, MOST_LINES, MOST_ROWS

PACKAGES = (
    "minidl", "minidl.analysis", "minidl.course", "minidl.data", "minidl.data.augment",
    "minidl.models", "minidl.nn", "minidl.optim", "minidl.plans", "minidl.runtime", "minidl.sim",
    "minidl.strategy", "minidl.tasks", "minidl.train", "minidl.train.scaling",
)  # fmt: skip
ARRAY = np.linspace(0, 1, 5000).reshape(50, 100)
# What a field may hold that is long, by a word of its annotation.
LONG = {
    "Callable": lambda: None,
    "Initialiser": lambda: None,
    "Mapping": {f"name {i}": ARRAY for i in range(1000)},
    "dict": dict.fromkeys(range(1000), ARRAY),
    "Sequence": [ARRAY] * 1000,
    "list": [ARRAY] * 1000,
    "...": tuple(range(10_000)),
    "ndarray": ARRAY,
    "Array": ARRAY,
    "str": "a name",
}


def public_classes() -> list[type]:
    found = {
        value: None
        for package in PACKAGES
        for value in vars(importlib.import_module(package)).values()
        if inspect.isclass(value)
        and value.__module__.startswith("minidl.")
        and not issubclass(value, BaseException)
        and not getattr(value, "_is_protocol", False)
        and not inspect.isabstract(value)
        and not value.__name__.startswith("_")
    }
    return list(found)


def long_instance(kind: type) -> Any:
    """An instance whose every field is as long as its annotation lets it be."""

    def value(annotation: str) -> Any:
        return next((long for word, long in LONG.items() if word in annotation), 1)

    parameters = inspect.signature(kind).parameters.values()
    fields = {each.name: value(str(each.annotation)) for each in parameters}
    if issubclass(kind, tuple):
        return kind(**fields)
    thing = object.__new__(kind)
    for name, long in fields.items():
        object.__setattr__(thing, name, long)
    return thing


def assert_short(text: str) -> None:
    assert len(text) <= LONGEST, text[: 2 * LONGEST]
    assert not re.search(r"0x[0-9a-f]{6}|array\(|\n", text), text


OWN = (dl.Trainer, dl.History, nn.Layer, nn.ParameterBuffer, plans.Plan, analysis.Summary)
"""Classes whose representation counts what is in them, so that it takes real ones."""
WHOLE = (optim.Groups, optim.Composed)
"""Optimizers are compared by their representation when a checkpoint is loaded."""


KINDS = [kind for kind in public_classes() if not issubclass(kind, OWN + WHOLE)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_public_object_has_a_short_representation(kind: type) -> None:
    if dataclasses.is_dataclass(kind) or kind.__repr__ is not object.__repr__:
        assert_short(repr(long_instance(kind)))
    else:
        pytest.fail(f"{kind.__name__} shows its address only")


def test_a_stream_of_ascii_takes_every_text(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plans.ring_all_reduce(3)
    assert "→" in plans.grid(plan)
    assert "−" in repr(plan.cost)
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, "ascii", write_through=True))
    print(*map(long_instance, KINDS), plan, plan.cost, plan.programs[0][0][0])
    print(plans.grid(plan, {(0, 0)}), InputError("an image of 3×3 with a Ł"))
    text = stream.getvalue().decode()
    assert "0>1" in text
    assert text.endswith(" an image of 3x3 with a ?\n")


@cache
def trained() -> dl.Trainer:
    x = np.random.default_rng(0).normal(size=(40, 5))
    model = nn.Sequential(nn.Linear(4), nn.Residual(nn.Linear(4, bias=False)), nn.Linear(3))
    trainer = dl.Trainer(model, nn.MSE(), optim.SGD(lr=0.01))
    trainer.fit(
        (x, x[:, :3]), epochs=30, batch_size=8, validation=(x, x[:, :3]),
        strategy=strategy.RingAllReduce(2), clock="virtual",
    )  # fmt: skip
    return trainer


def test_what_has_been_trained_says_how_much_in_a_line() -> None:
    trainer = trained()
    for thing in (trainer, trainer.history, trainer.history.trace, dl.History()):
        assert_short(repr(thing))
    assert "43 parameters" not in repr(trainer)
    assert f"{5 * 4 + 4 + 4 * 4 + 4 * 3 + 3} parameters" in repr(trainer)
    assert repr(trainer.history).startswith("History(30 epochs, 150 steps")


def test_a_network_has_a_line_a_layer_and_its_parameters() -> None:
    network = trained().model
    assert repr(network) == (
        "Sequential(\n"
        "  0: Linear(out_features=4)\n"
        "  1: Residual(\n"
        "    body: Linear(out_features=4, bias=False)\n"
        "  ), 16 parameters\n"
        "  2: Linear(out_features=3)\n"
        "), 55 parameters"
    )
    deep = nn.Sequential(*(nn.Residual(nn.Linear(4)) for _ in range(30)))
    assert repr(deep).splitlines()[8:13] == [
        "    body: Linear(out_features=4)",
        "  )",
        "  … 73 lines left out: analysis.summary lists all layers",
        "    body: Linear(out_features=4)",
        "  )",
    ]
    for layer in (deep, models.resnet50(), models.googlenet(), nn.LSTM(8, layers=2)):
        lines = repr(layer).splitlines()
        assert len(lines) <= MOST_LINES
        for line in lines:
            assert_short(line)
    assert repr(nn.Conv2d(8, (3, 2), padding=1)) == (
        "Conv2d(out_channels=8, kernel_size=(3, 2), padding=1)"
    )
    assert_short(repr(nn.Linear(3, weight_init=lambda generator, shape: np.zeros(shape))))


def test_a_strategy_says_what_it_is_and_no_other_default() -> None:
    server = strategy.ParameterServer(4, servers=2)
    assert [repr(each) for each in (
        strategy.Serial(),
        strategy.RingAllReduce(4),
        strategy.AllReduce(6, "torus", {"shape": (2, 3)}),
        strategy.Pipeline(2),
        server,
    )] == [
        "Serial()",
        "AllReduce(workers=4, algorithm='ring')",
        "AllReduce(workers=6, algorithm='torus', options={'shape': (2, 3)})",
        "Pipeline(stages=2)",
        "ParameterServer(workers=4, rule=FullySync(), servers=2)",
    ]  # fmt: skip


def test_a_long_plan_is_not_printed_step_by_step() -> None:
    assert repr(plans.ring_all_reduce(32)) == (
        "Collective('ring all-reduce', 32 ranks, 62 steps, 32 chunks)"
    )
    assert_short(repr(analysis.summary(models.resnet50(), (224, 224, 3))))


def test_an_argument_of_the_wrong_kind_does_not_fill_the_message() -> None:
    train, _ = data.digits()
    with pytest.raises(InputError) as refused:
        nn.Sequential(train)  # type: ignore[arg-type]
    assert_short(str(refused.value).replace("\n", " "))


def in_a_notebook(thing: Any) -> list[list[str]]:
    """The cells of an object's table, which is well-formed, short and without addresses."""
    page = ElementTree.fromstring(f"<div>{thing._repr_html_()}</div>")
    text = "".join(page.itertext())
    assert "script" not in {part.tag for part in page.iter()}
    assert not re.search(r"0x[0-9a-f]{6}|array\(", text), text
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    assert len(rows) <= 2 + MOST_ROWS
    assert {len(row) for row in rows if row != ["…"]} == {min(len(rows[0]), 1 + MOST_COLUMNS)}
    return rows


def test_notebooks_show_tables() -> None:
    trainer = trained()
    attack = "<script>alert(1)</script>"
    things = {
        "history": trainer.history,
        "network": trainer.model,
        "data": data.Dataset(ARRAY, np.arange(50), attack, classes=("a", attack)),
        "summary": analysis.summary(models.resnet50(), (224, 224, 3)),
        "plan": plans.ring_all_reduce(32),
        "report": Report("hw_ring", (Result(attack, 3, 4, f"wrong: {attack}"),), 0.1),
    }
    with_tables = {kind for kind in public_classes() if hasattr(kind, "_repr_html_")}
    assert all(any(isinstance(x, kind) for x in things.values())
               for kind in with_tables if not issubclass(kind, nn.Layer | plans.Plan))  # fmt: skip
    shown = {name: in_a_notebook(thing) for name, thing in things.items()}
    assert [row[0] for row in shown["history"]] == ["epoch", *map(str, range(18, 30))]
    assert shown["network"][1:] == [
        ["0", "Linear(out_features=4)", "24"],
        ["1.body", "Linear(out_features=4, bias=False)", "16"],
        ["2", "Linear(out_features=3)", "15"],
    ]
    assert shown["data"][1:] == [
        ["inputs", "50×100", "float64", "0", "1"],
        ["targets", "50", "int64", "0", "49"],
    ]
    assert shown["summary"][1][:5] == ["0", "Conv2d", "112×112×64", "9,408", "118,013,952"]
    assert shown["plan"][1][:3] == ["0", "0→1 31+←31", "1→2 0+←0"]
    assert shown["report"] == [["case", "check", "points"], ["1", attack, "3 / 4"]]
    assert nn.Linear(3)._repr_html_() is None  # one line is enough
