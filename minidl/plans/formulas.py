"""What plans cost, as the textbooks' formulas; the tests hold the plans to them.

P is the number of ranks, N the size of the vector (in elements or bytes), p the
number of pipeline stages and m that of micro-batches.
"""

from __future__ import annotations

from collections.abc import Sequence


def ring_bytes(size: int, length: float) -> float:
    """What each rank sends in a ring all-reduce: 2N(P - 1)/P.

    The least possible for any all-reduce: Patarasuk and Yuan, J. Parallel Distrib.
    Comput. 69 (2009). Where P does not divide N, a rank's share differs
    from this mean by less than two elements; `minidl.plans.check.bytes_sent` is exact.

    Parameters
    ----------
    size
        P, the number of ranks.
    length
        N, in the unit in which the answer is wanted.
    """
    return 2 * length * (size - 1) / size


def server_bytes(size: int, length: float) -> float:
    """What passes through the server in a central reduce: 2N(P - 1), in and out together.

    It grows with the number of ranks, where the ring's share stays below 2N.

    Parameters
    ----------
    size
        P, the server included.
    length
        N, in the unit in which the answer is wanted.
    """
    return 2 * length * (size - 1)


def ring_steps(size: int) -> int:
    """Steps of a ring all-reduce: 2(P - 1), half reduce-scatter and half all-gather.

    Patarasuk and Yuan (2009).
    """
    return 2 * (size - 1)


def server_steps(size: int) -> int:
    """Rounds of a central reduce: P - 1 vectors arrive one by one, one answer to all."""
    return size if size > 1 else 0


def gpipe_bubble(stages: int, micro_batches: int) -> float:
    """The idle fraction of the stages' time in GPipe: (p - 1)/(m + p - 1).

    For stages that take equally long. Huang et al., arXiv 1811.06965, section 2.3.
    """
    return (stages - 1) / (micro_batches + stages - 1)


def sequential_bubble(stages: int) -> float:
    """The idle fraction where one stage works at a time: (p - 1)/p."""
    return (stages - 1) / stages


def gpipe_makespan(
    forward: Sequence[float], backward: Sequence[float], micro_batches: int
) -> float:
    """How long one batch takes in GPipe, messages taking no time.

    Each micro-batch passes all stages, and each further one comes out after the
    slowest stage has worked on it: sum f + (m - 1) max f, then the same backward.
    With equal stages this is (m + p - 1)(f + b).

    Parameters
    ----------
    forward
        Each stage's time for the forward pass of one micro-batch.
    backward
        Each stage's time for the backward pass of one micro-batch.
    micro_batches
        m, of each batch.
    """
    waves = micro_batches - 1
    return sum(forward) + waves * max(forward) + sum(backward) + waves * max(backward)


def sequential_makespan(
    forward: Sequence[float], backward: Sequence[float], micro_batches: int
) -> float:
    """How long one batch takes where one stage works at a time: m(sum f + sum b).

    Parameters
    ----------
    forward
        Each stage's time for the forward pass of one micro-batch.
    backward
        Each stage's time for the backward pass of one micro-batch.
    micro_batches
        m, of each batch.
    """
    return micro_batches * (sum(forward) + sum(backward))


def gpipe_in_flight(stages: int, micro_batches: int) -> tuple[int, ...]:
    """How many micro-batches' activations each stage keeps at most in GPipe: all m.

    Huang et al., arXiv 1811.06965, section 2.3.
    """
    return (micro_batches,) * stages


def sequential_in_flight(stages: int) -> tuple[int, ...]:
    """How many micro-batches' activations each stage keeps where one goes at a time: 1."""
    return (1,) * stages
