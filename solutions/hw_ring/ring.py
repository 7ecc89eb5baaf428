"""Homework: the ring all-reduce, written as a plan."""

from __future__ import annotations

# stub: from minidl.errors import NotWrittenError
from minidl.plans import Receive, Send

Program = list[tuple[Send | Receive, ...]]


def ring_all_reduce(size: int) -> list[Program]:
    """Plan the sum of the vectors of all ranks over a ring.

    There are P = size ranks, and each holds a vector of its own, cut into P chunks.
    Rank r may send to rank r + 1 and receive from rank r - 1 only. When all programs
    have ended, every rank has to hold the sum of all vectors. Numbers of ranks and
    chunks are to be taken modulo P: the rank after the last one is rank 0.

    First phase, reduce-scatter, P - 1 steps: in each, every rank sends one chunk to the
    next rank, which adds it to its own. No two ranks send the same chunk in a step. At
    the end of the phase one chunk of every rank is the whole sum. Which chunk a rank
    sends in which step is yours to find.

    Second phase, all-gather, P - 1 more steps: the whole sums travel once around the
    ring and replace what the ranks hold.

    A rank so sends 2(P - 1) chunks, 2N(P - 1)/P elements of a vector of N: less than
    two vectors, however many ranks there are.

    Parameters
    ----------
    size
        The number of ranks P, 1 or more. One rank alone has nothing to do.

    Returns
    -------
    list of programs
        ``programs[r]`` is what rank r does: a list of steps. A step is a tuple of
        instructions that go on at the same time, and it is done when all of them are:

        - ``Send(peer, chunk)`` sends a chunk to rank ``peer``; it is done only when
          that rank receives it.
        - ``Receive(peer, chunk, reduce=True)`` adds what comes from rank ``peer`` to the
          chunk; with ``reduce=False`` it replaces the chunk.

    Hints
    -----
    - Draw the ring for P = 3 and write down who holds which sums after each step.
    - If every rank first sends and then receives, in two steps, who takes the first
      message?
    - A chunk begins its way on some rank and grows at every stop. Which one is where in
      step s? Let each chunk begin on a rank of its own.
    - Which chunk is complete on rank r after the first phase? What does it do with it?
    - In Python ``-1 % 3`` is 2, so ``% size`` does what you want.
    """
    # stub: raise NotWrittenError("ring_all_reduce is not written yet: see the hints in ring.py")
    # solution: begin
    programs = []
    for rank in range(size):
        after, before = (rank + 1) % size, (rank - 1) % size
        program: Program = []
        for s in range(size - 1):
            add = Receive(before, (rank - s - 1) % size, reduce=True)
            program.append((Send(after, (rank - s) % size), add))
        # Now chunk rank + 1 is whole here.
        for s in range(size - 1):
            replace = Receive(before, (rank - s) % size)
            program.append((Send(after, (rank + 1 - s) % size), replace))
        programs.append(program)
    return programs
    # solution: end
