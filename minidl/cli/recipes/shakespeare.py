"""Continuing "As You Like It" character by character, against what counting foretells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import log
from typing import Any

from minidl import data, models
from minidl.cli.recipes.optimizers import optimizer
from minidl.cli.recipes.recipe import Options, Recipe
from minidl.data import Dataset
from minidl.nn import CrossEntropy
from minidl.optim import Adam, Clipped
from minidl.train import Trainer

BEGINNING = "ROSALIND\t"
LENGTH = 300
TEMPERATURES = (0.5, 0.9)


def recipe(options: Options) -> Recipe:
    """An LSTM by Adam with clipped gradients, unless told otherwise."""
    train, test = data.shakespeare()
    assert train.classes is not None
    rule = (
        Clipped(Adam(lr=3e-3 if options.lr is None else options.lr), norm=1.0)
        if options.optimizer is None
        else optimizer(options.optimizer, options.lr)
    )
    model = models.make(options.model or "char_lstm", classes=len(train.classes))
    show = partial(_show, train, test, options.seed)
    return Recipe(train, test, model, CrossEntropy(), rule, epochs=15, batch_size=32, show=show)


def _show(
    train: Dataset, test: Dataset, seed: int, trainer: Trainer, say: Callable[[str], None]
) -> Mapping[str, Any]:
    """The cross entropy beside that of counting, and two samples."""
    assert train.classes is not None
    nats = {
        "network": trainer.evaluate(test)["loss"],
        "bigram": data.bigram_loss(train, test),
        "unigram": data.unigram_loss(train, test),
    }
    bits = {name: value / log(2) for name, value in nats.items()}
    for name, value in nats.items():
        say(f"{name:8} {value:.3f} nats = {bits[name]:.3f} bits a character")
    samples = {}
    for temperature in TEMPERATURES:
        made = models.sample(
            trainer.model,
            data.encode(BEGINNING, train.classes),
            LENGTH,
            temperature=temperature,
            seed=seed,
        )
        samples[str(temperature)] = BEGINNING + data.decode(made, train.classes)
        say(f"\na sample at temperature {temperature}:\n\n{samples[str(temperature)]}")
    return {"nats": nats, "bits": bits, "samples": samples}
