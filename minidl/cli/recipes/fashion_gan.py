"""Making up garments: a DCGAN on Fashion-MNIST, with figures of how good its images are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from minidl import data, models, nn
from minidl.cli.places import fresh
from minidl.cli.recipes.optimizers import optimizer
from minidl.cli.recipes.recipe import Options, Recipe
from minidl.data import Dataset
from minidl.optim import Adam
from minidl.tasks import Adversarial
from minidl.train import Gallery, Judge, Trainer

SOURCES = {"fashion-gan": "fashion-mnist-small", "fashion-gan-full": "fashion-mnist"}
"""The images each of the two tasks learns from."""
SEEN = 40 * 6_000
"""Images shown in a training, as many of either source; more of the small one make it no better."""
JUDGED = 1000
"""Samples judged after every epoch."""


def recipe(options: Options) -> Recipe:
    """Adam with little momentum (Radford et al. 2016), unless told otherwise."""
    train, test = map(_from_minus_one, data.make(SOURCES[options.task]))
    rule = (
        Adam(lr=1e-3 if options.lr is None else options.lr, betas=(0.5, 0.999))
        if options.optimizer is None
        else optimizer(options.optimizer, options.lr)
    )
    gallery = Gallery(
        options.out or fresh(Path(options.task)),
        partial(_judge, train, test, options.seed),
        seed=options.seed,
    )
    return Recipe(
        train,
        test,
        models.make(options.model or "dcgan"),
        Adversarial(),
        rule,
        epochs=max(1, SEEN // len(train)),
        batch_size=32,
        show=partial(_show, gallery),
        callbacks=(gallery,),
    )


def _from_minus_one(images: Dataset) -> Dataset:
    """Images from -1 to 1, as a tanh makes them."""
    return replace(images, scale=2 * images.scale, offset=-1.0)


def _judge(train: Dataset, test: Dataset, seed: int) -> Judge:
    """A classifier of garments, right about some 86% of them after learning for seconds."""
    classifier = nn.Sequential(
        nn.Conv2d(32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64), nn.ReLU(), nn.Linear(10),
    )  # fmt: skip
    learnt, others = train.take(slice(JUDGED, 7 * JUDGED)), train.take(slice(0, JUDGED))
    trainer = Trainer(classifier, nn.CrossEntropy(), Adam(lr=2e-3), seed=seed)
    trainer.fit(learnt, epochs=8, batch_size=64, progress=False)
    return Judge(classifier, test.take(slice(0, JUDGED)), others)


def _show(gallery: Gallery, trainer: Trainer, say: Callable[[str], None]) -> Mapping[str, Any]:
    """The judge's figures of the last epoch beside those of real images."""
    judge, last = gallery.judge, [*gallery.judged.values()][-1]
    assert judge is not None  # made when training began
    say(f"judged by a classifier that is right about {judge.accuracy:.1%} of test images:")
    say(f"  real images       {judge.best}")
    say(f"  generated images  {last}")
    say(f"pictures are in {gallery.folder}")
    return {
        "classifier_accuracy": judge.accuracy,
        "real": asdict(judge.best),
        "generated": asdict(last),
        "generated_by_epoch": [{"epoch": n} | asdict(q) for n, q in gallery.judged.items()],
        "pictures": [str(path) for path in gallery.written],
    }
