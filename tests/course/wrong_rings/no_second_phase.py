"""Only the reduce-scatter: every sum is on one rank and stays there."""

from minidl.plans import Receive, Send


def ring_all_reduce(size):
    return [
        [
            (
                Send((rank + 1) % size, (rank - s) % size),
                Receive((rank - 1) % size, (rank - s - 1) % size, reduce=True),
            )
            for s in range(size - 1)
        ]
        for rank in range(size)
    ]
