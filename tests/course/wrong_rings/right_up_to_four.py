"""Right up to four ranks, then the wrong way round."""

from minidl import plans


def ring_all_reduce(size):
    print("asked for", size)
    programs = plans.ring_all_reduce(size).programs
    return programs if size <= 4 else [program[::-1] for program in programs]
