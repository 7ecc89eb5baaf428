"""Second phase off by one: passes on chunks that are not whole yet. Sender and receiver agree."""

from minidl.plans import Receive, Send


def ring_all_reduce(size):
    programs = []
    for rank in range(size):
        after, before = (rank + 1) % size, (rank - 1) % size
        program = []
        for s in range(size - 1):
            add = Receive(before, (rank - s - 1) % size, reduce=True)
            program.append((Send(after, (rank - s) % size), add))
        for s in range(size - 1):
            replace = Receive(before, (rank - s - 1) % size)
            program.append((Send(after, (rank - s) % size), replace))
        programs.append(program)
    return programs
