"""Questions to a student's process, and its answers: a line of JSON each, within limits."""

from __future__ import annotations

import json
import os
import secrets
import select
import time
from collections.abc import Callable
from typing import Any

from minidl.course.values import ProtocolError

MOST_BYTES = 16 << 20
"""Of an answer."""
WATCH_SECONDS = 0.2
"""How often the process is looked at while it is waited for."""


class Channel:
    """Two pipes, one to the process, one from it.

    Parameters
    ----------
    outgoing
        The file descriptor to write to, which the channel owns from now on.
    incoming
        The file descriptor to read from, which the channel owns from now on.
    watch
        Called while waiting; may raise to end it.
    """

    def __init__(self, outgoing: int, incoming: int, watch: Callable[[], None]) -> None:
        self._outgoing, self._incoming, self._watch = outgoing, incoming, watch
        self._looked = time.monotonic()
        os.set_blocking(outgoing, False)

    def close(self) -> None:
        """Close both pipes."""
        os.close(self._outgoing)
        os.close(self._incoming)

    def exchange(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a question and wait for the answer to it.

        Each question has a number drawn at random, which its answer repeats. So nothing that was
        written before the question is taken for its answer.

        Raises
        ------
        TimeoutError
            If there is no whole answer in time, whatever else comes.
        EOFError
            If nothing more can come.
        ProtocolError
            If what comes is no answer to this question.
        """
        nonce = secrets.token_hex(16)
        unsent = json.dumps({"nonce": nonce} | question).encode() + b"\n"
        line, deadline = bytearray(), time.monotonic() + seconds
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if time.monotonic() - self._looked > WATCH_SECONDS:
                self._watch()
                self._looked = time.monotonic()
            ready = self._ready(bool(unsent), min(left, WATCH_SECONDS))
            if self._outgoing in ready:
                unsent = self._send(unsent)
            if self._incoming in ready:
                received = os.read(self._incoming, 1 << 16)
                if not received:
                    raise EOFError
                line += received
                if len(line) > MOST_BYTES or b"\n" in received[:-1]:
                    raise ProtocolError("more than one answer")
        return _parsed(line, nonce)

    def _ready(self, sends: bool, seconds: float) -> dict[int, int]:
        poll = select.poll()
        poll.register(self._incoming, select.POLLIN)
        if sends:
            poll.register(self._outgoing, select.POLLOUT)
        return dict(poll.poll(1000 * seconds))

    def _send(self, data: bytes) -> bytes:
        """What is still to be sent."""
        try:
            return data[os.write(self._outgoing, data) :]
        except BlockingIOError:
            return data
        except BrokenPipeError:  # that there will be no answer is seen where it is waited for
            return b""


def _parsed(line: bytearray, nonce: str) -> dict[str, Any]:
    try:
        content = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        raise ProtocolError("no JSON") from None
    if not isinstance(content, dict) or content.pop("nonce", None) != nonce:
        raise ProtocolError("no answer to this question")
    return content
