"""How good generated samples are, by a classifier that has learnt real ones instead of by eye."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minidl.checks import whole
from minidl.data import Dataset
from minidl.data.conversion import as_array
from minidl.errors import InputError, ShapeError
from minidl.nn import EVALUATE, Sequential, Softmax
from minidl.reprs import brief
from minidl.train.metrics import top_k_accuracy

SURE = 0.9
"""The probability from which on a classifier is called sure."""


@dataclass(frozen=True)
class SampleQuality:
    """Figures of a set of samples; see `Judge`.

    Parameters
    ----------
    confidence
        The mean probability of the most probable class.
    sure
        The share of samples that the classifier is sure of, by more than `SURE`.
    coverage
        In how many classes the samples fall, see `coverage`.
    distance
        From real samples, see `frechet_distance`.
    """

    confidence: float
    sure: float
    coverage: float
    distance: float

    def __str__(self) -> str:
        return f"sure of {self.sure:.1%}, {self.coverage:.2f} classes, distance {self.distance:.1f}"


class Judge:
    """Judges samples by a classifier that was trained on real ones.

    Good samples look like something (the classifier is `sure` of them), like everything
    there is (`coverage`), and in the same proportions and variety as the real ones (a small
    `distance`). Each alone can be deceived: by a single perfect image, or by noise.

    Parameters
    ----------
    classifier
        Gives logits (N, C). What comes into its last layer are its features.
    real
        Labelled real samples that it has not learnt, to measure distances from.
    others
        As many further real samples.

    Attributes
    ----------
    accuracy
        How often the classifier is right about `real`.
    best
        The figures of `others`, which generated samples may come up to.

    References
    ----------
    Salimans et al., "Improved techniques for training GANs", 2016, for the classifier as a
    judge; Heusel et al., "GANs trained by a two time-scale update rule converge to a local
    Nash equilibrium", 2017, for the distance.
    """

    __repr__ = brief

    def __init__(self, classifier: Sequential, real: Dataset, others: Dataset) -> None:
        if not isinstance(classifier, Sequential) or len(classifier) < 2:
            raise InputError(
                "a judge needs a Sequential whose last layer takes features and gives logits, "
                f"not {classifier!r}"
            )
        self._body, self._head = classifier[:-1], classifier[-1]
        x, labels = real.batch(slice(None))
        self._real, probabilities = self._judged(x)
        self.accuracy = top_k_accuracy(probabilities, labels, 1)
        self.best = self(others.batch(slice(None))[0])

    def __call__(self, samples: np.ndarray) -> SampleQuality:
        """The figures of samples (N, ...), best as many as there were real ones."""
        features, probabilities = self._judged(samples)
        most = probabilities.max(axis=-1)
        return SampleQuality(
            float(most.mean()),
            float((most > SURE).mean()),
            coverage(probabilities.argmax(axis=-1), probabilities.shape[-1]),
            frechet_distance(features, self._real),
        )

    def __len__(self) -> int:
        """How many real samples it compares with."""
        return len(self._real)

    def _judged(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features and probabilities."""
        parts = [self._body.forward(part, EVALUATE)[0] for part in _parts(samples)]
        features = np.concatenate(parts).reshape(len(samples), -1)
        logits = np.concatenate([self._head.forward(part, EVALUATE)[0] for part in parts])
        return features, Softmax().forward(logits, EVALUATE)[0]


def coverage(classes: np.ndarray, known: int) -> float:
    """How many classes the samples fall into, from 1 to all of them.

    It is the exponential of the entropy of their distribution: n if they are shared
    evenly by n classes, less if some have few.

    Parameters
    ----------
    classes
        Each sample's class, whole numbers (N,) from 0 to ``known - 1``.
    known
        How many classes there are.

    Raises
    ------
    InputError
        If there is no sample, or a number is no class.
    """
    whole("coverage: known", known)
    classes = as_array("coverage: classes", classes)
    if not classes.size or classes.dtype.kind not in "iu":
        raise InputError(
            "coverage: classes must be at least one whole number, "
            f"not {classes.size} of {classes.dtype}"
        )
    if not 0 <= classes.min() <= classes.max() < known:
        raise InputError(
            f"classes must be from 0 to {known - 1}; they run from {classes.min()} to "
            f"{classes.max()}"
        )
    counts = np.bincount(classes.reshape(-1), minlength=known)
    shares = counts[counts > 0] / classes.size
    return float(np.exp(-(shares * np.log(shares)).sum()))


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The squared distance between two normal distributions with these samples' moments.

    ``‖μ₁ - μ₂‖² + tr(C₁ + C₂ - 2 (C₁ C₂)^½)``, with means μ and covariances C: the least mean
    square way from one distribution to the other. On features of a classifier it is known as
    the Fréchet inception distance. Small sets are further apart than large ones of the same
    distributions: compare only sets of equal sizes.

    Parameters
    ----------
    one
        Features (N, D), of at least two samples.
    other
        Features (M, D), of at least two samples.

    Raises
    ------
    InputError
        If there are fewer.
    ShapeError
        If the shapes do not go together.

    References
    ----------
    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982;
    Heusel et al. 2017.
    """
    one, other = (_features(name, x) for name, x in (("one", one), ("other", other)))
    if one.shape[1] != other.shape[1]:
        raise ShapeError(
            f"frechet_distance: one and other must be of shapes (N, D) and (M, D), "
            f"not {one.shape} and {other.shape}"
        )
    (mean_1, cov_1), (mean_2, cov_2) = (
        (x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))) for x in (one, other)
    )
    # tr (C₁ C₂)^½ = tr (C₁^½ C₂ C₁^½)^½, and the latter product is symmetric.
    values, vectors = np.linalg.eigh(cov_1)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_2 @ root), 0)).sum()
    distance = ((mean_1 - mean_2) ** 2).sum() + np.trace(cov_1) + np.trace(cov_2) - 2 * shared
    return float(max(distance, 0.0))  # rounding makes it less than nothing


def _features(name: str, given: np.ndarray) -> np.ndarray:
    x = as_array(f"frechet_distance: {name}", given)
    if x.dtype.kind not in "iuf":
        raise InputError(f"frechet_distance: {name} must be numbers, not of type {x.dtype}")
    if x.ndim != 2:
        raise ShapeError(f"frechet_distance: {name} must be of shape (N, D), not {x.shape}")
    if len(x) < 2:
        raise InputError(
            f"frechet_distance: {name} must be at least 2 samples, not {len(x)}: "
            "a covariance needs them"
        )
    return x.astype(np.float64)


def _parts(samples: np.ndarray) -> list[np.ndarray]:
    """A few samples at a time, so that the insides of a network stay small."""
    if len(samples) < 2:
        raise InputError(f"at least 2 samples can be judged, not {len(samples)}")
    return [samples[start : start + 256] for start in range(0, len(samples), 256)]
