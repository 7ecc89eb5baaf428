"""Learning to generate: a generator against a discriminator, in turns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minidl.checks import whole
from minidl.data import Batch, Dataset
from minidl.errors import InputError, NonFiniteError
from minidl.models.gan import GAN
from minidl.nn import EVALUATE, Layer, Mode
from minidl.nn.adversarial import AdversarialLoss, NonSaturating
from minidl.runtime.trace import Recorder
from minidl.tasks.task import Phase, Sums, Task


@dataclass(frozen=True)
class Adversarial(Task):
    """Algorithm 1 of Goodfellow et al. (2014).

    Every step updates the discriminator, on a batch of data and as many generated
    samples; every k-th step then updates the generator, on fresh noise. Figures of a
    step: ``"discriminator loss"``, ``"generator loss"``, ``"D(x)"`` and ``"D(G(z))"``,
    how much the discriminator takes data and generated samples for data.

    Parameters
    ----------
    loss
        What either side minimises.
    discriminator_steps
        k, the updates of the discriminator for each one of the generator.

    Raises
    ------
    InputError
        If `discriminator_steps` is not a whole number of at least 1, or `loss` no
        `AdversarialLoss`.
    """

    loss: AdversarialLoss = field(default_factory=NonSaturating)
    discriminator_steps: int = 1

    def __post_init__(self) -> None:
        whole("Adversarial: discriminator_steps", self.discriminator_steps)
        if not isinstance(self.loss, AdversarialLoss):
            raise InputError(f"Adversarial: loss must be an AdversarialLoss, not {self.loss!r}")

    @property
    def period(self) -> int:  # type: ignore[override]
        """After how many steps the phases come again, `discriminator_steps`."""
        return self.discriminator_steps

    def check(self, model: Layer, dataset: Dataset) -> None:
        _gan(model).build(dataset.sample_shape)

    def phases(self, step: int) -> tuple[Phase, ...]:
        rounds, rest = divmod(step + 1, self.discriminator_steps)
        discriminator = Phase("discriminator", step)
        return (discriminator, Phase("generator", rounds - 1)) if rest == 0 else (discriminator,)

    def gradients(
        self, phase: Phase, model: Layer, batch: Batch, mode: Mode, trace: Recorder
    ) -> Sums:
        gan = _gan(model)
        name = (mode.seed, "noise", phase.path, mode.step)
        noise = gan.noise(name, batch.first, len(batch), batch.x)
        if phase.path == "generator":
            return self._generator(gan, noise, mode, trace)
        return self._discriminator(gan, batch, noise, mode, trace)

    def _discriminator(
        self, gan: GAN, batch: Batch, noise: np.ndarray, mode: Mode, trace: Recorder
    ) -> Sums:
        """Judge data and generated samples, which follow the data as if in one batch."""
        judge, total = gan.discriminator, 0.0
        beliefs = {}
        with trace.span("forward"):
            fakes, _ = gan.generator.forward(noise, mode)
        for name, x, first, loss in (
            ("D(x)", batch.x, mode.first, self.loss.real),
            ("D(G(z))", fakes, batch.size + mode.first, self.loss.fake),
        ):
            with trace.span("forward"):
                z, saved = judge.forward(x, replace(mode, first=first, batch_size=2 * batch.size))
                losses, dz = loss(z)
            total += _finite(losses, mode)
            beliefs[name] = float(self.loss.belief(z).sum())
            with trace.span("backward"):
                judge.accumulate(dz / z.dtype.type(batch.size), saved)
        return Sums.over(len(batch), {"discriminator loss": total} | beliefs)

    def _generator(self, gan: GAN, noise: np.ndarray, mode: Mode, trace: Recorder) -> Sums:
        """Follow the discriminator's gradient back through the generated samples."""
        with trace.span("forward"):
            x, generated = gan.generator.forward(noise, mode)
            z, judged = gan.discriminator.forward(x, mode)
            losses, dz = self.loss.generator(z)
        total = _finite(losses, mode)
        with trace.span("backward"):
            dx = gan.discriminator.backward(dz / z.dtype.type(mode.batch_size), judged)
            gan.generator.accumulate(dx, generated)
        figures = Sums.over(len(noise), {"generator loss": total})
        return replace(figures, samples=0)  # the batch has been counted in the other phase

    def score(self, model: Layer, batch: Batch) -> Sums:
        gan = _gan(model)
        noise = gan.noise(("evaluation",), batch.first, len(batch), batch.x)
        real, _ = gan.discriminator.forward(batch.x, EVALUATE)
        fake, _ = gan.discriminator.forward(gan.generator.forward(noise, EVALUATE)[0], EVALUATE)
        found: dict[str, Any] = {
            "discriminator loss": self.loss.real(real)[0] + self.loss.fake(fake)[0],
            "generator loss": self.loss.generator(fake)[0],
            "D(x)": self.loss.belief(real),
            "D(G(z))": self.loss.belief(fake),
        }
        return Sums.over(len(batch), {name: float(each.sum()) for name, each in found.items()})


def _gan(model: Layer) -> GAN:
    if not isinstance(model, GAN):
        raise InputError(f"the adversarial task trains a GAN, not {type(model).__name__}")
    return model


def _finite(losses: np.ndarray, mode: Mode) -> float:
    total = float(losses.sum())
    if not np.isfinite(total):
        raise NonFiniteError(
            f"a loss of the adversarial game is not finite at step {mode.step}. "
            "A lower learning rate often helps."
        )
    return total
