"""A story's beats in fair weather, kept: a case takes the story up at the beat of its fault instead of its beginning.

The app keeps nothing between two ticks, so that between two beats all there is stands in the world: stores, cluster,
nodes, clock, and the weather with what reads answered. Until a first fault strikes, every case goes as in fair weather.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.storm.fault_plan import Weather
    from tests.storm.world import World


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All there is after a beat, and the number of calls until then."""

    calls: int
    state: tuple[dict[str, Any], ...]
    random: Any
    reads: dict[Any, Any]


@dataclass(slots=True)
class Rehearsal:
    """The beats of a story in fair weather, in their order."""

    weather: Weather
    beats: list[Snapshot] = field(default_factory=list)

    def recall(self, _: World) -> bool:
        return False

    def record(self, world: World) -> None:
        parts = tuple(_copied(vars_of(part)) for part in _parts(world))
        calls, reads = len(self.weather.calls), dict(self.weather.reads)
        self.beats.append(Snapshot(calls, parts, world.random.getstate(), reads))


@dataclass(slots=True)
class TakenUp:
    """The same story in another weather, whose first fault is at the call number *first*."""

    rehearsal: Rehearsal
    weather: Weather
    first: int
    beat: int = 0

    def recall(self, world: World) -> bool:
        """Leave the world as it was after the next beat in fair weather, if all calls of that are before the fault."""
        beats = self.rehearsal.beats
        if self.beat >= len(beats) or beats[self.beat].calls > self.first:
            self.beat = len(beats)  # from here on the story goes its own way
            return False
        snapshot = beats[self.beat]
        self.beat += 1
        for part, state in zip(_parts(world), snapshot.state, strict=True):
            for name, value in _copied(state).items():
                setattr(part, name, value)
        world.random.setstate(snapshot.random)
        self.weather.calls[:] = self.rehearsal.weather.calls[: snapshot.calls]
        self.weather.reads = dict(snapshot.reads)
        return True

    def record(self, _: World) -> None:
        pass


WORLD = ("now", "fates", "started", "processes", "before", "_read")


def _parts(world: World) -> tuple[Any, ...]:
    return (
        world, world.ledger, world.cluster, world.models, world.work, world.predictions, world.plane.stopwatch,
    )  # fmt: skip


def vars_of(part: Any) -> dict[str, Any]:
    """What a part of the world holds."""
    if hasattr(part, "beat_until_quiet"):
        return {name: getattr(part, name) for name in WORLD}
    names = vars(part) if hasattr(part, "__dict__") else [each.name for each in fields(part)]
    return {name: getattr(part, name) for name in names}


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    """Of the same values in containers of their own: the values themselves are frozen, but for the processes."""
    return {
        name: [(job, copy(one)) for job, one in value] if name == "processes" else _container(value)
        for name, value in state.items()
    }


def _container(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: dict(inner) if isinstance(inner, dict) else inner for key, inner in value.items()}
    return copy(value) if isinstance(value, (set, list)) else value
