"""A story's beats in fair weather, kept: a case takes the story up at the beat of its fault instead of its beginning.

The app keeps nothing between two ticks, so that between two beats all there is stands in the world: stores, cluster,
nodes, clock, and the weather with what reads answered. Until a first fault strikes, every case goes as in fair weather.
Once its last fault is over, a case that comes to a state that another came to before goes on as that did: `endings.py`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from shared.adapters.memory import Tokens

if TYPE_CHECKING:
    from tests.storm.endings import Endings
    from tests.storm.fault_plan import Weather
    from tests.storm.world import World

State = tuple[dict[str, Any], ...]  # by part of the world

WORLD = ("now", "fates", "started", "processes", "before", "_read")
CHANGED_BETWEEN_BEATS = ("_requests", "_backfills", "_blobs")  # by people


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All there is after a beat, and the number of calls until then."""

    calls: int
    state: State
    passing: State  # the same to look at on the way to a later beat: who changes it meets a TypeError
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
        state, reads = copy_state(world), dict(self.weather.reads)
        passing = tuple({name: _protect(name, value) for name, value in part.items()} for part in state)
        self.beats.append(Snapshot(len(self.weather.calls), state, passing, world.random.getstate(), reads))


@dataclass(slots=True)
class TakenUp:
    """The same story in another weather, whose first fault is at the call number *first*.

    Where its jobs have other fates, *first* is 0: what happens before the story's first call is the same. With
    *endings* it raises EndsAlike as soon as it goes on as an earlier case did.
    """

    rehearsal: Rehearsal
    weather: Weather
    first: int
    endings: Endings | None = None
    beat: int = 0

    def recall(self, world: World) -> bool:
        """Leave the world as it was after the next beat in fair weather, if all calls of that are before the fault."""
        if not self._is_fair(self.beat):
            return False
        snapshot = self.rehearsal.beats[self.beat]
        self.beat += 1
        if self._is_fair(self.beat):
            _set_state(world, snapshot.passing)
            return True
        _set_state(world, tuple(_copied(state) for state in snapshot.state))
        world.random.setstate(snapshot.random)
        self.weather.calls[:] = self.rehearsal.weather.calls[: snapshot.calls]
        self.weather.reads = dict(snapshot.reads)
        self.beat = len(self.rehearsal.beats)  # from here on the story goes its own way
        return True

    def _is_fair(self, beat: int) -> bool:
        beats = self.rehearsal.beats
        return beat < len(beats) and beats[beat].calls <= self.first

    def record(self, world: World) -> None:
        if self.endings and self.weather.is_over:
            self.endings.visit(world)


def copy_state(world: World) -> State:
    """All there is, in containers of its own."""
    return tuple(_copied(vars_of(part)) for part in _parts(world))


def _parts(world: World) -> tuple[Any, ...]:
    return (
        world, world.ledger, world.cluster, world.models, world.work, world.predictions, world.readings,
        world.plane.stopwatch, world.tokens, world.sinks, world.table, world.notifier,
    )  # fmt: skip


def vars_of(part: Any) -> dict[str, Any]:
    """What a part of the world holds."""
    if hasattr(part, "beat_until_quiet"):
        return {name: getattr(part, name) for name in WORLD}
    names = vars(part) if hasattr(part, "__dict__") else [each.name for each in fields(part)]
    values = {name: getattr(part, name) for name in names}
    return {name: value for name, value in values.items() if not isinstance(value, Tokens)}  # a part of its own


def _set_state(world: World, state: State) -> None:
    for part, values in zip(_parts(world), state, strict=True):
        for name, value in values.items():
            setattr(part, name, dict(value) if name in CHANGED_BETWEEN_BEATS else value)


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


def _protect(name: str, value: Any) -> Any:
    if isinstance(value, dict) and name not in CHANGED_BETWEEN_BEATS:
        return MappingProxyType({key: _protect("", inner) for key, inner in value.items()})
    if isinstance(value, set):
        return frozenset(value)
    return tuple(value) if isinstance(value, list) else value
