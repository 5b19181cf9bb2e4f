"""A call that takes too long is given up, and cleans up when it ends after all."""

from __future__ import annotations

import queue
import threading

import pytest

from scorer.sinks import deadline
from scorer.sinks.base import SinkError
from scorer.sinks.deadline import call_within
from shared.contract.publishing.sinks import SinkReason
from tests.patience import patience


def test_a_call_that_ends_in_time_gives_its_result_and_cleans_nothing_up() -> None:
    cleaned = threading.Event()
    assert call_within(patience(10), "db", lambda: 7, cleaned.set) == 7
    assert not cleaned.is_set()


def test_what_a_call_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        call_within(patience(10), "db", lambda: 1 // 0, lambda: None)


def test_a_call_that_is_given_up_cleans_up_when_it_ends() -> None:
    hangs, cleaned = threading.Event(), threading.Event()

    with pytest.raises(SinkError, match=r"db: expected an answer within 0\.05 s, got none") as caught:
        call_within(0.05, "db", hangs.wait, cleaned.set)

    assert caught.value.reason is SinkReason.UNAVAILABLE
    assert not cleaned.is_set()
    hangs.set()
    assert cleaned.wait(patience(10))


def test_a_call_that_ends_while_it_is_given_up_gives_its_result_or_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends when the time is over, and before the caller has said so."""
    hangs, cleaned = threading.Event(), threading.Event()
    before = set(threading.enumerate())

    class LateQueue(queue.SimpleQueue):  # type: ignore[type-arg]
        def get(self, block: bool = True, timeout: float | None = None) -> object:
            if timeout is None:
                return super().get(block)
            hangs.set()
            for thread in set(threading.enumerate()) - before:
                thread.join(patience(10))
            raise queue.Empty

    monkeypatch.setattr(deadline.queue, "SimpleQueue", LateQueue)

    assert call_within(patience(10), "db", hangs.wait, cleaned.set) is True
    assert not cleaned.is_set()
