"""The receiver is off by one: it names another chunk than the one that is sent."""

from minidl.plans import Receive, Send


def ring_all_reduce(size):
    programs = []
    for rank in range(size):
        after, before = (rank + 1) % size, (rank - 1) % size
        first = [
            (Send(after, (rank - s) % size), Receive(before, (rank - s + 1) % size, reduce=True))
            for s in range(size - 1)
        ]
        second = [
            (Send(after, (rank + 1 - s) % size), Receive(before, (rank - s) % size))
            for s in range(size - 1)
        ]
        programs.append(first + second)
    return programs
