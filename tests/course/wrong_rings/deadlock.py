"""Every rank sends in one step and receives in the next: nobody takes the first message."""

from minidl.plans import Receive, Send


def ring_all_reduce(size):
    programs = []
    for rank in range(size):
        after, before = (rank + 1) % size, (rank - 1) % size
        program = []
        for s in range(size - 1):
            program.append(Send(after, (rank - s) % size))
            program.append(Receive(before, (rank - s - 1) % size, reduce=True))
        for s in range(size - 1):
            program.append(Send(after, (rank + 1 - s) % size))
            program.append(Receive(before, (rank - s) % size))
        programs.append(program)
    return programs
