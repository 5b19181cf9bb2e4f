"""A limit of time for calls that Python cannot interrupt: into native code, or to a server that sends byte by byte."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

from shared.contract.publishing.sinks import SinkReason

from .base import SinkError

T = TypeVar("T")


def call_within(seconds: float, label: str, function: Callable[[], T], clean_up: Callable[[], object]) -> T:
    """What *function* returns or raises; UNAVAILABLE where it has not within *seconds*: then it goes on by itself.

    A server that hangs still acknowledges what is sent to it, so no time-out of the network ends the call. Should it
    end after all, *clean_up* is called in its thread, which keeps no process alive.
    """
    outcomes: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
    decision = threading.Lock()  # whoever takes it first decides whether the call has ended in time; never released

    def call() -> None:
        outcome: tuple[T | None, BaseException | None]
        try:
            outcome = function(), None
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            outcome = None, error
        if decision.acquire(blocking=False):
            outcomes.put(outcome)
            return
        with suppress(Exception):  # nobody waits for this call any more
            clean_up()

    threading.Thread(target=call, daemon=True).start()
    try:
        result, error = outcomes.get(timeout=seconds)
    except queue.Empty:
        if decision.acquire(blocking=False):
            message = f"{label}: expected an answer within {seconds:g} s, got none"
            raise SinkError(SinkReason.UNAVAILABLE, message) from None
        result, error = outcomes.get()  # it has ended just now: the outcome is being put
    if error is not None:
        raise error
    return cast("T", result)
