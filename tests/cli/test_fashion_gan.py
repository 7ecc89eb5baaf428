"""``minidl train fashion-gan``: its pictures, its figures, and that its images get better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from minidl import data, models
from minidl.cli.main import app
from minidl.cli.recipes import fashion_gan

SMALL = data.fashion_mnist_small


def minidl(*words: str) -> Any:
    return CliRunner().invoke(app, ["train", *words])


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few of the images, a small network, and a folder of its own to write to."""
    train, test = SMALL()
    few = train.take(slice(0, 160)), test.take(slice(0, 20))
    for name in fashion_gan.SOURCES.values():
        monkeypatch.setitem(data._MAKERS, name, lambda: few)
    monkeypatch.setattr(fashion_gan, "JUDGED", 20)
    shape = (28, 28, 1)
    small = (lambda: models.dcgan(latent=4, width=2)), models.mlp, models.mlp_gan
    small[0].__name__ = "dcgan"
    monkeypatch.setitem(models._MAKERS, shape, small)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("few_images")
def test_pictures_and_figures_as_json() -> None:
    result = minidl(
        "fashion-gan", "--json", "--epochs", "2", "--strategy", "ring", "--out", "deep/er"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["strategy"] == "ring"
    assert set(found["train"]) == set(found["validation"])
    assert set(found["train"]) == {"discriminator loss", "generator loss", "D(x)", "D(G(z))"}
    assert [row.pop("epoch") for row in found["generated_by_epoch"]] == [1, 2]
    assert found["generated_by_epoch"][-1] == found["generated"]
    assert 0 <= found["classifier_accuracy"] <= 1
    for figures in (found["real"], found["generated"]):
        assert set(figures) == {"confidence", "sure", "coverage", "distance"}
        assert 1 <= figures["coverage"] <= 10
    assert sorted(map(Path, found["pictures"])) == sorted(Path("deep/er").iterdir())
    assert len(found["pictures"]) == 5


@pytest.mark.usefixtures("few_images")
def test_figures_in_words() -> None:
    Path("fashion-gan-full").mkdir()  # which is there already, and stays as it is
    words = ("--epochs", "1", "--optimizer", "rmsprop", "--model", "mlp_gan")
    result = minidl("fashion-gan-full", *words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    for start in ("judged by a classifier that is right about ", "  real images  ", "  generated "):
        assert any(line.startswith(start) for line in lines)
    assert "samples of epoch 1: sure of" in result.stderr
    assert "pictures are in fashion-gan-full-2" in lines
    assert len([*Path("fashion-gan-full-2").iterdir()]) == 4
    assert not [*Path("fashion-gan-full").iterdir()]


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fashion-gan", "--model", "mlp"], "the adversarial task trains a GAN, not Sequential"),
        (["fashion-gan", "--model", "lenet"], "unknown model 'lenet'"),
        (["fashion-gan", "--strategy", "pipeline"], "cannot do Adversarial"),
        (["fashion-gan", "--out", "file"], "file is no folder for pictures"),
        (["fashion-gan", "--out", "."], ". is not empty: choose another folder for the pictures"),
        (["digits", "--out", "here"], "--out is for tasks that make pictures: fashion-gan"),
        (["fashion-mnist-small", "--model", "dcgan"], "as the network has 1 outputs"),
    ],
)
def test_what_cannot_be_made_up_is_refused(words: list[str], message: str) -> None:
    Path("file").touch()
    result = minidl(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert message in " ".join(result.stderr.split())
    assert [path.name for path in Path().iterdir()] == ["file"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_images_get_better(tmp_path: Path) -> None:
    result = minidl("fashion-gan", "--json", "--epochs", "12", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    first, last = found["generated_by_epoch"][0], found["generated"]
    assert found["classifier_accuracy"] > 0.8
    assert last["coverage"] > 8.5
    assert last["distance"] < first["distance"] / 2
    assert last["sure"] > 0.25
