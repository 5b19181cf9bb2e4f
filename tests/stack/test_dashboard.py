"""The page in a real browser, over the API and the ports in memory, under the strictest Content-Security-Policy."""

# ruff: noqa: RUF001  # the page writes windows with a dash and counts with a times sign

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2 as httpx
import pytest

from local import npm
from local.browser import find_browser
from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.contract.domain import Late, Unmodelled
from shared.contract.errors import Misconfigured
from shared.contract.paths import make_job_name
from shared.contract.publishing.documents import PublicationResult
from shared.contract.publishing.sinks import SinkKind, SinkReason
from shared.contract.reasons import Reason
from shared.contract.summaries.predicted import LabelCount, Predicted, PredictionRange
from shared.contract.windows import Window
from shared.publishing import publications
from shared.publishing.sink_options import SinkOptions
from shared.state.requests import SCHEDULE, Quarantined, RequestKind
from shared.state.runs import Heartbeat, Nodes, Phase, Waited
from tests.storm.world import EARLIER, NOON, WINDOW, World

if TYPE_CHECKING:  # imported late: it takes a while
    from playwright.sync_api import Browser, Locator, Page

QUIET = "--no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-quic"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'"
BROWSERS_OWN_WORDS = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",  # of a request that came while the app died
    "ERR_EMPTY_RESPONSE",
    "status of 400",
    "status of 401",
    "status of 403",
    "status of 503",
)  # it says so itself wherever a request fails

HOSTILE = "<img src=x onerror=alert(1)>"
FLEET: dict[str, Reason | None] = {
    HOSTILE: Reason.BAD_SCORES,
    "pump1": None,
    "pump2": None,
    "pump3": Reason.NO_READINGS,
}
OPEN = "20261121T1200Z-PT1H"


class Site:
    """The API at a port of this machine; it may die and come back."""

    def __init__(self, world: World, guard: Authorizer) -> None:
        app = create_api(world.plane.services, guard, lambda: world.now)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                async def ask() -> httpx.Response:
                    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
                        return await client.request(self.command, self.path, headers=dict(self.headers), content=body)

                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                told = asyncio.run(ask())
                self.send_response(told.status_code)
                for name, text in {**told.headers, "Content-Security-Policy": POLICY}.items():
                    self.send_header(name, text)
                self.end_headers()
                self.wfile.write(told.content)

            do_POST = do_GET  # noqa: N815  # http.server's name

            def date_time_string(self, timestamp: float | None = None) -> str:
                assert timestamp is None
                return format_datetime(world.now, usegmt=True)

            def log_message(self, *_: Any) -> None:
                pass

        self.handler, self.port = Handler, 0
        self.start()
        self.url = f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def die(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def kinds() -> tuple[SinkKind, ...]:
    """The sinks that are set."""
    return ()


@pytest.fixture
def world(kinds: tuple[SinkKind, ...]) -> World:
    """A day of runs that went well, one that ended partial, and one that is half done."""
    world = World(FLEET)
    for hours in range(1, 30):
        window = Window(EARLIER.window.start - timedelta(hours=hours), EARLIER.window.length)
        world.ledger.add_run(replace(EARLIER, window=window))
    world.beat_until_over()
    world.now, world.fates = datetime(2026, 11, 21, 13, 5, tzinfo=UTC), ["well"] + ["waits"] * 99
    for _ in range(8):
        world.beat()
    world.cluster.logs[make_job_name("fleetscore", WINDOW, "c00000", 1)] = f"scoring {HOSTILE}"
    world.plane = replace(world.plane, options=replace(world.plane.options, sinks=tuple(map(SinkOptions, kinds))))
    return world


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    try:
        command, (node, _) = find_browser(), npm.find_node()
    except Misconfigured as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PLAYWRIGHT_NODEJS_PATH", node)  # its own wants libatomic, which a bare Debian lacks
        playwright = sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=command, args=["--no-sandbox", *QUIET.split()])
    yield browser
    browser.close()
    playwright.stop()


@pytest.fixture
def guard() -> Authorizer:
    return Authorizer()


@pytest.fixture
def site(world: World, guard: Authorizer) -> Iterator[Site]:
    site = Site(world, guard)
    yield site
    site.die()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page, just opened. Whatever a test does: no error, no dialog of a script, no request to elsewhere."""
    context = browser.new_context(timezone_id="Asia/Kolkata", locale="en-GB")
    context.set_default_timeout(10_000)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: None if request.url.startswith(site.url) else wrong.append(request.url))
    page.clock.install()
    page.goto(site.url)
    yield page
    context.close()
    assert [text for text in wrong if not any(words in text for words in BROWSERS_OWN_WORDS)] == []


def cells(rows: Locator) -> list[list[str]]:
    """What a table says, row by row."""
    return [[cell.inner_text() for cell in row.get_by_role("cell").all()] for row in rows.all()]


def wishes(world: World) -> list[tuple[RequestKind, str]]:
    """What was asked for, and no tick has taken up."""
    return [(wish.kind, wish.target) for wish in world.ledger.list_requests()]


def until(page: Page, selector: str) -> None:
    """Let the page's clock go on until it shows this; what it asks the app takes real time."""
    for _ in range(60):
        page.clock.run_for(1_000)
        if page.locator(selector).count():
            return
        time.sleep(0.05)
    raise AssertionError(f"the page never came to {selector}")


def test_the_runs_are_listed_and_the_older_ones_are_a_page_further(page: Page) -> None:
    rows = page.locator("#runs tbody tr")
    rows.first.wait_for()
    assert rows.count() == 25
    first, *others = cells(rows)
    assert first.pop(8).startswith("1 min 2")  # and goes on
    assert first == ["2026-11-21 12:00 – 13:00", "running", "1", "1", "0", "4", "3", "1", "bad_scores\u00a0×\u00a01"]
    assert others[:2] == [
        [
            *["2026-11-21 11:00 – 12:00", "partial", "2", "1", "1", "4", "6", "2"],
            *["30 s", "bad_scores\u00a0×\u00a01, no_readings\u00a0×\u00a01"],
        ],
        ["2026-11-21 10:00 – 11:00", "succeeded", "4", "0", "0", "4", "0", "0", "1 h 0 min", ""],
    ]
    page.get_by_role("button", name="Older").click()
    page.get_by_text("2026-11-20 05:00 – 06:00").wait_for()
    assert rows.count() == 7
    page.get_by_role("button", name="Newer").click()
    page.locator("#runs").get_by_text("2026-11-21 11:00 – 12:00").wait_for()


def test_the_bar_of_the_open_run_says_how_far_it_is_and_follows(page: Page, world: World) -> None:
    bar = page.get_by_role("progressbar")
    bar.wait_for()
    told = [bar.get_attribute(f"aria-{name}") for name in ("valuenow", "valuemax", "valuetext")]
    assert told == ["2", "4", "2 of 4 models done, 1 scored, 1 failed"]
    assert page.title() == "50 % · fleetscore"
    with page.expect_response(lambda told: told.url.endswith(OPEN) and told.status == 304):
        page.clock.run_for(6_000)
    world.fates = []  # then all is well
    for _ in range(6):
        world.beat()
    page.clock.run_for(6_000)
    page.get_by_text("No run is open.").wait_for()
    page.locator("#runs tbody tr").first.get_by_text("partial").wait_for()


def test_an_instant_is_shown_in_utc_and_its_local_time_is_in_the_title(page: Page) -> None:
    assert page.locator("#runs time").first.get_attribute("title") == (
        "Sat, 21 Nov 2026, 17:30:00 GMT+5:30 – Sat, 21 Nov 2026, 18:30:00 GMT+5:30"
    )


def test_selecting_a_run_shows_what_failed_its_chunks_and_a_log(page: Page, site: Site) -> None:
    page.locator("#runs").get_by_role("link", name="2026-11-21 11:00 – 12:00").click()
    rows = page.locator(f"#card-{WINDOW} tbody tr")
    rows.first.wait_for()
    assert cells(rows) == [
        ["failed bad_scores", "1", HOSTILE, f"{HOSTILE} bad_scores", Reason.BAD_SCORES.advice],
        ["skipped no_readings", "1", "pump3", "pump3 no_readings", Reason.NO_READINGS.advice],
    ]
    chunks = page.locator("#chunks tbody tr")
    chunks.first.wait_for()
    assert [row[2:6] for row in cells(chunks)] == [["2", "1", "1", "0"], ["2", "1", "0", "1"]]
    page.get_by_role("link", name="no_readings").click()
    page.locator("#models tbody tr").wait_for()
    assert cells(page.locator("#models tbody tr")) == [["pump3", "c00001", "pump3 no_readings"]]
    page.locator("#models").get_by_text(f"What to do: {Reason.NO_READINGS.advice}").wait_for()
    page.get_by_role("link", name="Log of c00000").click()
    page.get_by_text(f"scoring {HOSTILE}").wait_for()
    assert page.url == f"{site.url}#run={WINDOW}&chunk=c00000"


def test_a_hostile_id_is_shown_as_text_and_runs_nothing(page: Page, site: Site) -> None:
    page.goto(f"{site.url}#run={WINDOW}&reason=bad_scores")
    row = page.locator("#models tbody tr")
    row.wait_for()
    assert cells(row) == [[HOSTILE, "c00000", f"{HOSTILE} bad_scores"]]
    assert page.locator("img").count() == 0


def test_a_cancel_is_asked_for_after_it_was_confirmed(page: Page, world: World) -> None:
    page.get_by_role("button", name="Cancel this run").click()
    page.get_by_role("button", name="Keep it").click()
    assert world.ledger.list_requests() == []
    page.get_by_role("button", name="Cancel this run").click()
    page.get_by_role("button", name="Cancel the run").click()
    page.get_by_text("cancel requested; it starts with the next tick").wait_for()
    assert wishes(world) == [(RequestKind.CANCEL, OPEN)]


def test_a_run_is_redriven_by_a_button_and_the_page_follows_its_further_round(page: Page, world: World) -> None:
    page.locator("#runs").get_by_role("link", name="2026-11-21 11:00 – 12:00").click()
    page.get_by_role("button", name="Redrive").click()
    page.get_by_text("further round requested; it starts with the next tick").wait_for()
    assert wishes(world) == [(RequestKind.REDRIVE, WINDOW)]
    assert page.get_by_role("button", name="Redrive").count() == 0
    world.fates = []  # then all is well
    world.beat_until_quiet()
    until(page, "article .facts >> text=1, redrive")
    page.get_by_role("button", name="Redrive").wait_for()  # what failed has failed again
    page.locator("#chunks tbody tr").first.wait_for()
    assert wishes(world) == []


def test_devices_without_a_model_are_counted_beside_the_run_and_named_in_a_tooltip(page: Page, world: World) -> None:
    run = world.ledger.read_run(WINDOW)
    unmodelled = Unmodelled(22, (HOSTILE, "fan"))
    world.ledger.save_run(replace(run, unmodelled=unmodelled, unmodelled_chunks=run.chunks - 1))
    page.locator("#runs").get_by_role("link", name="2026-11-21 11:00 – 12:00").click()
    found = page.locator("article .facts").get_by_text(f"22 with readings (in {run.chunks - 1} of {run.chunks} chunks)")
    found.wait_for()
    assert found.get_attribute("title") == f"{HOSTILE}\nfan\nand 20 more"
    assert page.get_by_text("Devices without a model").count() == 1


def test_what_models_predicted_is_shown_beside_the_run_and_anomalies_only_of_detectors(
    page: Page, world: World
) -> None:
    labels = (LabelCount("worn", 30), LabelCount(HOSTILE, 20), *(LabelCount(f"label {n}", 9 - n) for n in range(9)))
    tasks = {"classifier": 2, "regressor": 1}
    predicted = Predicted(tasks, 4, labels, 2, PredictionRange(3, -1.5, 0.123456, 1e308))
    world.ledger.save_run(replace(world.ledger.read_run(WINDOW), predicted=predicted))
    page.locator("#runs").get_by_role("link", name="2026-11-21 11:00 – 12:00").click()
    facts = page.locator(f"#card-{WINDOW} .facts")
    facts.get_by_text("2 classifiers, 1 regressor").wait_for()
    assert "Anomalies" not in facts.inner_text()
    terms = dict(zip(facts.locator("dt").all_inner_texts(), facts.locator("dd").all_inner_texts(), strict=True))
    assert terms["Rows"] == "6 for 4 rows of readings"
    assert terms["Predictions"] == "3: least -1.5, mean 0.12346, greatest 1e+308"
    assert terms["Rows by label"].startswith(f"worn: 30, {HOSTILE}: 20, label 0: 9, ")
    assert terms["Rows by label"].endswith("label 7: 2, and 3 with other labels")
    assert facts.get_by_text("worn: 30").get_attribute("title") == "label 8: 1\nother labels: 2"
    page.go_back()
    until(page, f"#run-{WINDOW} >> text=most often worn")
    heads = page.locator("#runs th").all_inner_texts()
    assert heads[6:9] == ["Rows", "Anomalies", "Predicted"]
    assert [cell[6:9] for cell in cells(page.locator("#runs tbody tr"))[:2]] == [
        ["3", "1", ""],
        ["6", "", "mean 0.12346; most often worn"],
    ]
    with_detectors = replace(predicted, tasks={**tasks, "detector": 1}, labels=(), other_labels=0)
    world.ledger.save_run(replace(world.ledger.read_run(WINDOW), predicted=with_detectors))
    page.locator("#runs").get_by_role("link", name="2026-11-21 11:00 – 12:00").click()
    until(page, f"#card-{WINDOW} .facts >> text=Anomalies")
    assert facts.get_by_text("Rows by label").count() == 0


@pytest.mark.parametrize("kinds", [(SinkKind.DELTA, SinkKind.SQL)])
def test_a_line_for_each_sink_says_what_it_lacks_and_a_run_shows_each_sink(page: Page, world: World) -> None:
    lines = page.locator("#sinks p")
    page.get_by_text("SQL table: no run is published yet").wait_for()
    run, results = world.ledger.read_run(WINDOW), []
    for kind, reason in ((SinkKind.DELTA, None), (SinkKind.SQL, SinkReason.DENIED)):
        entry = publications.ask_publication(None, kind, run, world.now)
        assert entry
        [entry] = world.sinks.save_publications([publications.give_to_job(entry, 1, world.now)])
        result = PublicationResult(WINDOW, 0, 0, reason=reason, message=HOSTILE if reason else "", rows=6)
        results.append(publications.settle(entry, result, world.now))
    world.sinks.save_publications(results)
    until(page, "#sinks >> text=1 run waits")
    assert lines.all_inner_texts() == [
        f"Delta table: all runs are published, the newest is {WINDOW}",
        f"SQL table: 1 run waits, {WINDOW} since 13:06:20 UTC: sink_denied: {HOSTILE}",
    ]
    lines.last.get_by_role("link", name=WINDOW).click()
    facts = page.locator(f"#card-{WINDOW} .facts")
    facts.get_by_text("Delta table").wait_for()
    terms = dict(zip(facts.locator("dt").all_inner_texts(), facts.locator("dd").all_inner_texts(), strict=True))
    assert terms["Delta table"] == "published, 6 rows"
    assert terms["SQL table"] == f"waits since 13:06:20 UTC: sink_denied: {HOSTILE}, next try at 13:07:20 UTC"


def test_a_page_without_sinks_shows_none_and_hardly_asks_for_them(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    for _ in range(8):
        with page.expect_response(lambda answer: answer.url.endswith("/api/quarantine")):
            page.clock.run_for(21_000)
    assert asked.count("quarantine") > 5
    assert asked.count("sinks") <= asked.count("quarantine") // 2  # once, and again what was cut off
    assert page.locator("#sinks").count() == 0


def test_a_list_of_runs_without_detectors_has_no_column_of_anomalies(page: Page, world: World) -> None:
    numbers = Predicted({"regressor": 4}, 6, predictions=PredictionRange(6, 1.0, 2.0, 3.0))
    for run in list(world.ledger._runs.values()):
        world.ledger.save_run(replace(world.ledger.read_run(run.id), predicted=numbers))
    until(page, "#runs th >> text=Predicted")
    page.locator("#runs th", has_text="Anomalies").wait_for(state="detached")
    assert "Anomalies" not in page.locator("#runs").inner_text()


def test_a_run_is_reprocessed_after_it_was_confirmed(page: Page, world: World) -> None:
    page.locator("#runs").get_by_role("link", name="2026-11-21 10:00 – 11:00").click()
    page.get_by_role("button", name="Reprocess").click()
    assert page.get_by_role("button", name="Redrive").count() == 0  # all of it is scored
    page.get_by_role("button", name="Leave it").click()
    assert wishes(world) == []
    page.get_by_role("button", name="Reprocess").click()
    assert page.locator("#reprocess-run").inner_text() == EARLIER.id
    page.get_by_role("button", name="Reprocess the run").click()
    page.get_by_text("further round requested").wait_for()
    assert wishes(world) == [(RequestKind.REPROCESS, EARLIER.id)]


def test_a_schedule_that_is_paused_is_told_at_the_top_and_resumed_by_a_button(page: Page, world: World) -> None:
    page.get_by_role("progressbar").wait_for()
    assert page.locator("#paused").inner_text() == ""
    world.wish(RequestKind.PAUSE, SCHEDULE)
    until(page, "#paused strong")
    assert page.locator("#paused").inner_text().startswith("The schedule is paused since 13:06:20 UTC")
    page.get_by_role("button", name="Resume the schedule").click()
    page.locator("#paused strong").wait_for(state="detached")
    assert wishes(world) == []


def test_what_is_in_quarantine_is_counted_and_listed(page: Page, world: World) -> None:
    page.get_by_role("progressbar").wait_for()
    world.ledger.add_quarantined(Quarantined(HOSTILE, "e1", Reason.CRASHED, "signal 11", WINDOW, world.now))
    until(page, "#quarantined")
    page.get_by_role("link", name="1 model is in quarantine").click()
    page.locator("#quarantine tbody tr").wait_for()
    assert cells(page.locator("#quarantine tbody tr")) == [
        [HOSTILE, "crashed", "signal 11", WINDOW, "13:06:20 UTC", Reason.CRASHED.advice]
    ]


def test_a_window_is_scored_after_it_was_confirmed(page: Page, world: World) -> None:
    page.get_by_role("button", name="Score a window").click()
    page.get_by_label("Window", exact=True).fill("20261119T0700Z-PT1H")
    page.get_by_role("button", name="Score it").click()
    page.locator("article").get_by_text("requested", exact=True).wait_for()
    assert wishes(world) == [(RequestKind.RUN, "20261119T0700Z-PT1H")]


def test_a_window_that_cannot_be_is_refused_in_the_words_of_the_app(page: Page, world: World) -> None:
    page.get_by_role("button", name="Score a window").click()
    page.get_by_label("Window", exact=True).fill("soon")
    page.keyboard.press("Enter")
    assert page.locator("dialog[open]").count() == 1  # the browser holds it back
    page.get_by_label("Window", exact=True).fill("20261121T0000Z-PT2H")
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("expected a window of PT1H as WINDOW tiles the day").wait_for()
    assert world.ledger.list_requests() == []


def test_an_app_that_dies_is_told_what_was_known_stays_and_it_recovers_by_itself(page: Page, site: Site) -> None:
    page.get_by_role("progressbar").wait_for()
    site.die()
    page.clock.run_for(6_000)
    page.get_by_role("alert").get_by_text("The app does not answer since 13:06:").wait_for()
    assert page.get_by_role("alert").inner_text().endswith("Trying again every few seconds.")
    assert page.get_by_role("progressbar").get_attribute("aria-valuenow") == "2"
    until(page, "body.old")
    site.start()
    until(page, "body:not(.old)")
    assert page.get_by_text("The app does not answer").count() == 0


def test_a_page_of_somebody_else_is_not_taken_for_an_answer(page: Page) -> None:
    page.get_by_role("progressbar").wait_for()
    page.route("**/api/runs?*", lambda route: route.fulfill(content_type="text/html", body="<p>Sign in</p>"))
    page.clock.run_for(21_000)
    page.get_by_role("alert").get_by_text("unexpected answer: 200").wait_for()
    assert page.locator("#runs tbody tr").count() == 25


def test_a_hidden_tab_asks_nothing_and_a_shown_one_asks_at_once(page: Page) -> None:
    with page.expect_response(f"**/api/runs/{OPEN}"):  # the last of its first questions: then it is quiet for a while
        page.reload()
    asked: list[str] = []
    hide = "yes => { Object.defineProperty(document, 'hidden', {value: yes, configurable: true}); \
            document.dispatchEvent(new Event('visibilitychange')) }"
    page.evaluate(hide, arg=True)
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(120_000)
    assert asked == []
    with page.expect_request(f"**/api/runs/{OPEN}"):
        page.evaluate(hide, arg=False)


def test_a_timer_that_does_not_beat_is_told_at_a_glance(page: Page, world: World) -> None:
    page.get_by_text("Scheduler: healthy").wait_for()
    world.ledger.save_heartbeat(replace(world.ledger.read_heartbeat(), trouble="the cluster was not seen"))
    page.clock.run_for(21_000)
    page.get_by_text("Error in the last tick: the cluster was not seen").wait_for()


def test_a_window_that_waits_and_one_that_waited_in_vain_are_told_in_plain_words(page: Page, world: World) -> None:
    page.get_by_text("Scheduler: healthy").wait_for()
    until = NOON + timedelta(hours=2)
    beat = world.ledger.read_heartbeat()
    world.ledger.save_heartbeat(replace(beat, waiting=OPEN, waits_until=until, at_limit=WINDOW))
    page.clock.run_for(21_000)
    page.get_by_text("Scheduler: degraded").wait_for()
    page.get_by_text(f"{OPEN} waits for its readings, until").wait_for()
    page.get_by_text(f"{WINDOW} waited in vain: its readings may be incomplete.").wait_for()


def test_how_a_run_waited_and_its_late_readings_are_facts_of_it(page: Page, world: World) -> None:
    late = Late(1234, 22, (HOSTILE, "fan"), 5)
    world.ledger.save_run(replace(world.ledger.read_run(WINDOW), waited=Waited.LIMIT, late=late))
    page.locator("#runs").get_by_role("link", name="2026-11-21 11:00 – 12:00").click()
    facts = page.locator(f"#card-{WINDOW} .facts")
    facts.get_by_text("to the limit; they may be incomplete").wait_for()
    found = facts.get_by_text("1,234 of the window before, of 22 devices")
    assert found.get_attribute("title") == f"{HOSTILE}\nfan\nand 20 more"
    facts.get_by_text("5 of earlier windows, which no run reads").wait_for()


def test_a_ledger_without_runs_says_what_will_happen(page: Page, world: World, site: Site) -> None:
    page.goto("about:blank")  # or it might ask once more about a run that is just being removed
    world.ledger._runs.clear()
    world.ledger._watched.clear()
    world.ledger._heartbeat = Heartbeat()
    page.goto(site.url)
    page.get_by_text("No runs yet.").wait_for()
    assert "The first tick of the scheduler opens the run of the last window that has closed" in page.inner_text("main")


@pytest.mark.parametrize("guard", [Authorizer(sha256(b"read").hexdigest(), sha256(b"operate").hexdigest())])
def test_a_key_is_asked_for_and_asked_for_again_when_it_is_wrong(page: Page, world: World) -> None:
    for key, why in [("guess", "expected a key"), ("operate", "the key is unknown")]:
        page.locator("#key-why").get_by_text(why).wait_for()
        page.get_by_label("Key", exact=True).fill(key)
        page.get_by_role("button", name="Use this key").click()
    page.get_by_role("progressbar").wait_for()
    assert page.locator("#runs tbody tr").count() == 25
    assert page.evaluate("Object.values(sessionStorage)") == ["operate"]
    assert world.ledger.read_run(WINDOW).phase is Phase.PARTIAL


def principal(*roles: str) -> dict[str, str]:
    """The header of somebody who signed in."""
    told = {"role_typ": "roles", "claims": [{"typ": "roles", "val": role} for role in roles]}
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(told).encode()).decode()}


@pytest.mark.parametrize("guard", [Authorizer(signs_in=True, public=True)])
def test_who_signed_in_is_asked_for_no_key_and_told_which_role_is_wanted(page: Page, world: World) -> None:
    page.context.set_extra_http_headers(principal())
    page.goto(page.url)
    page.get_by_text("Access denied").wait_for()
    assert "expected the app role Reader or Operator, got none" in page.inner_text("#outage")
    page.context.set_extra_http_headers(principal("Reader"))
    page.goto(page.url)
    page.get_by_role("button", name="Cancel this run").first.click()
    page.get_by_role("button", name="Cancel the run").click()
    page.get_by_text("expected the app role Operator, got Reader").wait_for()
    assert not page.locator("dialog[open]").count()
    assert wishes(world) == []
    page.context.set_extra_http_headers(principal("Operator"))
    page.get_by_role("button", name="Cancel this run").first.click()
    page.get_by_role("button", name="Cancel the run").click()
    page.get_by_text("requested; it starts with the next tick").first.wait_for()
    assert wishes(world) == [(RequestKind.CANCEL, OPEN)]


def test_a_sign_in_that_is_over_is_told(page: Page) -> None:
    page.get_by_role("progressbar").wait_for()
    page.route("**/api/**", lambda route: route.fulfill(status=302, headers={"Location": "/elsewhere"}))
    until(page, "#outage .banner")
    assert "the sign-in has expired; reload this page" in page.inner_text("#outage")


def test_the_nodes_of_the_cluster_are_told_and_until_when_it_wants_to_be_left_alone(page: Page, world: World) -> None:
    beat, soon = world.ledger.read_heartbeat(), world.now + timedelta(minutes=30)
    nodes = Nodes(3, 8, {"idle": 1, "running": 2})
    world.ledger.save_heartbeat(replace(beat, nodes=nodes, nodes_at=world.now, throttled_until=soon))
    page.goto(page.url)
    page.get_by_text("3 nodes (1 idle, 2 running), scaling up to 8").wait_for()
    page.get_by_text("The cluster is throttled until").wait_for()
