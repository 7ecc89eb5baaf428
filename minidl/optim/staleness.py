"""Smaller steps for gradients that come late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minidl.checks import naming
from minidl.errors import InputError, unknown_name
from minidl.optim.optimizer import Wrapper

WAYS = ("gradient", "mean", "distance")


@dataclass(frozen=True)
class StalenessAware(Wrapper):
    """An update rule that trusts a gradient less, the more updates it has missed.

    A gradient computed from weights that have since been updated τ times is multiplied
    before the update:

    - by ``"gradient"``: by 1/max(1, τ), each for itself (Zhang et al. 2016);
    - by ``"mean"``: by one over the mean of all τ of the update, at least 1 (Gupta et al. 2016);
    - by ``"distance"``: by min(1, `constant` / d²), where d is how far the weights have moved
      since (Dutta et al. 2018).

    As any learning rate that depends on the step, the rule's own schedule is kept.

    Parameters
    ----------
    optimizer
        The rule.
    by
        One of the three.
    constant
        For ``"distance"``, greater than 0.

    Raises
    ------
    InputError
        If a setting is not one of those allowed.

    References
    ----------
    Zhang, Gupta, Lian and Liu, "Staleness-aware async-SGD for distributed deep learning",
    arXiv 1511.05950. Gupta, Zhang and Wang, "Model accuracy and runtime tradeoff in
    distributed deep learning", arXiv 1509.04210. Dutta et al., "Slow and stale gradients
    can win the race", arXiv 1803.01113.
    """

    by: str = "gradient"
    constant: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.by, str) or self.by not in WAYS:
            with naming("StalenessAware: by"):
                raise unknown_name("way to be aware of staleness", self.by, WAYS)
        if (self.constant is None) != (self.by != "distance"):
            raise InputError(
                "StalenessAware: a constant belongs to by='distance' and to nothing else, "
                f"not by={self.by!r}, constant={self.constant}"
            )
        if self.constant is not None:
            self.require("constant", 0, strict=True)

    @property
    def needs_distance(self) -> bool:
        return self.constant is not None

    def weights(self, staleness: Sequence[int], distances: Sequence[float]) -> tuple[float, ...]:
        if self.constant is not None:
            return tuple(
                1.0 if d * d <= self.constant else self.constant / (d * d) for d in distances
            )
        if self.by == "gradient":
            return tuple(1 / max(1, missed) for missed in staleness)
        mean = sum(staleness) / max(1, len(staleness))
        return (1 / max(1.0, mean),) * len(staleness)
