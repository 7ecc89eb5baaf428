"""What generator and discriminator minimise: three ways to play one game.

A discriminator gives one number z for each sample. Each loss here is a function of
z alone, given with its derivative.
"""

from __future__ import annotations

from minidl import kernels
from minidl.nn.activations import softplus
from minidl.nn.parameters import Array
from minidl.reprs import brief

Found = tuple[Array, Array]
"""The losses, of the shape of z, and their derivative by z."""


class AdversarialLoss:
    """The base of all adversarial losses."""

    __repr__ = brief

    def real(self, z: Array) -> Found:
        """What the discriminator minimises on samples of the data."""
        raise TypeError(f"{type(self).__name__} defines no real")

    def fake(self, z: Array) -> Found:
        """What the discriminator minimises on samples of the generator."""
        raise TypeError(f"{type(self).__name__} defines no fake")

    def generator(self, z: Array) -> Found:
        """What the generator minimises, on its own samples."""
        raise TypeError(f"{type(self).__name__} defines no generator")

    def belief(self, z: Array) -> Array:
        """How much the discriminator takes samples for data, from 0 to 1: D(x)."""
        return kernels.of(z).sigmoid(z)


class Minimax(AdversarialLoss):
    """The game as it was stated: one side's gain is the other's loss.

    The discriminator minimises ``-log D(x) - log(1 - D(G(z)))``, the generator
    ``log(1 - D(G(z)))``, whose gradient vanishes where D is sure that a sample is
    generated, as it soon is. D is the sigmoid of the discriminator's output.

    References
    ----------
    Goodfellow et al., "Generative adversarial nets", 2014.
    """

    def real(self, z: Array) -> Found:
        return softplus(-z), -self.belief(-z)

    def fake(self, z: Array) -> Found:
        return softplus(z), self.belief(z)

    def generator(self, z: Array) -> Found:
        loss, derivative = self.fake(z)
        return -loss, -derivative


class NonSaturating(Minimax):
    """As `Minimax`, but the generator minimises ``-log D(G(z))``.

    It has the same fixed point and a strong gradient where D is sure (Goodfellow et
    al. 2014, section 3).
    """

    def generator(self, z: Array) -> Found:
        return self.real(z)


class LeastSquares(AdversarialLoss):
    """Outputs are to be 1 for data and 0 for generated samples, by squared distance.

    The gradient does not vanish for samples that are taken for data but lie far from it.

    References
    ----------
    Mao et al., "Least squares generative adversarial networks", 2017.
    """

    def real(self, z: Array) -> Found:
        return (z - 1) ** 2 / 2, z - 1

    def fake(self, z: Array) -> Found:
        return z**2 / 2, z

    def generator(self, z: Array) -> Found:
        return self.real(z)

    def belief(self, z: Array) -> Array:
        return kernels.array_module(z).clip(z, 0, 1)
