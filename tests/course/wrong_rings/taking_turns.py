"""Even ranks send first and odd ones receive first: right, but it takes twice the steps."""

from minidl.plans import Receive, Send


def right(size):
    """A ring as it should be."""
    return [
        [
            (
                Send((rank + 1) % size, (rank - s) % size),
                Receive((rank - 1) % size, (rank - s - 1) % size, reduce=s < size - 1),
            )
            for s in range(2 * (size - 1))
        ]
        for rank in range(size)
    ]


def ring_all_reduce(size):
    programs = []
    for rank, program in enumerate(right(size)):
        order = slice(None) if rank % 2 == 0 else slice(None, None, -1)
        programs.append([(half,) for step in program for half in step[order]])
    return programs
