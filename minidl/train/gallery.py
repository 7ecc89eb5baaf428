"""Watching a GAN learn: pictures of its samples, and how good they are, after every epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from minidl.checks import checked, whole
from minidl.errors import InputError
from minidl.models import GAN
from minidl.train.callbacks import Callback
from minidl.train.run import Run
from minidl.train.sample_quality import Judge, SampleQuality


@checked
class Gallery(Callback):
    """Pictures of samples, of their quality and of the game, in a folder.

    After every epoch ``epoch-001.png`` and so on, always of the same noise; after epochs 1, 2,
    4, 8, ... and at the end ``samples.gif``, which shows them one after another; at the end
    ``game.png`` and ``quality.png``.

    Parameters
    ----------
    folder
        Where to put the pictures; made if it is missing.
    judge
        Makes what judges the samples, when the first fit begins; if None, nobody does.
    count
        How many samples are shown.
    seed
        Decides their noise.

    Attributes
    ----------
    judged
        The samples' quality by the number of the epoch, from 1.
    written
        The pictures of the last fit.
    """

    def __init__(
        self,
        folder: str | Path,
        judge: Callable[[], Judge] | None = None,
        *,
        count: int = 64,
        seed: int = 0,
    ) -> None:
        self.folder, self.count, self.seed = Path(folder), whole("Gallery: count", count), seed
        self.judge: Judge | None = None
        self._make_judge = judge
        self.judged: dict[int, SampleQuality] = {}
        self.written: list[Path] = []
        self._frames: list[np.ndarray] = []

    def begin(self) -> None:
        self.judged, self.written, self._frames = {}, [], []
        if self.judge is None and self._make_judge is not None:
            self.judge = self._make_judge()

    def epoch(self, run: Run) -> None:
        from minidl.report import samples as pictures

        number, judge = run.last.epoch + 1, self.judge
        with run.model() as model:
            if not isinstance(model, GAN):
                raise InputError(f"a Gallery shows what a GAN generates, not {model!r}")
            shown = model.sample(self.count, self.seed)
            # Other noise than that of the pictures, and new for each epoch.
            tried = None if judge is None else model.sample(len(judge), self.seed + number)
        self._frames.append(pictures.tile(shown, scale=2))
        pictures.save_samples(shown, self._path(f"epoch-{number:03}.png"))
        if len(self._frames).bit_count() == 1:  # 1, 2, 4, 8, ...: each time it is written anew
            self._animate()
        if judge is not None and tried is not None:
            if not self.judged:
                run.note(
                    f"the judge is right about {judge.accuracy:.1%} of real samples; "
                    f"what it says of others: {judge.best}"
                )
            self.judged[number] = judge(tried)
            run.note(f"samples of epoch {number}: {self.judged[number]}")

    def end(self, run: Run) -> None:
        from minidl.report.samples import draw_game, draw_quality

        self._animate()
        draw_game(run.epochs, self._path("game.png"))
        if self.judge is not None:
            best = vars(self.judge.best)
            figures = {name: [vars(each)[name] for each in self.judged.values()] for name in best}
            draw_quality([*self.judged], figures, best, self._path("quality.png"))

    def _animate(self) -> None:
        from minidl.report.samples import save_animation

        save_animation(self._frames, self._path("samples.gif"))

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if path not in self.written:
            self.written.append(path)
        return path
