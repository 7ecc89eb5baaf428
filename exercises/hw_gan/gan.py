"""Homework: the game of a generative adversarial network, its losses and its turns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl import data, errors, models, nn, optim, rng
from minidl.tasks import Adversarial, Phase
from minidl.train import Trainer

Found = tuple[np.ndarray, np.ndarray]
"""Losses, of the shape of z, and their derivative by z."""


def real(z: np.ndarray) -> Found:
    """What the discriminator minimises on data: -log D, where D = 1 / (1 + exp(-z)).

    Parameters
    ----------
    z
        What the discriminator gives for samples, of any shape and size.

    Returns
    -------
    losses
        Of the shape of z, one for each element; not their mean.
    dz
        The derivative of each by its z.

    Hints
    -----
    - Simplify before you write: -log D = log(1 + exp(-z)). What is its derivative, as a
      function of D?
    - z may be -1000, where exp(-z) is infinite, and so is log(1 + exp(-z)), though the
      loss is 1000. `np.logaddexp(a, b)` is log(exp(a) + exp(b)) without this accident.
    - In 1 / (1 + exp(-z)) infinities do no harm; (1 + tanh(z / 2)) / 2 has none.
    """
    raise errors.NotWrittenError("real is not written yet: see its hints")


def fake(z: np.ndarray) -> Found:
    """What the discriminator minimises on generated samples: -log(1 - D).

    Parameters and returns as for `real`. Hint: 1 - D is D with z's sign changed.
    """
    raise errors.NotWrittenError("fake is not written yet: see the hints of real")


def minimax(z: np.ndarray) -> Found:
    """What the generator minimises in the game as it was stated: log(1 - D).

    Parameters and returns as for `real`.
    """
    raise errors.NotWrittenError("minimax is not written yet: see the hints of real")


def non_saturating(z: np.ndarray) -> Found:
    """What the generator minimises in practice: -log D.

    Parameters and returns as for `real`.
    """
    raise errors.NotWrittenError("non_saturating is not written yet: see real")


def schedule(step: int, k: int) -> list[str]:
    """Who is updated in a step of Algorithm 1, in this order.

    Goodfellow et al. (2014): k updates of the discriminator, each on a new batch, then one
    of the generator, again and again. Every step has a new batch, and so an update of the
    discriminator; the generator's follows in the same step as the last of the k.

    Parameters
    ----------
    step
        The step's number, the first being 0.
    k
        At least 1.

    Returns
    -------
    list
        Of ``"discriminator"`` and ``"generator"``.
    """
    raise errors.NotWrittenError("schedule is not written yet: who moves when k is 1?")


class MyLoss(nn.AdversarialLoss):
    """Your losses in minidl. Nothing is to be written from here on.

    Parameters
    ----------
    generator
        What the generator minimises.
    """

    def __init__(self, generator: Callable[[np.ndarray], Found]) -> None:
        self._generator = generator

    def real(self, z: nn.Array) -> Found:
        return real(z)

    def fake(self, z: nn.Array) -> Found:
        return fake(z)

    def generator(self, z: nn.Array) -> Found:
        return self._generator(z)


class MyTurns(Adversarial):
    """minidl's adversarial task, with your schedule."""

    def phases(self, step: int) -> tuple[Phase, ...]:
        updates = {"discriminator": step, "generator": (step + 1) // self.period - 1}
        return tuple(Phase(str(path), updates[path]) for path in schedule(step, self.period))


CENTRES = 0.6 * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])


def mixture(count: int) -> data.Dataset:
    """Points of the plane, around four centres."""
    generator = rng.stream("mixture")
    which = generator.integers(0, len(CENTRES), count)
    return data.Dataset(CENTRES[which] + generator.normal(0, 0.05, (count, 2)), which)


def shares(points: np.ndarray) -> list[float]:
    """The part of the points that lies within four standard deviations of each centre."""
    far = np.linalg.norm(points[:, None] - CENTRES, axis=2)
    return [float(share) for share in (far < 0.2).mean(axis=0)]


def train(
    generator: Callable[[np.ndarray], Found], k: int, epochs: int = 60
) -> tuple[models.GAN, list[list[float]]]:
    """Learn the mixture; the network, and the `shares` of its samples after each 20 epochs."""
    model = models.mlp_gan((2,), latent=2, hidden=128)
    task = MyTurns(MyLoss(generator), discriminator_steps=k)
    trainer = Trainer(model, task, optim.Adam(2e-3, betas=(0.5, 0.999)), seed=0)
    found = []
    for _ in range(epochs // 20):
        trainer.fit(mixture(2048), epochs=20, batch_size=64, progress=False)
        found.append(shares(model.sample(1000)))
    return model, found


if __name__ == "__main__":
    print("samples near each of four centres, after 20, 40 and 60 epochs")
    for loss in (minimax, non_saturating):
        for k in (1, 3):
            _, found = train(loss, k)
            rows = ("  ".join(f"{share:4.0%}" for share in row) for row in found)
            print(f"{loss.__name__:14} k = {k}:   " + "   |   ".join(rows))
