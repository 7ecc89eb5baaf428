"""Pictures of samples hold the samples, and curves of the game are its figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidl import rng
from minidl.errors import InputError, ShapeError
from minidl.report.samples import (
    GAME,
    MEANINGS,
    draw_game,
    draw_quality,
    save_animation,
    save_samples,
    tile,
)


def images(count: int, height: int = 3, width: int = 2, channels: int = 1) -> np.ndarray:
    numbers = rng.stream(count, "images", height, width, channels)
    return numbers.uniform(-1, 1, (count, height, width, channels))


@given(
    count=st.integers(1, 12),
    columns=st.none() | st.integers(1, 5),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    scale=st.integers(1, 3),
)
def test_each_image_stands_in_its_place(
    count: int, columns: int | None, height: int, width: int, channels: int, scale: int
) -> None:
    given_images = images(count, height, width, channels)
    sheet = tile(given_images, columns, scale)
    wide = columns or next(n for n in range(9) if n * n >= count)
    rows = -(-count // wide)
    assert sheet.shape[:2] == (rows * height * scale, wide * width * scale)
    assert sheet.shape[2:] == (() if channels == 1 else (3,))
    small = sheet.reshape(rows, height, scale, wide, width, scale, channels)
    assert (small == small[:, :, :1, :, :, :1]).all()
    for place in range(rows * wide):
        row, column = divmod(place, wide)
        found = small[row, :, 0, column, :, 0]
        if place < count:
            np.testing.assert_allclose(found / 127.5 - 1, given_images[place], atol=0.5 / 127)
        else:
            assert (found == 0).all()


def test_what_is_too_bright_is_white() -> None:
    assert tile(np.full((1, 1, 1, 1), 1.5)).item() == 255
    assert tile(np.full((1, 1, 1, 1), -9.0)).item() == 0


def test_a_picture_and_a_moving_one_are_files(tmp_path: Path) -> None:
    save_samples(images(5), tmp_path / "new" / "samples.png")
    with Image.open(tmp_path / "new" / "samples.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), tile(images(5), scale=2))
    frames = [np.full((4, 6), level, np.uint8) for level in (0, 90, 255)]
    for count in (1, 3):
        save_animation(frames[:count], tmp_path / "samples.gif")
        with Image.open(tmp_path / "samples.gif") as moving:
            assert getattr(moving, "n_frames", 1) == count
            for place in range(count):
                moving.seek(place)
                assert (np.asarray(moving.convert("L")) == frames[place]).all()


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"not \(3, 4\)"):
        tile(np.ones((3, 4)))
    with pytest.raises(ShapeError, match=r"not \(1, 3, 4, 2\)"):
        tile(np.ones((1, 3, 4, 2)))
    for count, columns, scale in ((0, None, 1), (2, 0, 1), (2, 1, 0)):
        with pytest.raises(InputError, match="nothing to draw"):
            tile(np.ones((count, 2, 2, 1)), columns, scale)
    with pytest.raises(InputError, match=r"samples.jpg must end in .png"):
        save_samples(images(1), tmp_path / "samples.jpg")
    with pytest.raises(InputError, match=r"samples.png must end in .gif"):
        save_animation([tile(images(1))], tmp_path / "samples.png")
    with pytest.raises(InputError, match="no frame"):
        save_animation([], tmp_path / "samples.gif")
    assert not list(tmp_path.iterdir())


@dataclass
class Record:
    epoch: int
    train: dict[str, float]
    validation: dict[str, float] | None = None
    steps: int = 1


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=5), first=st.integers(0, 3))
def test_the_game_is_drawn_as_it_went(values: list[float], first: int) -> None:
    names = [name for panel in GAME for name in panel]
    records = [
        Record(first + at, {name: value + place for place, name in enumerate(names)})
        for at, value in enumerate(values)
    ]
    del records[0].train["generator loss"]  # with many updates of the discriminator for each
    figure = draw_game(records)
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    assert list(lines) == names
    for name, line in lines.items():
        np.testing.assert_array_equal(line.get_xdata(), [r.epoch + 1 for r in records])
        np.testing.assert_array_equal(
            line.get_ydata(), [r.train.get(name, np.nan) for r in records]
        )


def test_another_game_is_refused() -> None:
    with pytest.raises(InputError, match="no epoch is done"):
        draw_game([])
    with pytest.raises(InputError, match="no figures of an adversarial run: loss, accuracy"):
        draw_game([Record(0, {"loss": 1, "accuracy": 0})])


@given(values=st.lists(st.floats(0, 10), min_size=1, max_size=5))
def test_each_figure_of_quality_has_a_panel(values: list[float]) -> None:
    epochs = range(3, 3 + len(values))
    figure = draw_quality(epochs, {"sure": values, "distance": values[::-1]}, {"sure": 0.5})
    assert [axes.get_title() for axes in figure.axes] == ["sure", "distance"]
    for axes, expected in zip(figure.axes, (values, values[::-1]), strict=True):
        np.testing.assert_array_equal(axes.get_lines()[0].get_xdata(), epochs)
        np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), expected)
    assert [len(axes.get_lines()) for axes in figure.axes] == [2, 1]
    assert set(figure.axes[0].get_lines()[1].get_ydata()) == {0.5}


def test_figures_without_epochs_are_refused(tmp_path: Path) -> None:
    for epochs, figures in (([], {"sure": []}), ([1], {}), ([1, 2], {"sure": [1.0]})):
        with pytest.raises(InputError, match="a value for each"):
            draw_quality(epochs, figures, {}, tmp_path / "quality.png")
    figure = draw_quality([1], {name: [0.5] for name in MEANINGS}, {}, tmp_path / "quality.png")
    figure.draw_without_rendering()
    for axes in figure.axes:  # no label is cut off
        label = axes.yaxis.label.get_window_extent()
        assert figure.bbox.count_contains(label.corners()) == 4, axes.get_ylabel()
    assert (tmp_path / "quality.png").read_bytes().startswith(b"\x89PNG")
