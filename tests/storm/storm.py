"""Plays stories in many weathers and counts what came to pass: on all cores, where no other tests run beside it."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from tests.storm.scenarios import ANY_FATE, SCENARIOS, endings, single_faults, strike

ROOT = Path(__file__).parents[2]
BATCH = 100  # weathers for a process at a time


@dataclass(frozen=True, slots=True)
class Case:
    """A story and its weather; fates of its jobs, where they are not the story's own."""

    story: str
    faults: dict[int, str]
    fates: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of many cases: how many were played, how many faults struck, and what broke a promise.

    *alike*: so many went on as an earlier one did, once their faults were over, and were played no further.
    """

    played: int
    struck: int
    alike: int
    broken: tuple[str, ...]


def play(cases: Sequence[Case]) -> Outcome:
    """Play all of them. Among workers of pytest-xdist here: then the other cores have other tests to run."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return _play(cases)
    batches = [cases[i : i + BATCH] for i in range(0, len(cases), BATCH)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("forkserver")) as pool:
        outcomes = list(pool.map(_play, batches))
    broken = tuple(text for outcome in outcomes for text in outcome.broken)
    struck, alike = sum(o.struck for o in outcomes), sum(o.alike for o in outcomes)
    return Outcome(sum(o.played for o in outcomes), struck, alike, broken)


def _play(cases: Sequence[Case]) -> Outcome:
    struck, alike, broken = 0, 0, []
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        for case in cases:
            try:
                result = strike(case.story, case.faults, case.fates, endings(case.story))
                struck, alike = struck + result.faults, alike + (result.known_end is not None)
            except AssertionError as error:
                broken.append(str(error)[:600])
    finally:
        logging.disable(disabled)
    return Outcome(len(cases), struck, alike, tuple(broken))


def singles(story: str) -> list[Case]:
    """Each kind of fault at each call of a story."""
    return [Case(story, faults) for faults in single_faults(story)]


@cache
def _singles(story: str) -> list[tuple[int, str]]:
    return [(number, fault) for faults in single_faults(story) for number, fault in faults.items()]


def drawn(seed: int) -> Case:
    """Two or three faults, or now and then a dozen, in any story; one in three among jobs of any fate."""
    rng = random.Random(seed)
    story = rng.choice(sorted(SCENARIOS))
    many = rng.randint(4, 12) if seed % 20 == 0 else rng.randint(2, 3)
    fates = tuple(rng.choices(ANY_FATE, k=rng.randint(0, 4))) if seed % 3 == 0 else None
    return Case(story, dict(rng.sample(_singles(story), many)), fates)
