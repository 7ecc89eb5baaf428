"""Reading dates as people write them, and writing them as ISO 8601 does: `models.seq2seq`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minidl import data, models, optim
from minidl.cli.recipes.optimizers import optimizer
from minidl.cli.recipes.recipe import Options, Recipe
from minidl.data import Dataset
from minidl.data.dates import END, ISO, PADDING, SOURCE_STEPS, START, TARGET_STEPS, WRITTEN
from minidl.errors import InputError
from minidl.nn import CrossEntropy
from minidl.train import Trainer

EPOCHS, BATCH_SIZE = 4, 128
BEAM_WIDTH = 4
SHOWN = 10
"""Predictions that are printed; as many again at most that are wrong."""


def recipe(options: Options) -> Recipe:
    """A GRU that reads and one that writes, by Adam with a cosine and clipped gradients."""
    if options.model not in (None, "seq2seq"):
        raise InputError(f"dates are for the model seq2seq, not {options.model!r}")
    train, test = data.dates()
    rule: optim.Optimizer
    if options.optimizer is None and options.lr is None:
        steps = EPOCHS * -(-len(train) // BATCH_SIZE)
        rule = optim.Adam(optim.Cosine(4e-3, steps, end=1e-4))
    else:
        rule = optimizer(options.optimizer or "adam", options.lr)
    model = models.seq2seq(SOURCE_STEPS, len(WRITTEN), len(ISO), features=32, hidden_size=128)

    def show(trainer: Trainer, say: Callable[[str], None]) -> Mapping[str, Any]:
        return _show(model, test, say)

    return Recipe(
        train,
        test,
        model,
        CrossEntropy(ignore_index=PADDING),
        optim.Clipped(rule, norm=1.0),
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        show=show,
    )


def _show(model: models.Seq2Seq, test: Dataset, say: Callable[[str], None]) -> Mapping[str, Any]:
    """Some dates of the test beside what was written for them, and how many are exact."""
    sources = test.inputs[:, :SOURCE_STEPS]
    how: dict[str, Any] = {"start": START, "end": END, "steps": TARGET_STEPS}
    greedy = models.greedy(model, sources, **how).tokens
    beam = models.beam(model, sources, BEAM_WIDTH, **how).tokens
    right = (greedy == test.targets).all(axis=1)
    rows = [*range(min(SHOWN, len(test)))]
    rows += [row for row in np.flatnonzero(~right)[:SHOWN].tolist() if row not in rows]
    predictions = [
        {
            "text": WRITTEN.decode(test.inputs[row, :SOURCE_STEPS]),
            "written": ISO.decode(greedy[row]),
            "truth": ISO.decode(test.targets[row]),
        }
        for row in rows
    ]
    say(f"{'text':<{SOURCE_STEPS}}  {'written':<10}  truth")
    for shown in predictions:
        mark = "" if shown["written"] == shown["truth"] else "  wrong"
        say(f"{shown['text']:<{SOURCE_STEPS}}  {shown['written']:<10}  {shown['truth']}{mark}")
    exact = {
        "exact_greedy": float(right.mean()),
        "exact_beam": float((beam == test.targets).all(axis=1).mean()),
    }
    say(
        f"exact on {len(test)} unseen dates: {exact['exact_greedy']:.2%} greedy, "
        f"{exact['exact_beam']:.2%} with a beam of {BEAM_WIDTH}"
    )
    return {**exact, "beam_width": BEAM_WIDTH, "predictions": predictions}
