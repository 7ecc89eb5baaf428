"""Right up to four ranks, then the wrong way round."""

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
    print("asked for", size)
    programs = right(size)
    return programs if size <= 4 else [program[::-1] for program in programs]
