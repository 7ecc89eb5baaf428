"""All ranks in one process, one at a time, in an order that can be repeated or varied.

The same programs run here as in processes of their own. With no buffering, a
send is done only when its receive is, so a program that gets through here is
free of deadlock however small the real buffers are.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from minidl.errors import DeadlockError, InputError, PlanError
from minidl.runtime.base import MakeProgram, Outcome, Traffic
from minidl.runtime.messages import (
    Fingerprint,
    check_array,
    check_channel,
    check_overlaps,
    mismatch,
    never_received,
)
from minidl.runtime.programs import (
    Failure,
    check_channels,
    make_program,
    pack,
    pack_small,
    rank_names,
    unpack,
)
from minidl.runtime.requests import (
    Exchange,
    Incoming,
    Outgoing,
    RankContext,
    RankProgram,
    ReceiveAny,
    Report,
    Request,
)
from minidl.runtime.trace import Trace


class Virtual:
    """The runtime for tests: deterministic, and deadlocks are found at once.

    Parameters
    ----------
    buffering
        ``"none"``: a send waits for its receive. ``"unlimited"``: a send never waits.
    seed
        None lets ranks take turns; an integer draws whose turn it is.
    """

    def __init__(
        self, buffering: Literal["none", "unlimited"] = "none", seed: int | None = None
    ) -> None:
        if buffering not in ("none", "unlimited"):
            raise InputError(f"buffering is 'none' or 'unlimited', not {buffering!r}")
        self.buffering = buffering
        self.seed = seed

    @contextmanager
    def share(self, arrays: Mapping[str, np.ndarray]) -> Iterator[Mapping[str, np.ndarray]]:
        """Copies of these arrays; see `Runtime.share`."""
        yield {name: np.array(array) for name, array in arrays.items()}

    def launch(
        self,
        programs: Sequence[MakeProgram],
        *,
        shared: Mapping[str, np.ndarray],
        channels: Sequence[tuple[int, int]],
        listen: Callable[[int, Any], None],
        names: Sequence[str] | None = None,
    ) -> Outcome:
        """Run ``programs[rank]`` on each rank until all have returned; see `Runtime.launch`.

        Raises
        ------
        DeadlockError
            If no rank can go on; the message says who waits for whom.
        MessageMismatchError
            If a message is not the one its receiver expects, or is never received.
        MinidlError
            If a rank raised one: the same class, with the rank named.
        WorkerError
            If a rank raised any other exception; the message holds its traceback.
        """
        size = len(programs)
        names = rank_names(names, size)
        packed = [pack(p, f"the program of {n}") for p, n in zip(programs, names, strict=True)]
        ranks = [
            _Rank(name, RankContext(rank, size, shared), program)
            for rank, (name, program) in enumerate(zip(names, packed, strict=True))
        ]
        try:
            _Run(self, ranks, check_channels(channels, size), listen).run()
        finally:
            for rank in ranks:
                if rank.generator is not None:
                    rank.generator.close()
        return Outcome(
            tuple(rank.result for rank in ranks),
            tuple(rank.traffic for rank in ranks),
            Trace(tuple(rank.context.trace.spans() for rank in ranks), names),
        )


@dataclass(eq=False)
class _Rank:
    """A rank, the request it waits for, and the answer it is to be resumed with."""

    name: str
    context: RankContext
    packed: bytes
    generator: RankProgram | None = None
    waiting: list[_Transfer] = field(default_factory=list)
    choosing: ReceiveAny | None = None
    answer: Any = None
    result: Any = None
    finished: bool = False
    asked: float = 0.0
    traffic: dict[str, Traffic] = field(default_factory=dict)


@dataclass(eq=False)
class _Transfer:
    """One half of a message: what its rank asked for, and how far it has come."""

    rank: int
    wish: Outgoing | Incoming
    fingerprint: Fingerprint
    turn: int
    done: bool = False
    value: np.ndarray | None = None


@dataclass(eq=False)
class _Channel:
    """The halves of messages from one rank to another that have found no partner yet."""

    sends: deque[_Transfer] = field(default_factory=deque)
    receives: deque[_Transfer] = field(default_factory=deque)
    sent: int = 0
    received: int = 0


class _Run:
    """One launch: resumes ranks in turn and joins sends with receives."""

    def __init__(
        self,
        runtime: Virtual,
        ranks: list[_Rank],
        channels: tuple[tuple[int, int], ...],
        listen: Callable[[int, Any], None],
    ) -> None:
        self.unlimited = runtime.buffering == "unlimited"
        self.random = None if runtime.seed is None else random.Random(runtime.seed)
        self.ranks = ranks
        self.channels = {pair: _Channel() for pair in channels}
        self.listen = listen
        self.ready = list(range(len(ranks)))
        self.turn = 0

    def run(self) -> None:
        """Until every rank has returned."""
        while self.ready:
            self.turn += 1
            place = 0 if self.random is None else self.random.randrange(len(self.ready))
            self._resume(self.ready.pop(place))
        if not all(rank.finished for rank in self.ranks):
            raise DeadlockError(f"no rank can go on: {self._waits()}")
        for (sender, receiver), channel in self.channels.items():
            if channel.sends:
                raise never_received(sender, receiver, channel.sent, channel.received)

    def _resume(self, number: int) -> None:
        rank = self.ranks[number]
        try:
            if rank.generator is None:
                rank.generator = make_program(rank.packed, rank.context)
                request = next(rank.generator)
            else:
                request = rank.generator.send(rank.answer)
            self._check(number, request)
        except StopIteration as stop:
            rank.finished = True
            rank.result = unpack(pack(stop.value, f"the result of {rank.name}"))
            return
        except (Exception, SystemExit) as error:
            raise Failure.of(error).error(rank.name) from error
        rank.answer = None
        rank.asked = rank.context.trace.clock()
        self._post(number, request)

    def _check(self, number: int, request: Request) -> None:
        """Raise InputError or PlanError if the request cannot be carried out."""
        match request:
            case Report():
                pass
            case Exchange(transfers):
                for wish in transfers:
                    check_array(wish.array, receives=isinstance(wish, Incoming))
                    check_channel(*_pair(number, wish), self.channels)
                check_overlaps(transfers)
            case ReceiveAny(arrays):
                if not arrays:
                    raise PlanError("ReceiveAny was given no peer to receive from")
                for peer, array in arrays.items():
                    check_array(array, receives=True)
                    check_channel(peer, number, self.channels)
            case _:
                raise PlanError(
                    "a rank's program yields Exchange, ReceiveAny or Report, "
                    f"not {type(request).__name__}"
                )

    def _post(self, number: int, request: Request) -> None:
        rank = self.ranks[number]
        match request:
            case Report(event):
                self.ready.append(number)
                self.listen(number, unpack(pack_small(event, f"an event of {rank.name}")))
            case Exchange(transfers):
                rank.waiting = [self._enter(number, wish) for wish in transfers]
                for wish in transfers:
                    self._join(*_pair(number, wish))
                self._finish_exchange(number)
            case ReceiveAny():
                rank.choosing = request
                self._choose(number)

    def _enter(self, number: int, wish: Outgoing | Incoming) -> _Transfer:
        channel = self.channels[_pair(number, wish)]
        if isinstance(wish, Incoming):
            mark = Fingerprint.of(channel.received, wish.operation, wish.array)
            transfer = _Transfer(number, wish, mark, self.turn)
            channel.received += 1
            channel.receives.append(transfer)
            return transfer
        mark = Fingerprint.of(channel.sent, wish.operation, wish.array)
        transfer = _Transfer(number, wish, mark, self.turn)
        channel.sent += 1
        channel.sends.append(transfer)
        traffic = self.ranks[number].traffic
        before = traffic.get(wish.operation, Traffic())
        traffic[wish.operation] = Traffic(before.bytes + wish.array.nbytes, before.messages + 1)
        if self.unlimited:
            transfer.value = wish.array.copy()
            transfer.done = True
        return transfer

    def _join(self, sender: int, receiver: int) -> None:
        """Give waiting receives their messages."""
        channel = self.channels[sender, receiver]
        while channel.sends and channel.receives:
            receive = channel.receives.popleft()
            receive.value = self._take(sender, receiver, receive.fingerprint)
            receive.done = True
            self._finish_exchange(receiver)
        self._choose(receiver)

    def _take(self, sender: int, receiver: int, expected: Fingerprint) -> np.ndarray:
        send = self.channels[sender, receiver].sends.popleft()
        if send.fingerprint != expected:
            error = mismatch(receiver, expected, sender, send.fingerprint)
            raise Failure.of(error).error(self.ranks[receiver].name)
        value = send.wish.array.copy() if send.value is None else send.value
        send.done = True
        self._finish_exchange(sender)
        return value

    def _finish_exchange(self, number: int) -> None:
        """Resume a rank whose transfers are all done, storing what it received in their order."""
        rank = self.ranks[number]
        if rank.choosing is not None or number in self.ready or rank.finished:
            return
        if all(transfer.done for transfer in rank.waiting):
            for transfer in rank.waiting:
                if isinstance(transfer.wish, Incoming):
                    _store(transfer.wish, transfer.value)
            rank.waiting = []
            self._answer(number, None)

    def _choose(self, number: int) -> None:
        """Give a rank that takes any message the one that has waited longest."""
        rank = self.ranks[number]
        if rank.choosing is None:
            return
        offers = [p for p in rank.choosing.arrays if self.channels[p, number].sends]
        if not offers:
            return
        peer = min(offers, key=lambda p: self.channels[p, number].sends[0].turn)
        array = rank.choosing.arrays[peer]
        channel = self.channels[peer, number]
        expected = Fingerprint.of(channel.received, rank.choosing.operation, array)
        rank.choosing = None
        channel.received += 1
        array[...] = self._take(peer, number, expected)
        self._answer(number, peer)

    def _answer(self, number: int, answer: Any) -> None:
        rank = self.ranks[number]
        rank.answer = answer
        rank.context.trace.add("wait", rank.asked, rank.context.trace.clock())
        self.ready.append(number)

    def _waits(self) -> str:
        """Who waits for whom, in words."""
        lines = []
        for number, rank in enumerate(self.ranks):
            wants = [
                f"{'send' if isinstance(t.wish, Outgoing) else 'receive'} {t.fingerprint} "
                f"{'to' if isinstance(t.wish, Outgoing) else 'from'} {self._state(t.wish.peer)}"
                for t in rank.waiting
                if not t.done
            ]
            if rank.choosing is not None:
                peers = ", ".join(self._state(peer) for peer in rank.choosing.arrays)
                wants.append(f"receive {rank.choosing.operation!r} from any of {peers}")
            if wants:
                lines.append(f"{self._name(number)} waits to " + " and to ".join(wants))
        return "; ".join(lines)

    def _name(self, number: int) -> str:
        name = self.ranks[number].name
        return name if name == f"rank {number}" else f"rank {number} ({name})"

    def _state(self, number: int) -> str:
        finished = ", which has finished" if self.ranks[number].finished else ""
        return self._name(number) + finished


def _pair(number: int, wish: Outgoing | Incoming) -> tuple[int, int]:
    """The (sender, receiver) of a transfer that rank `number` asked for."""
    return (wish.peer, number) if isinstance(wish, Incoming) else (number, wish.peer)


def _store(wish: Incoming, value: np.ndarray | None) -> None:
    if wish.reduce:
        np.add(wish.array, value, out=wish.array)
    else:
        wish.array[...] = value
