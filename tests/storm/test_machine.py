"""Wishes, ticks, faults and time in any order, against a small model of what must come of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.contract.errors import FleetError
from shared.contract.reasons import Reason
from shared.contract.windows import Window
from shared.state.requests import SCHEDULE, Backfill, BackfillState, Request, RequestKind, Scope
from shared.state.runs import Phase, Run
from tests.storm.fault_plan import FAULTS, Killed, Weather
from tests.storm.scenarios import ANY_FATE, FLEET
from tests.storm.world import EARLIER, WINDOW, World

HOUR = timedelta(hours=1)
PAST = [Window(EARLIER.window.start - hours * HOUR, HOUR) for hours in (3, 2, 1)]
OUTCOMES = st.sampled_from([None, Reason.NO_READINGS, Reason.BAD_SCORES, Reason.CRASHED])


@dataclass
class Expected:
    """What must come of all that was asked for."""

    runs: set[str]  # that must exist in the end
    rounds: dict[str, int]  # the least number of rounds of a run
    watermark: object = None


class People(RuleBasedStateMachine):
    """People, hosts, nodes and the weather, each at any time."""

    @initialize()
    def begin(self) -> None:
        self.world = World(dict(FLEET), weather=Weather(), max_in_flight=2)
        self.other = self.world.host()
        self.expected = Expected({EARLIER.id}, {})
        self.paused = False

    @rule(skew=st.sampled_from([0, 0, 0, -300, 300]), other=st.booleans())
    def tick(self, skew: int, other: bool) -> None:
        host = self.other if other else self.world.plane
        with suppress(Killed, FleetError):
            host.tick(self.world.now + timedelta(seconds=skew))
        self.world.move_nodes()

    @rule(seconds=st.sampled_from([10, 60, 600, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(ahead=st.integers(0, 25), fault=st.sampled_from(FAULTS))
    def something_will_break(self, ahead: int, fault: object) -> None:
        self.world.weather.faults[len(self.world.weather.calls) + ahead] = fault  # type: ignore[assignment]

    @rule(fate=st.sampled_from(ANY_FATE))
    def a_job_will_go_like_this(self, fate: str) -> None:
        self.world.fates.append(fate)

    @rule(model=st.sampled_from(sorted(FLEET)), outcome=OUTCOMES)
    def a_model_changes(self, model: str, outcome: Reason | None) -> None:
        self.world.models.write(f"{model}.skops", b"another model")
        self.world.fleet[model] = outcome

    @rule(number=st.integers(5, 8))
    def a_model_comes(self, number: int) -> None:
        self.world.models.write(f"pump{number}.skops", b"a model")
        self.world.fleet.setdefault(f"pump{number}", None)

    @rule(window=st.sampled_from(PAST))
    def asks_for_a_run(self, window: Window) -> None:
        if self.world.ledger.add_request(Request(RequestKind.RUN, window.id, self.world.now)):
            self.expected.runs.add(window.id)

    def _over(self) -> list[Run]:
        """Runs that may be asked for again, as the API sees it."""
        runs = self.world.ledger._runs.values()
        return [run for run in runs if run.phase.terminal and run.phase is not Phase.MISSED and run.id != EARLIER.id]

    @rule(
        kind=st.sampled_from([RequestKind.REDRIVE, RequestKind.REPROCESS, RequestKind.EXTEND]), which=st.integers(0, 9)
    )
    def asks_again(self, kind: RequestKind, which: int) -> None:
        over = self._over()
        if not over:
            return
        run = over[which % len(over)]
        self.world.now += timedelta(microseconds=1)  # nobody asks twice in one instant
        if self.world.ledger.add_request(Request(kind, run.id, self.world.now)):
            self.expected.rounds[run.id] = max(self.expected.rounds.get(run.id, 0), run.round + 1)

    @rule(which=st.integers(0, 9))
    def cancels(self, which: int) -> None:
        still = [run.id for run in self.world.ledger._runs.values() if not run.phase.terminal]
        if still:
            self.world.wish(RequestKind.CANCEL, still[which % len(still)])

    @rule(jobs=st.integers(1, 5))
    def changes_the_limits(self, jobs: int) -> None:
        for run in self.world.ledger.list_watched_runs():
            self.world.ledger.add_request(Request(RequestKind.LIMITS, run.id, self.world.now, max_in_flight=jobs))

    @rule(scope=st.sampled_from(Scope))
    def fills_back(self, scope: Scope) -> None:
        span = Window(PAST[0].start, 3 * HOUR)
        name = f"backfill-{span.id}-{scope}"
        if self.world.ledger.add_backfill(Backfill(name, span, scope, 2, self.world.now, span.start)):
            self.expected.runs |= {window.id for window in PAST}

    @precondition(lambda self: not self.paused)
    @rule()
    def pauses(self) -> None:
        self.world.wish(RequestKind.PAUSE, SCHEDULE)
        self.paused = True

    @precondition(lambda self: self.paused)
    @rule()
    def resumes(self) -> None:
        self.world.ledger.remove_request(Request(RequestKind.PAUSE, SCHEDULE, self.world.now))
        self.paused = False

    @invariant()
    def promises_hold(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.check()
        watermark = self.world.ledger.read_heartbeat().watermark
        assert watermark is not None
        assert self.expected.watermark is None or watermark >= self.expected.watermark  # type: ignore[operator]
        self.expected.watermark = watermark

    def teardown(self) -> None:
        """The weather clears, the schedule goes on: all that was asked for comes to its end by itself."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.weather.faults.clear()
        world.fates.clear()
        world.ledger.remove_request(Request(RequestKind.PAUSE, SCHEDULE, world.now))
        quiet = 0
        for _ in range(1500):
            world.beat()
            backfills = [b for b in world.ledger.list_backfills() if b.state is BackfillState.OPEN]
            quiet = quiet + 1 if world.over and not backfills and WINDOW in world.ledger._runs else 0
            if quiet == 3:  # beats: the next window that waits is opened in the second
                break
        world.wish(RequestKind.PAUSE, SCHEDULE)  # or the next window may fall due just now
        for _ in range(8):
            world.beat()
        assert world.over
        runs = world.ledger._runs
        assert self.expected.runs <= set(runs)
        for run in runs.values():
            if run.phase is not Phase.MISSED and run.plans:
                world.check_complete(run)
        assert all(runs[run_id].round >= least for run_id, least in self.expected.rounds.items())
        self._no_window_is_forgotten()

    def _no_window_is_forgotten(self) -> None:
        """From the first window on, each that the watermark has passed has a run or is told as missed."""
        watermark = self.world.ledger.read_heartbeat().watermark
        assert watermark
        reached = EARLIER.window.end
        for run in sorted(self.world.ledger._runs.values(), key=lambda run: run.window.start):
            assert run.window.start <= reached or run.window.end <= EARLIER.window.start, f"nothing covers {reached}"
            reached = max(reached, run.window.end)
        assert reached >= watermark


People.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
TestPeople = People.TestCase
