"""What a rank carries out beside its program: exchanges launched, one after the other."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

from minidl.runtime.requests import Requests

PROMPT = 1e-4
"""Seconds after which the program's thread lets a message through, between two instructions of
Python; 5e-3 by default, which is longer than the backward pass of many a layer."""


class Background:
    """A thread that performs what was launched, in the order in which it was.

    Only one of program and thread ever performs: the program waits in `settle` before
    it asks for anything itself. So both use the same channels, without a lock.

    Parameters
    ----------
    perform
        Carries out one request, and returns its answer.
    """

    def __init__(self, perform: Callable[[Any], Any]) -> None:
        self._perform = perform
        self._launched: queue.Queue[Requests] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def launch(self, requests: Requests) -> None:
        """Carry these out after all that was launched before, if nothing of that goes wrong."""
        if self._thread is None:
            sys.setswitchinterval(PROMPT)
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._launched.put(requests)

    def settle(self) -> bool:
        """Wait until everything launched is done; whether it was not.

        What went wrong is raised, once: what was launched after it is left out.
        """
        waits = self._launched.unfinished_tasks > 0
        self._launched.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return waits

    def _work(self) -> None:
        while True:
            requests = self._launched.get()
            try:
                if self._error is None:
                    self._carry_out(requests)
            except BaseException as error:  # raised again where it is waited for
                self._error = error
            self._launched.task_done()

    def _carry_out(self, requests: Requests) -> None:
        answer: Any = None
        while True:
            try:
                request = requests.send(answer)
            except StopIteration:
                return
            answer = self._perform(request)
