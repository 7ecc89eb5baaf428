"""The virtual runtime's scheduler: which rank goes on next, and which send meets which receive."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minidl.errors import DeadlockError, PlanError
from minidl.runtime.base import Traffic
from minidl.runtime.matching import Halves, Rank, Transfer
from minidl.runtime.messages import (
    Fingerprint,
    check_array,
    check_channel,
    check_overlaps,
    mismatch,
    never_received,
)
from minidl.runtime.programs import Failure, make_program, pack, pack_small, unpack
from minidl.runtime.requests import (
    Exchange,
    Incoming,
    Launch,
    Outgoing,
    RankProgram,
    ReceiveAny,
    Report,
    Request,
    Requests,
)
from minidl.runtime.trace import BESIDE, Recorder


class Schedule:
    """One launch: resumes ranks in turn and joins sends with receives.

    Parameters
    ----------
    ranks
        With their packed programs.
    channels
        See `Runtime.launch`.
    listen
        See `Runtime.launch`.
    unlimited
        Whether a send is done before its receive is asked for.
    seed
        None lets ranks take turns; an integer draws whose turn it is.

    Notes
    -----
    Whatever rank i launches is carried out by a rank of its own beside it, number
    ``size + i``, that begins anew whenever it had nothing to do.
    """

    def __init__(
        self,
        ranks: list[Rank],
        channels: tuple[tuple[int, int], ...],
        listen: Callable[[int, Any], None],
        *,
        unlimited: bool,
        seed: int | None,
    ) -> None:
        self.unlimited = unlimited
        self.random = None if seed is None else random.Random(seed)
        self.size = len(ranks)
        self.launched: list[deque[Requests]] = [deque() for _ in ranks]
        self.beside = [
            Rank(
                f"{rank.name}{BESIDE}", replace(rank.context, trace=Recorder()), b"", finished=True
            )
            for rank in ranks
        ]
        self.ranks = ranks + self.beside
        self.channels = {pair: Halves() for pair in channels}
        self.listen = listen
        self.ready = list(range(len(ranks)))
        self.asking: list[int] = []
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
            if rank.generator is None:  # which a rank's is that has never begun
                rank.generator = self._program(number)
                request = next(rank.generator)
            else:
                answer, rank.answer = rank.answer, None
                request = rank.generator.send(answer)
            self._check(number, request)
        except StopIteration as stop:
            rank.finished = True
            if number >= self.size:
                self._settled(number - self.size)
            else:
                rank.result = unpack(pack(stop.value, f"the result of {rank.name}"))
                self._let_go_on()
            return
        except (Exception, SystemExit) as error:
            raise Failure.of(error).error(rank.name) from error
        rank.asked = rank.context.trace.clock()
        self._post(number, request)

    def _program(self, number: int) -> RankProgram:
        """A rank's program, which ends when all that it launched has come to its end."""
        rank = self.ranks[number]
        result = yield from make_program(rank.packed, rank.context)
        if not self.beside[number].finished:
            yield Exchange(())
        return result

    def _check(self, number: int, request: Request) -> None:
        """Raise InputError or PlanError if the request cannot be carried out."""
        match request:
            case Report() | Launch() if number < self.size:
                pass
            case Exchange(transfers):
                for wish in transfers:
                    check_array(wish.array, receives=isinstance(wish, Incoming))
                    check_channel(*self._pair(number, wish), self.channels)
                check_overlaps(transfers)
            case ReceiveAny(arrays):
                if not arrays:
                    raise PlanError("ReceiveAny was given no peer to receive from")
                for peer, array in arrays.items():
                    check_array(array, receives=True)
                    check_channel(peer, number % self.size, self.channels)
            case _:
                raise PlanError(
                    "a rank's program yields Exchange, ReceiveAny, Report or Launch, and what it "
                    f"launches the first two, not {type(request).__name__}"
                )

    def _post(self, number: int, request: Request) -> None:
        rank = self.ranks[number]
        beside = self.beside[number % self.size]
        match request:
            case Launch(requests):
                self.launched[number].append(requests)
                if beside.finished:
                    beside.finished = False
                    beside.generator = _in_turn(self.launched[number])
                    beside.context.trace.step = rank.context.trace.step
                    self.ready.append(self.size + number)
                self.ready.append(number)
            case _ if rank is not beside and not beside.finished and not _passes(request):
                rank.held = request
            case Report(event, heard, alone):
                self.listen(number, unpack(pack_small(event, f"an event of {rank.name}")))
                if heard and not alone:
                    self.asking.append(number)
                    self._let_go_on()
                else:
                    self.ready.append(number)
            case Exchange(transfers):
                rank.waiting = [self._enter(number, wish) for wish in transfers]
                for wish in transfers:
                    self._join(*self._pair(number, wish))
                self._finish_exchange(number)
            case ReceiveAny():
                rank.choosing = request
                self._choose(number)

    def _settled(self, number: int) -> None:
        """All that a rank launched is done: go on with what it asked for meanwhile."""
        rank = self.ranks[number]
        request, rank.held = rank.held, None
        if request is not None:
            self._post(number, request)

    def _pair(self, number: int, wish: Outgoing | Incoming) -> tuple[int, int]:
        """The (sender, receiver) of a transfer that rank `number` asked for."""
        owner = number % self.size
        return (wish.peer, owner) if isinstance(wish, Incoming) else (owner, wish.peer)

    def _let_go_on(self) -> None:
        """Resume the ranks that wait to be heard, once all that still run do."""
        finished = sum(rank.finished for rank in self.ranks[: self.size])
        if len(self.asking) + finished == self.size:
            while self.asking:
                self._answer(self.asking.pop(0), None)

    def _enter(self, number: int, wish: Outgoing | Incoming) -> Transfer:
        channel = self.channels[self._pair(number, wish)]
        if isinstance(wish, Incoming):
            mark = Fingerprint.of(channel.received, wish.operation, wish.array)
            transfer = Transfer(number, wish, mark, self.turn)
            channel.received += 1
            channel.receives.append(transfer)
            return transfer
        mark = Fingerprint.of(channel.sent, wish.operation, wish.array)
        transfer = Transfer(number, wish, mark, self.turn)
        channel.sent += 1
        channel.sends.append(transfer)
        traffic = self.ranks[number % self.size].traffic
        before = traffic.get(wish.counted_as, Traffic())
        traffic[wish.counted_as] = Traffic(before.bytes + wish.array.nbytes, before.messages + 1)
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
            self._finish_exchange(receive.rank)
        self._choose(receiver)
        self._choose(self.size + receiver)

    def _take(self, sender: int, receiver: int, expected: Fingerprint) -> np.ndarray:
        send = self.channels[sender, receiver].sends.popleft()
        if send.fingerprint != expected:
            error = mismatch(receiver, expected, sender, send.fingerprint)
            raise Failure.of(error).error(self.ranks[receiver].name)
        value = send.wish.array.copy() if send.value is None else send.value
        send.done = True
        self._finish_exchange(send.rank)
        return value

    def _finish_exchange(self, number: int) -> None:
        """Resume a rank whose transfers are all done, storing what it received in their order."""
        rank = self.ranks[number]
        elsewhere = rank.choosing is not None or number in self.ready or number in self.asking
        if elsewhere or rank.finished or rank.held is not None:
            return
        if all(transfer.done for transfer in rank.waiting):
            for transfer in rank.waiting:
                transfer.store()
            rank.waiting = []
            self._answer(number, None)

    def _choose(self, number: int) -> None:
        """Give a rank that takes any message the one that has waited longest."""
        rank = self.ranks[number]
        if rank.choosing is None:
            return
        owner = number % self.size
        offers = [p for p in rank.choosing.arrays if self.channels[p, owner].sends]
        if not offers:
            return
        peer = min(offers, key=lambda p: self.channels[p, owner].sends[0].turn)
        array = rank.choosing.arrays[peer]
        channel = self.channels[peer, owner]
        expected = Fingerprint.of(channel.received, rank.choosing.operation, array)
        rank.choosing = None
        channel.received += 1
        array[...] = self._take(peer, owner, expected)
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
            if number in self.asking:
                wants.append("be heard with every other rank")
            if rank.held is not None:
                wants.append("go on when what it launched is done")
            if wants:
                lines.append(f"{self._name(number)} waits to " + " and to ".join(wants))
        return "; ".join(lines)

    def _name(self, number: int) -> str:
        name, owner = self.ranks[number].name, f"rank {number % self.size}"
        return name if name.startswith(owner) else f"{owner} ({name})"

    def _state(self, number: int) -> str:
        finished = ", which has finished" if self.ranks[number].finished else ""
        return self._name(number) + finished


def _passes(request: Request) -> bool:
    """Whether a rank need not wait for what it launched."""
    return isinstance(request, Report) and not request.heard


def _in_turn(launched: deque[Requests]) -> Requests:
    while launched:
        yield from launched.popleft()
