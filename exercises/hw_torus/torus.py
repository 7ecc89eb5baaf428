"""Homework: the two-dimensional torus all-reduce, written as a plan."""

from __future__ import annotations

from minidl.errors import NotWrittenError
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
    raise NotWrittenError("torus_all_reduce is not written yet: see hints in torus.py")
