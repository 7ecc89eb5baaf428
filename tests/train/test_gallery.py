"""What a gallery hangs up after every epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl import data, models, nn, optim, rng, strategy
from minidl.errors import InputError
from minidl.report.samples import tile
from minidl.runtime import Virtual
from minidl.strategy import Strategy
from minidl.tasks import Adversarial
from minidl.train import Gallery, Judge, Trainer

SHAPE = (4, 4, 1)


def images(count: int = 12) -> data.Dataset:
    numbers = rng.stream(0, "images", count)
    return data.Dataset(numbers.uniform(-1, 1, (count, *SHAPE)), np.arange(count) % 3)


def judge() -> Judge:
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(3))
    classifier.initialise(SHAPE)
    return Judge(classifier, images(), images(6))


def trainer() -> Trainer:
    model = models.mlp_gan(SHAPE, latent=3, hidden=8)
    return Trainer(model, Adversarial(), optim.Adam(lr=0.01))


def fit(gallery: Gallery, how: Strategy, epochs: int = 2) -> Trainer:
    trained = trainer()
    trained.fit(images(), epochs=epochs, batch_size=6, strategy=how, callbacks=[gallery])
    return trained


@pytest.mark.parametrize(
    "how",
    [
        strategy.Serial(),
        strategy.RingAllReduce(2, runtime=Virtual()),
        strategy.ParameterServer(2, runtime=Virtual()),
    ],
    ids=lambda how: how.name,
)
def test_every_epoch_has_its_picture_and_its_figures(how: Strategy, tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "new", judge, count=5, seed=3)
    trained = fit(gallery, how)
    names = ["epoch-001.png", "samples.gif", "epoch-002.png", "game.png", "quality.png"]
    assert gallery.written == [tmp_path / "new" / name for name in names]
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == sorted(names)
    assert isinstance(trained.model, models.GAN)
    with Image.open(tmp_path / "new" / "epoch-002.png") as picture:
        expected = tile(trained.model.sample(5, seed=3), scale=2)
        np.testing.assert_array_equal(np.asarray(picture), expected)
    with Image.open(tmp_path / "new" / "samples.gif") as moving:
        assert getattr(moving, "n_frames", 1) == 2
    assert list(gallery.judged) == [1, 2]
    assert gallery.judged[2] == judge()(trained.model.sample(12, seed=3 + 2))


def test_training_is_not_disturbed(tmp_path: Path) -> None:
    alone = trainer()
    alone.fit(images(), epochs=2, batch_size=6)
    watched = fit(Gallery(tmp_path, judge), strategy.Serial())
    for name, value in alone.weights().items():
        np.testing.assert_array_equal(watched.weights()[name], value)


def test_a_judge_is_made_once_and_a_further_fit_begins_anew(tmp_path: Path) -> None:
    made = []

    def make() -> Judge:
        made.append(judge())
        return made[-1]

    gallery = Gallery(tmp_path, make)
    assert not made and gallery.judge is None
    trained = fit(gallery, strategy.Serial())
    trained.fit(images(), epochs=1, batch_size=6, callbacks=[gallery])
    assert len(made) == 1
    assert list(gallery.judged) == [3]
    assert gallery.written[0].name == "epoch-003.png"


def test_without_a_judge_there_are_pictures_only(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    fit(gallery, strategy.Serial(), epochs=1)
    assert gallery.judged == {}
    assert {path.name for path in gallery.written} == {"epoch-001.png", "samples.gif", "game.png"}


def test_only_a_gan_has_samples_to_show(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3))
    other = Trainer(network, nn.CrossEntropy(), optim.SGD(0.1))
    with pytest.raises(InputError, match="a Gallery shows what a GAN generates, not"):
        other.fit(images(), epochs=1, batch_size=6, callbacks=[Gallery(tmp_path)])
    with pytest.raises(InputError, match="count must be a whole number of at least 1"):
        Gallery(tmp_path, count=0)
