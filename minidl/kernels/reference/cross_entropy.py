"""Softmax and cross entropy in one."""

from __future__ import annotations

from minidl.kernels import Array, array_module


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """Cross entropy between the softmax of each row and its label.

    Parameters
    ----------
    logits
        (M, C).
    labels
        (M,), whole numbers from 0 to C - 1.
    smoothing
        The part of the label's weight that is spread evenly over all classes.

    Returns
    -------
    losses : (M,)
    probabilities : (M, C)

    References
    ----------
    Szegedy et al., "Rethinking the Inception architecture", 2016, for the smoothing.
    """
    xp = array_module(logits)
    z = logits - logits.max(axis=1, keepdims=True)
    logs = z - xp.log(xp.exp(z).sum(axis=1, keepdims=True))
    wanted = _targets(logits, labels, smoothing)
    # A class that is not wanted may have a logit of -inf: 0 times its logarithm counts as 0.
    losses = -(wanted * xp.where(wanted > 0, logs, 0)).sum(axis=1)
    return losses, xp.exp(logs)


def softmax_cross_entropy_gradient(
    dlosses: Array, probabilities: Array, labels: Array, smoothing: float
) -> Array:
    """The gradient of `softmax_cross_entropy` by the logits: what is predicted, less what is."""
    return dlosses[:, None] * (probabilities - _targets(probabilities, labels, smoothing))


def _targets(like: Array, labels: Array, smoothing: float) -> Array:
    """The distributions that `labels` stand for, (M, C)."""
    classes = like.shape[1]
    one_hot = labels[:, None] == array_module(like).arange(classes)
    return one_hot.astype(like.dtype) * (1 - smoothing) + smoothing / classes
