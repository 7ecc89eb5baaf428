"""One rank's end of all its channels: carries out what its program asks for.

All transfers of an exchange make progress at the same time, piece by piece, so
two ranks that swap arrays larger than the channels never block each other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minidl.errors import PlanError
from minidl.reprs import brief
from minidl.runtime.background import Background
from minidl.runtime.base import Traffic
from minidl.runtime.channel import Channel, Receiving, Semaphore, Sending
from minidl.runtime.messages import check_array, check_channel, check_overlaps
from minidl.runtime.requests import (
    Exchange,
    Incoming,
    Launch,
    Lost,
    Outgoing,
    RankProgram,
    ReceiveAny,
    Report,
)
from minidl.runtime.status import Status
from minidl.runtime.trace import Recorder
from minidl.runtime.waiting import Aborted, Patience, Wait, WaitedTooLong


class Communicator:
    """Sends and receives for one rank.

    Parameters
    ----------
    rank
        This rank.
    size
        The number of ranks.
    outgoing
        The channels to send on, by the rank at their other end.
    incoming
        The channels to receive from, by the rank at their other end.
    bells
        One semaphore for each rank, on which it sleeps while it waits for anything.
    status
        Where the rank says what it waits for, and sees that it shall stop.
    trace
        Where it records its sends, receives, reductions and waits.
    deadline
        Seconds that a wait may last.
    polls
        How often a rank looks for news before it goes to sleep.
    complain
        Tells the caller that a wait exceeds the deadline. The caller then ends all ranks, or
        whoever is to blame, and lets this one go on. Without it, `WaitedTooLong` is raised.

    Attributes
    ----------
    beside
        Records what the rank sends and receives beside its program.
    """

    __repr__ = brief

    def __init__(
        self,
        rank: int,
        size: int,
        *,
        outgoing: Mapping[int, Channel],
        incoming: Mapping[int, Channel],
        bells: list[Semaphore],
        status: Status,
        trace: Recorder,
        deadline: float,
        polls: int = 0,
        complain: Callable[[WaitedTooLong], object] | None = None,
    ) -> None:
        self.rank, self.size = rank, size
        self._outgoing, self._incoming = outgoing, incoming
        self._pairs = {(rank, peer) for peer in outgoing} | {(peer, rank) for peer in incoming}
        self._bells = bells
        self._status, self._trace = status, trace
        self._patience = Patience(
            rank, bells[rank], status, trace, deadline, polls, complain, self.on_its_way
        )
        self._sent: dict[str, list[int]] = {}
        self._last_chosen = 0
        self._hears: set[int] = set()
        self.beside = Recorder(clock=trace.clock)
        twin = copy.copy(self)
        twin._trace = self.beside
        # Polling would take time from the program.
        twin._patience = replace(self._patience, trace=self.beside, polls=0)
        self.background = Background(twin.perform)

    def run(
        self, program: RankProgram, report: Callable[[Any], object], ask: Callable[[bool], object]
    ) -> Any:
        """Drive a program to its end, and return its result.

        Parameters
        ----------
        program
            Yields requests.
        report
            Is given the event of every `Report`.
        ask
            Asks the caller to count up this rank's `heard` when it has heard all ranks; given
            True, when it has heard this one.
        """
        go_on: Callable[[], Any] = partial(program.send, None)
        try:
            while True:
                request = go_on()
                answer = None
                try:
                    match request:
                        case Launch(requests):
                            self.beside.step = self._trace.step
                            self.background.launch(requests)
                        case Report(event, heard, alone):
                            report(event)
                            if heard:
                                self._settle()
                                self._be_heard(partial(ask, alone))
                        case _:
                            self._settle()
                            answer = self.perform(request)
                    go_on = partial(program.send, answer)
                except Lost as lost:
                    go_on = partial(program.throw, lost)
        except StopIteration as stop:
            self._settle()
            return stop.value

    def _settle(self) -> None:
        """Let what was launched come to its end."""
        start = self._trace.clock()
        if self.background.settle():
            self._trace.add("wait", start, self._trace.clock())

    def _be_heard(self, ask: Callable[[], object]) -> None:
        """Wait for the caller; if it dies, so does this process, so there is no deadline."""
        start = self._trace.clock()
        self._patience.until_let_go_on(ask)
        self._trace.add("wait", start, self._trace.clock())

    def perform(self, request: Exchange | ReceiveAny) -> int | None:
        """Carry out a request; the peer's rank for `ReceiveAny`, None for `Exchange`.

        Raises
        ------
        MessageMismatchError
            If a message is not the one expected.
        PlanError
            If the request names a rank without a channel.
        InputError
            If an array of the request does not fit.
        Lost
            If what was to be received was not sent before its sender was lost.
        """
        if self._status.aborted:
            raise Aborted
        match request:
            case Exchange(transfers):
                self._exchange(transfers)
                return None
            case ReceiveAny(arrays, operation):
                return self._receive_any(arrays, operation)
            case _:
                raise PlanError(
                    "a rank's program yields Exchange, ReceiveAny, Report or Launch, and what it "
                    f"launches the first two, not {type(request).__name__}"
                )

    def send(self, array: np.ndarray, peer: int, operation: str) -> None:
        """Give `array` to rank `peer`."""
        self.perform(Exchange((Outgoing(peer, array, operation),)))

    def recv(self, array: np.ndarray, peer: int, operation: str, reduce: bool = False) -> None:
        """Store in `array`, or add to it, what rank `peer` sends."""
        self.perform(Exchange((Incoming(peer, array, operation, reduce),)))

    def barrier(self) -> None:
        """Wait until every rank has come to its barrier."""
        arrived = self._status.rows["arrived"]
        arrived[self.rank] += 1
        for bell in self._bells:
            bell.release()
        wait = Wait(self._patience, "barrier")
        while missing := [r for r in range(self.size) if arrived[r] < arrived[self.rank]]:
            wait.sleep(missing)
        wait.over()

    def abort(self) -> None:
        """Make every rank stop at its next request or within its present wait."""
        self._status.abort()
        for bell in self._bells:
            bell.release()

    @property
    def traffic(self) -> dict[str, Traffic]:
        """Payload bytes and messages sent so far, by operation."""
        return {operation: Traffic(*counts) for operation, counts in self._sent.items()}

    @property
    def messages(self) -> tuple[dict[int, int], dict[int, int]]:
        """How many messages were sent to, and received from, each peer."""
        return (
            {peer: channel.messages for peer, channel in self._outgoing.items()},
            {peer: channel.messages for peer, channel in self._incoming.items()},
        )

    def on_its_way(self, peers: Sequence[int]) -> float:
        """Seconds until a piece arrives that was seen on its way from one of these; 0 if none."""
        due = (self._incoming[peer].on_its_way() for peer in peers)
        return min(filter(None, due), default=0.0)

    def _exchange(self, transfers: tuple[Outgoing | Incoming, ...]) -> None:
        for wish in transfers:
            incoming = isinstance(wish, Incoming)
            check_array(wish.array, receives=incoming)
            pair = (wish.peer, self.rank) if incoming else (self.rank, wish.peer)
            check_channel(*pair, self._pairs)
        check_overlaps(transfers)
        sends: dict[int, Sending] = {}
        receives: dict[int, Receiving] = {}
        pending: list[Sending | Receiving] = []
        for wish in transfers:
            peer = wish.peer
            if isinstance(wish, Incoming):
                receives[peer] = Receiving(self._incoming[peer], wish, receives.get(peer))
                pending.append(receives[peer])
            else:
                sends[peer] = Sending(self._outgoing[peer], wish, sends.get(peer))
                pending.append(sends[peer])
                self._count(wish)
        self._complete(pending)

    def _count(self, wish: Outgoing) -> None:
        counts = self._sent.setdefault(wish.counted_as, [0, 0])
        counts[0] += wish.array.nbytes
        counts[1] += 1

    def _complete(self, pending: list[Sending | Receiving]) -> None:
        """Advance all until all are done; raises Lost if something will never come."""
        wait, lost, gone = None, list[int](), list[int]()
        missing: list[Sending | Receiving]
        while pending:
            moved = False
            for transfer in pending:
                moved |= self._advance(transfer, wait)
            if moved:
                wait = None
                pending = [transfer for transfer in pending if not transfer.done]
            elif wait is not None and (
                missing := [each for each in pending if each.peer in gone and not each.coming]
            ):
                wait.over()
                lost += [each.peer for each in missing if isinstance(each, Receiving)]
                pending = [each for each in pending if each not in missing]
                wait, gone = None, []
            else:
                if wait is None:
                    wait = Wait(self._patience, pending[0].operation)
                sources = [each.peer for each in pending if isinstance(each, Receiving)]
                gone = wait.sleep([transfer.peer for transfer in pending], sources)
        if lost:
            raise Lost(lost[0], self._status.why(lost[0]))

    def _advance(self, transfer: Sending | Receiving, wait: Wait | None) -> bool:
        start = self._trace.clock()
        if not transfer.advance():
            return False
        if wait is not None:
            wait.over(start)
        self._trace.add(transfer.kind, start, self._trace.clock(), transfer.peer)
        return True

    def _receive_any(self, arrays: Mapping[int, np.ndarray], operation: str) -> int:
        if not arrays:
            raise PlanError("ReceiveAny was given no peer to receive from")
        for peer, array in arrays.items():
            check_array(array, receives=True)
            check_channel(peer, self.rank, self._pairs)
        if arrays.keys() != self._hears:
            self._hears = {*arrays}
            self._status.hears[self.rank] = [peer in arrays for peer in range(self.size)]
        # Whoever was served last comes last, so that no peer is starved.
        peers = sorted(arrays, key=lambda peer: (peer - self._last_chosen - 1) % self.size)
        wait, gone = None, list[int]()
        while True:
            for peer in peers:
                if self._incoming[peer].has_piece():
                    if wait is not None:
                        wait.over()
                    self._last_chosen = peer
                    wish = Incoming(peer, arrays[peer], operation)
                    self._complete([Receiving(self._incoming[peer], wish)])
                    return peer
            silent = [peer for peer in gone if not self._incoming[peer].claimed]
            if wait is not None and silent:
                wait.over()
                raise Lost(silent[0], self._status.why(silent[0]))
            if wait is None:
                wait = Wait(self._patience, operation)
            gone = wait.sleep(peers, peers)
