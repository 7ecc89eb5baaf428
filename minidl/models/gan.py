"""Generative adversarial networks: a generator of images and a discriminator that judges them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from minidl import kernels, nn, rng
from minidl.checks import counted, whole
from minidl.errors import InputError, ShapeError


class GAN(nn.Layer):
    """Two networks that learn from each other (Goodfellow et al. 2014).

    As a layer it is its discriminator: samples of the data go in, one number for each
    comes out. It is trained by `minidl.tasks.Adversarial`.

    Parameters
    ----------
    generator
        Takes noise (N, `latent`) and gives samples of the data's shape.
    discriminator
        Takes samples and gives (N, 1), more for what it takes for data.
    latent
        How many numbers of noise make a sample.
    """

    def __init__(self, generator: nn.Layer, discriminator: nn.Layer, latent: int = 64) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.latent = whole("GAN: latent", latent)

    def build(self, shape: nn.Shape) -> nn.Shape:
        made = self.generator.build((self.latent,))
        if made != shape:
            raise ShapeError(
                f"the generator makes samples of shape {made}, and the data's are of shape {shape}"
            )
        judged = self.discriminator.build(shape)
        if judged != (1,):
            raise ShapeError(
                f"a discriminator gives one number for each sample, of shape (1,), not {judged}"
            )
        return judged

    def forward(self, x: nn.Array, mode: nn.Mode) -> tuple[nn.Array, Any]:
        return self.discriminator.forward(x, mode)

    def backward(self, dy: nn.Array, saved: Any) -> nn.Array:
        return self.discriminator.backward(dy, saved)

    def noise(
        self, name: tuple[int | str, ...], first: int, count: int, like: nn.Array
    ) -> nn.Array:
        """Noise for samples ``first`` to ``first + count - 1``, whoever draws it.

        Parameters
        ----------
        name
            What it is for; see `minidl.rng`.
        first
            Position of the first sample in the global batch.
        count
            How many samples.
        like
            An array of the type wanted.
        """
        drawn = rng.per_sample_normal(name, first, count, self.latent).astype(like.dtype)
        return kernels.array_module(like).asarray(drawn)

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """Generated samples, of the data's shape; the same for the same seed."""
        if count < 1:
            raise InputError(f"at least 1 sample can be generated, not {count}")
        like = next(iter(self.parameters().values())).value
        parts = [
            self.generator.forward(
                self.noise((seed, "samples"), first, min(256, count - first), like), nn.EVALUATE
            )[0]
            for first in range(0, count, 256)
        ]
        return np.concatenate(parts)


@counted
def dcgan(latent: int = 64, width: int = 32) -> GAN:
    """A convolutional GAN for images of 28×28 with one channel, from -1 to 1.

    Strided convolutions instead of pooling, batch norm, leaky ReLU in the
    discriminator, weights drawn with a standard deviation of 0.02. The discriminator
    has no batch norm, so each of its samples is judged by itself.

    Parameters
    ----------
    latent
        How many numbers of noise make an image.
    width
        Channels of the larger inner images, 14×14; the smaller ones, 7×7, have twice as many.

    References
    ----------
    Radford, Metz and Chintala, "Unsupervised representation learning with deep
    convolutional generative adversarial networks", 2016.
    """
    drawn: dict[str, Any] = {"weight_init": nn.init.normal(0.02)}
    generator = nn.Sequential(
        nn.Linear(7 * 7 * 2 * width, bias=False, **drawn), nn.Reshape(7, 7, 2 * width),
        nn.BatchNorm(), nn.ReLU(),
        nn.ConvTranspose2d(width, 4, stride=2, padding=1, bias=False, **drawn),
        nn.BatchNorm(), nn.ReLU(),
        nn.ConvTranspose2d(1, 4, stride=2, padding=1, **drawn), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(width, 4, stride=2, padding=1, **drawn), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 4, stride=2, padding=1, **drawn), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(1, **drawn),
    )  # fmt: skip
    return GAN(generator, discriminator, latent)


@counted
def mlp_gan(shape: nn.Shape = (28, 28, 1), latent: int = 64, hidden: int = 256) -> GAN:
    """A GAN of fully connected layers, for samples of any shape with values from -1 to 1.

    Parameters
    ----------
    shape
        Of a sample.
    latent
        How many numbers of noise make a sample.
    hidden
        The size of the hidden layers, two in either network.
    """
    size = whole("mlp_gan: the product of shape", prod(shape))
    generator = nn.Sequential(
        nn.Linear(hidden), nn.ReLU(), nn.Linear(hidden), nn.ReLU(),
        nn.Linear(size, weight_init=nn.init.xavier_uniform), nn.Tanh(), nn.Reshape(*shape),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Flatten(), nn.Linear(hidden), nn.LeakyReLU(0.2), nn.Linear(hidden), nn.LeakyReLU(0.2),
        nn.Linear(1, weight_init=nn.init.xavier_uniform),
    )  # fmt: skip
    return GAN(generator, discriminator, latent)
