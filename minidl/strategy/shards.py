"""Parameters on several servers: which server holds which, and which rank it is.

Each server has a run of neighbouring parameters, learnt ones and running means, of which
none is cut: what a parameter's own length decides (LARS) is then decided in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from minidl.errors import InputError
from minidl.nn import parts_of
from minidl.plans import balance


@dataclass(frozen=True)
class Shards:
    """Who is who among the ranks, and what each server holds.

    Server 0 is rank 0, learner i is rank i, counted from 1, and further servers follow.

    Parameters
    ----------
    names
        Of each server's parameters.
    learners
        How many there are.
    """

    names: tuple[tuple[str, ...], ...]
    learners: int

    @classmethod
    def of(cls, index: Mapping[str, slice], servers: int, learners: int) -> Shards:
        """Cut the parameters of an `index` (see `Job`) so that the largest shard is small.

        Raises
        ------
        InputError
            If there are more servers than parameters.
        """
        most = max(1, len(index))
        if servers > most:
            raise InputError(
                f"{servers} servers need as many parameters, and the model has {len(index)}: "
                f"choose between 1 and {most} servers"
            )
        names, sizes = list(index), [place.stop - place.start for place in index.values()]
        return cls(tuple(tuple(names[run]) for run in balance(sizes, servers)), learners)

    @property
    def servers(self) -> tuple[int, ...]:
        """Their ranks."""
        return (0, *range(1 + self.learners, self.learners + len(self.names)))

    @property
    def ranks(self) -> tuple[str, ...]:
        """What every rank is called."""
        servers = [f"server {number}" for number in range(len(self.names))]
        if len(servers) == 1:
            servers = ["server"]
        learners = (f"learner {number}" for number in range(1, 1 + self.learners))
        return (servers[0], *learners, *servers[1:])

    def parts(self, index: Mapping[str, slice], path: str) -> dict[int, slice]:
        """Where in what a phase exchanges each server's part lies, by the server's rank.

        Parameters
        ----------
        index
            Of all parameters.
        path
            The phase's; see `Replica.part`.
        """
        inside = parts_of(index, path)
        sizes = [
            sum(inside[name].stop - inside[name].start for name in names if name in inside)
            for names in self.names
        ]
        cuts = pairwise(accumulate(sizes, initial=0))
        return {rank: slice(*cut) for rank, cut in zip(self.servers, cuts, strict=True)}
