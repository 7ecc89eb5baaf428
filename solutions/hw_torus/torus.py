"""Homework: the two-dimensional torus all-reduce, written as a plan."""

from __future__ import annotations

# stub: from minidl.errors import NotWrittenError
from minidl.plans import Receive, Send

Program = list[tuple[Send | Receive, ...]]


def torus_all_reduce(rows: int, columns: int) -> list[Program]:
    """Plan the sum of the vectors of all ranks over a torus.

    There are P = XY ranks in X rows and Y columns. Rank r stands in row r // Y and
    column r % Y. It may send to the rank after it in its row and to the rank after it
    in its column, and receive from the ranks before it. After the last one of a row or
    column comes its first one. Each rank holds a vector of its own, cut into P chunks;
    when all programs have ended, every rank has to hold the sum of all vectors.

    First phase, reduce-scatter along the rows: cut the vector into Y parts of X chunks.
    In Y - 1 steps every row's ring sums up these parts, so that in the end the rank in
    column y holds the sum over its row of part y (or of another one: that is yours to
    choose, if only it is the same in all rows).

    Second phase, all-reduce along the columns: all ranks of a column hold the same part,
    X chunks of it. In 2(X - 1) steps the column's ring sums it up over all rows.

    Third phase, all-gather along the rows: in Y - 1 steps the finished parts travel once
    around each row.

    A rank so sends 2N(P - 1)/P elements of a vector of N, as on a single ring, but in
    2(X - 1) + 2(Y - 1) steps instead of 2(P - 1).

    Parameters
    ----------
    rows, columns
        X and Y, 1 or more each. One rank alone has nothing to do.

    Returns
    -------
    list of programs
        ``programs[r]`` is what rank r does: a list of steps. A step is a tuple of
        instructions that go on at the same time, and it is done when all of them are:

        - ``Send(peer, chunk)`` sends a chunk to rank ``peer``; it is done only when
          that rank receives it.
        - ``Receive(peer, chunk, reduce=True)`` adds what comes from rank ``peer`` to the
          chunk; with ``reduce=False`` it replaces the chunk.

        A part of several chunks takes as many Sends, in one step, and as many Receives,
        in the same order.

    Hints
    -----
    - Draw the torus for X = 2 and Y = 3. Which chunks are whose after the first phase?
    - All four halves (two reduce-scatters, two all-gathers) are the same few lines: a ring
      of n ranks, its n parts, and my place in it. Write these as a function of their own.
    - For X = 1 or Y = 1 the torus is a ring: try these first.
    """
    # stub: raise NotWrittenError("torus_all_reduce is not written yet: see hints in torus.py")
    # solution: begin
    programs = []
    parts = [list(range(part * rows, (part + 1) * rows)) for part in range(columns)]
    for rank in range(rows * columns):
        row, column = divmod(rank, columns)
        own_row = [row * columns + y for y in range(columns)]
        own_column = [x * columns + column for x in range(rows)]
        chunks = [[chunk] for chunk in parts[column]]
        programs.append(
            around(own_row, column, parts, reduce=True)
            + around(own_column, row, chunks, reduce=True)
            + around(own_column, row, chunks, reduce=False)
            + around(own_row, column, parts, reduce=False)
        )
    return programs


def around(ring: list[int], place: int, parts: list[list[int]], *, reduce: bool) -> Program:
    """What the rank at this place of a ring does in a reduce-scatter or an all-gather.

    The one ends, and the other begins, with part i finished at place i.
    """
    n = len(ring)
    after, before = ring[(place + 1) % n], ring[place - 1]
    first = place - 1 if reduce else place
    program: Program = []
    for s in range(n - 1):
        sends = [Send(after, chunk) for chunk in parts[(first - s) % n]]
        receives = [Receive(before, chunk, reduce) for chunk in parts[(first - s - 1) % n]]
        program.append((*sends, *receives))
    return program
    # solution: end
