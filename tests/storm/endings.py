"""States from which a story was played to its end: a case that comes to the same state has the same end.

What the app, the cluster and the nodes do at a beat follows from the state before it alone, and etags and versions are
counted in each world of its own. So two cases of one story that are in equal states at the same beat, with no fault
ahead of either, go on alike. Most faults are mended by the next tick, without a trace: nine in ten cases end like this.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.storm.rehearsal import State, copy_state

if TYPE_CHECKING:
    from tests.storm.world import World


@dataclass(frozen=True, slots=True)
class Moment:
    """All that decides how a story goes on: the world after a beat, and how far the story is."""

    state: State
    random: Any
    fleet: dict[str, Any]
    turns: tuple[Any, ...]

    @classmethod
    def of(cls, world: World) -> Moment:
        state = copy_state(world)
        del state[0]["_read"]  # a memory of what is in the stores
        return cls(state, world.random.getstate(), dict(world.fleet), tuple(world.turns))


class EndsAlike(Exception):  # no error
    """The story is in a state from which it was played to this end before."""

    def __init__(self, end: Moment) -> None:
        super().__init__("ends as an earlier case did")
        self.end = end


@dataclass(slots=True)
class Endings:
    """The states after the last fault of all cases of a story that were played to a good end, and those ends."""

    known: dict[Hashable, list[tuple[Moment, Moment]]] = field(default_factory=dict)
    on_the_way: list[tuple[Hashable, Moment]] = field(default_factory=list)  # of the case that is played now

    def visit(self, world: World) -> None:
        """Raise EndsAlike where this state is known."""
        moment, key = Moment.of(world), _summarize(world)
        for other, end in self.known.get(key, ()):
            if other == moment:
                raise EndsAlike(end)
        self.on_the_way.append((key, moment))

    def start_case(self) -> None:
        """Forget the case before, unless it was kept."""
        self.on_the_way = []

    def keep_case(self, world: World) -> None:
        """Note that the case has ended well, in this world."""
        end = Moment.of(world)
        for key, moment in self.on_the_way:
            self.known.setdefault(key, []).append((moment, end))


def _summarize(world: World) -> Hashable:
    """What is quickly compared: equal for equal states, and seldom for others."""
    return (
        world.now,
        tuple(world.fates),
        frozenset(
            (name, blob.etag, blob.data)
            for blobs in (world.models, world.work, world.predictions, world.readings)
            for name, blob in blobs._blobs.items()
        ),
        frozenset((entry.run, entry.version) for entry in world.sinks._publications.values()),
        frozenset((run.id, run.version) for run in world.ledger._runs.values()),
        frozenset((c.run, c.id, c.version) for chunks in world.ledger._chunks.values() for c in chunks.values()),
    )
