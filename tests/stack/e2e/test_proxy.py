"""Bad weather between the host and its storage: what the tests' proxy does to a request, and what it does to a run."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from local.dask import LocalDask
from shared.contract.errors import FleetError, Unavailable
from shared.state.requests import Request, RequestKind
from shared.state.runs import Heartbeat, Phase
from tests.stack.dask_jobs import eventually
from tests.stack.e2e.fleets import HOUR, give_models, give_readings
from tests.stack.e2e.place import Place, over, tick_until
from tests.stack.proxy import BUSY_JSON, BUSY_XML, Fault, Weather, proxy

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
RUN = "20261121T1100Z-PT1H"
DEVICES = [f"pump{i}" for i in range(8)]
NODES = "object_store"  # begins the User-Agent of what the nodes send
DECK = {Fault.NONE: 28, **{fault: 1 for fault in Fault if fault is not Fault.NONE}}


@dataclass(frozen=True, slots=True)
class Server:
    """A plain server that answers each request with `answer`, and the requests that it saw."""

    address: tuple[str, int]
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    class Plain(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            found.seen.append((self.command, self.path, dict(self.headers), body))
            self.send_response(201)
            self.send_header("ETag", '"1"')
            self.send_header("content-length", "6")  # as Azurite spells it
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else b"answer")

        do_GET = do_HEAD = do_PUT = answer  # noqa: N815  # http.server's names

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Plain) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        found = Server(("127.0.0.1", listening.server_port))
        yield found
        listening.shutdown()
        thread.join()


def ask(
    port: int, method: str = "PUT", path: str = "/a", body: bytes = b"new", **headers: str
) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()


def always(fault: Fault) -> Weather:
    return Weather({fault: 1}, seed=0)


def test_in_calm_weather_a_request_and_its_answer_pass_as_they_are(server: Server) -> None:
    path = "/a%2Fb/c%20d?comp=list&prefix=x%2Fy%23"
    headers = {"X-Ms-Date": "today", "Authorization": "signed", "If-None-Match": "*"}
    with proxy(server.address, always(Fault.NONE)) as port:
        answer, body = ask(port, path=path, **headers)
        head, nothing = ask(port, "HEAD", body=b"")
    (method, seen_path, seen, sent), _ = server.seen
    assert (method, seen_path, sent) == ("PUT", path, b"new")
    assert headers.items() <= seen.items()
    assert (seen["Host"], seen["Content-Length"]) == (f"127.0.0.1:{port}", "3")
    assert (answer.status, answer.headers["ETag"], body) == (201, '"1"', b"answer")
    assert (head.status, head.headers["Content-Length"], nothing) == (201, "6", b"")


def test_one_connection_carries_many_requests(server: Server) -> None:
    with proxy(server.address, always(Fault.NONE)) as port, closing(HTTPConnection("127.0.0.1", port)) as connection:
        for body in (b"one", b"two"):
            connection.request("PUT", "/a", body)
            socket = connection.sock
            assert connection.getresponse().read() == b"answer"
            assert connection.sock is socket is not None
    assert [sent for *_, sent in server.seen] == [b"one", b"two"]


@pytest.mark.parametrize(("fault", "arrived"), [(Fault.DROPPED, 0), (Fault.LOST, 1), (Fault.LATE, 1), (Fault.CUT, 1)])
def test_without_a_whole_answer_a_request_may_have_arrived_or_not(server: Server, fault: Fault, arrived: int) -> None:
    with proxy(server.address, Weather({fault: 1}, seed=0, moment=1)) as port:
        with pytest.raises(IncompleteRead if fault is Fault.CUT else (HTTPException, ConnectionError)):
            ask(port)
        if fault is Fault.LATE:
            assert server.seen == []
            eventually(lambda: server.seen)
        assert [sent for *_, sent in server.seen] == [b"new"] * arrived


@pytest.mark.parametrize(("fault", "after"), [(Fault.BUSY, None), (Fault.BUSY_UNTIL, "20")])
def test_a_busy_service_says_so_as_azure_storage_does_and_does_nothing(
    server: Server, fault: Fault, after: str | None
) -> None:
    with proxy(server.address, always(fault)) as port:
        for headers, form, said in (({}, "xml", BUSY_XML), ({"DataServiceVersion": "3.0"}, "json", BUSY_JSON)):
            answer, body = ask(port, **headers)
            assert (answer.status, answer.headers["x-ms-error-code"], body) == (503, "ServerBusy", said.encode())
            assert (answer.headers["Content-Type"], answer.headers["Retry-After"]) == (f"application/{form}", after)
    assert server.seen == []


def test_a_delayed_request_is_answered_after_a_moment(server: Server) -> None:
    with proxy(server.address, always(Fault.DELAYED)) as port:
        began = time.monotonic()
        assert ask(port)[1] == b"answer"
        assert time.monotonic() - began >= 0.3


def test_whom_the_weather_spares_meets_none(server: Server) -> None:
    weather = Weather({Fault.DROPPED: 1}, seed=0, spared="node")
    with proxy(server.address, weather) as port:
        assert ask(port, **{"User-Agent": "node/1"})[1] == b"answer"
        with pytest.raises((HTTPException, ConnectionError)):
            ask(port, **{"User-Agent": "host/1"})
    assert weather.dealt == {Fault.DROPPED: 1}


def test_a_fault_is_aimed_at_requests_by_their_path(server: Server) -> None:
    def aim(method: str, path: str) -> Fault:
        return Fault.DROPPED if (method, path) == ("PUT", "/log") else Fault.NONE

    with proxy(server.address, always(Fault.NONE), aim=aim) as port:
        assert ask(port, path="/a")[0].status == 201
        with pytest.raises((HTTPException, ConnectionError)):
            ask(port, path="/log")
        assert ask(port, "GET", "/log", b"")[0].status == 201
    assert [(method, path) for method, path, *_ in server.seen] == [("PUT", "/a"), ("GET", "/log")]


def test_a_seed_deals_the_same_faults_again_and_every_deck_holds_them_all() -> None:
    deck = {Fault.NONE: 5, Fault.LOST: 2, Fault.BUSY: 1}
    dealt = [
        [weather.deal("") for _ in range(24)] for weather in (Weather(deck, 7), Weather(deck, 7), Weather(deck, 8))
    ]
    assert dealt[0] == dealt[1] != dealt[2]
    assert [Counter(dealt[0][i : i + 8]) for i in (0, 8, 16)] == [deck] * 3


def through(place: Place, weather: Weather, stack: ExitStack) -> str:
    """The setting of a storage account that is reached through proxies in this weather."""
    storage = place.environment["STORAGE"]
    for what in ("Blob", "Table"):
        port = re.search(f"{what}Endpoint=http://127.0.0.1:(\\d+)/", storage)[1]
        storage = storage.replace(f":{port}/", f":{stack.enter_context(proxy(('127.0.0.1', int(port)), weather))}/")
    return storage


@pytest.mark.parametrize("fault", [Fault.DROPPED, Fault.LOST, Fault.CUT, Fault.BUSY_UNTIL])
def test_in_any_weather_the_adapters_raise_errors_of_ours_only(place: Place, fault: Fault) -> None:
    calm, wish = place.plane(), Request(RequestKind.CANCEL, RUN, NOW)
    calm.ledger.add_request(wish)
    beat = calm.ledger.save_heartbeat(Heartbeat(trouble="none"))
    calm.work.create("there", b"something")
    with ExitStack() as stack:
        plane = place.plane(STORAGE=through(place, always(fault), stack))
        ledger, work = plane.ledger, plane.work
        calls: list[Callable[[], object]] = [
            ledger.read_heartbeat,
            ledger.list_requests,
            lambda: ledger.list_runs(9),
            lambda: ledger.save_heartbeat(beat),
            lambda: ledger.add_request(replace(wish, target="another")),
            lambda: ledger.remove_request(wish),
            lambda: list(work.list_blobs()),
            lambda: list(work.describe_blobs("")),
            lambda: work.read_properties("there"),
            lambda: work.read("there"),
            lambda: work.create("new", b"new"),
            lambda: plane.predictions.copy(work, "there", "copied", None),
            lambda: work.delete("gone"),
        ]
        with ThreadPoolExecutor(len(calls)) as pool:  # most of the time they wait
            raised = [done.exception() for done in [pool.submit(call) for call in calls]]
    if fault in (Fault.LOST, Fault.CUT):  # what has taken effect shows when the client asks again
        assert [error for error in raised if not isinstance(error, FleetError | None)] == []
    else:
        assert [type(error) for error in raised] == [Unavailable] * len(calls)


@pytest.mark.parametrize(("seed", "spared"), [(1, NODES), (2, "")], ids=["host", "host-and-nodes"])
def test_a_run_in_bad_weather_leaves_the_rows_of_one_in_calm(
    place: Place, nodes: LocalDask, seed: int, spared: str
) -> None:
    give_models(place, DEVICES, pickled=True)
    give_readings(place, DEVICES, NOW.replace(minute=0) - HOUR)
    calm = place.beside("calm")
    tick_until(calm.plane(), NOW, over(calm.plane(), RUN))

    weather, began = Weather(DECK, seed, spared), time.monotonic()
    with ExitStack() as stack:
        storage = through(place, weather, stack)
        tick_until(
            place.plane(STORAGE=storage, DASK_SCHEDULER=nodes.address, CHUNK_SIZE="3", MAX_RETRIES="20"),
            NOW,
            over(place.plane(), RUN),
            lambda now: now + timedelta(seconds=time.monotonic() - began),
            bears=(Unavailable,),
        )
    assert set(weather.dealt) == set(DECK), weather
    runs = [one.plane().ledger.list_runs(9).items for one in (calm, place)]
    assert [[(run.id, run.phase, run.models, run.tally.scored, run.tally.rows) for run in found] for found in runs] == [
        [(RUN, Phase.SUCCEEDED, 8, 8, 480)]
    ] * 2
    pd.testing.assert_frame_equal(place.rows(), calm.rows())
