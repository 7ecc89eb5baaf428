"""Generated samples: as a picture, as a moving one, and the game between the two networks."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minidl import files
from minidl.errors import InputError, ShapeError
from minidl.report.curves import Record
from minidl.report.style import SERIES, new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAME = (("discriminator loss", "generator loss"), ("D(x)", "D(G(z))"))
"""The figures of ``minidl.tasks.Adversarial``, panel by panel."""


MEANINGS = {
    "confidence": "mean highest probability\n(higher is better)",
    "sure": "share with a probability\nabove 0.9 (higher is better)",
    "coverage": "classes that samples fall in\n(higher is better)",
    "distance": "Fréchet distance to real samples\n(lower is better)",
}
"""What the figures of ``minidl.train.SampleQuality`` are, in lines as long as a panel is high."""


def tile(images: np.ndarray, columns: int | None = None, scale: int = 1) -> np.ndarray:
    """Images side by side in one, as bytes.

    Parameters
    ----------
    images
        (N, H, W, 1) or (N, H, W, 3), with values from -1 to 1.
    columns
        How many stand in a row; as many as make a square of them if None.
    scale
        How many pixels wide and high each pixel becomes.

    Returns
    -------
    array of uint8
        (rows × H × scale, columns × W × scale), grey, or with a last axis of 3 colours;
        places that no image is left for are black.

    Raises
    ------
    ShapeError
        If these are no images.
    InputError
        If there is none, or `columns` or `scale` is less than one.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ShapeError(f"images must be (N, H, W, 1) or (N, H, W, 3), not {images.shape}")
    columns = int(np.ceil(np.sqrt(len(images)))) if columns is None else columns
    if not len(images) or columns < 1 or scale < 1:
        raise InputError(
            f"there is nothing to draw: {len(images)} images, {columns} columns, scale {scale}"
        )
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, height, width, channels), np.uint8)
    sheet[:count] = np.rint((np.clip(images, -1, 1) + 1) * 127.5)
    sheet = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * height, columns * width, channels)
    sheet = sheet.repeat(scale, axis=0).repeat(scale, axis=1)
    return sheet[..., 0] if channels == 1 else sheet


def save_samples(images: np.ndarray, path: str | Path, columns: int | None = None) -> None:
    """Save images side by side in one PNG; see `tile`."""
    _save(path, ".png", [tile(images, columns, scale=2)])


def save_animation(frames: Sequence[np.ndarray], path: str | Path, seconds: float = 0.25) -> None:
    """Save sheets of images as a GIF that shows one after another and stays at the last for longer.

    Parameters
    ----------
    frames
        Of equal shapes; see `tile`.
    path
        Ends in ``.gif``.
    seconds
        How long each is seen.

    Raises
    ------
    InputError
        If there is no frame, or `path` ends otherwise.
    """
    if not frames:
        raise InputError("there is nothing to draw: no frame")
    times = [round(1000 * seconds)] * (len(frames) - 1) + [round(8000 * seconds)]
    _save(path, ".gif", frames, duration=times if len(times) > 1 else times[0], loop=0)


def _save(path: str | Path, suffix: str, frames: Sequence[np.ndarray], **settings: object) -> None:
    from PIL import Image

    path = Path(path)
    if path.suffix.lower() != suffix:
        raise InputError(f"{path} must end in {suffix}")
    first, *others = (Image.fromarray(frame) for frame in frames)
    if others:
        settings |= {"save_all": True, "append_images": others}
    written = io.BytesIO()
    first.save(written, format=suffix[1:].upper(), **settings)
    files.replace(path, written.getvalue())


def draw_game(epochs: Sequence[Record], path: str | Path | None = None) -> Figure:
    """Draw both losses of an adversarial run, and what the discriminator takes for data.

    Parameters
    ----------
    epochs
        Those of a ``minidl.train.History``.
    path
        Where to save the picture, if anywhere.

    Raises
    ------
    InputError
        If no epoch is done, or the figures are of another task.
    """
    if not epochs:
        raise InputError("there is nothing to draw: no epoch is done")
    if not any(GAME[0][0] in record.train for record in epochs):
        raise InputError(
            f"these are no figures of an adversarial run: {', '.join(epochs[0].train)}"
        )
    ends = np.array([record.epoch + 1 for record in epochs])
    figure = new_figure(9, 3.4)
    for axes, names in zip(figure.subplots(1, 2), GAME, strict=True):
        for colour, name in zip(SERIES, names, strict=False):
            values = [record.train.get(name, np.nan) for record in epochs]
            axes.plot(ends, values, "-o", color=colour, markersize=3, label=name)
        axes.set(xlabel="epochs", title=" and ".join(names))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, 1)
    return save(figure, path)


def draw_quality(
    epochs: Sequence[int],
    figures: Mapping[str, Sequence[float]],
    real: Mapping[str, float],
    path: str | Path | None = None,
) -> Figure:
    """Draw figures of generated samples over the epochs, beside those of real ones.

    Parameters
    ----------
    epochs
        The numbers of the epochs.
    figures
        By name, a value for each epoch. Those of `minidl.train.SampleQuality` are labelled with
        what they mean and which way is better.
    real
        What real samples have.
    path
        Where to save the picture, if anywhere.

    Raises
    ------
    InputError
        If there is no figure, no epoch, or not one value for each.
    """
    if not figures or not epochs or any(len(each) != len(epochs) for each in figures.values()):
        lengths = {name: len(each) for name, each in figures.items()}
        raise InputError(f"each figure needs a value for each of {len(epochs)} epochs: {lengths}")
    figure = new_figure(4.2 * len(figures), 3.4)
    panels = figure.subplots(1, len(figures), squeeze=False)[0]
    for axes, (name, values) in zip(panels, figures.items(), strict=True):
        axes.plot(epochs, values, "-o", color=SERIES[0], markersize=3, label="generated")
        if name in real:
            axes.axhline(real[name], color=SERIES[1], linestyle="--", label="real")
        axes.set(xlabel="epochs", title=name, ylabel=MEANINGS.get(name, name))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return save(figure, path)
