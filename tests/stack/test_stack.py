"""The whole stack as `make demo` starts it, on free ports and in a folder of its own, to its end and interrupted."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from pyarrow import parquet
from pydantic import TypeAdapter

from local import demo, stack, web
from local.azurite import ACCOUNT, ACCOUNT_KEY
from local.fleet import DemoFleet, Stores
from local.screen import Screen
from shared.api.run_views import RunView, make_run_view
from shared.config import settings
from shared.config.fields import Settings
from shared.contract.errors import Misconfigured
from shared.state.runs import Phase, Run
from tests.clouds.stand_in import Answer, Request, StandIn
from tests.storm.world import NOON

ROOT = Path(__file__).parents[2]
DEVICES = 12
MINUTE = 60  # seconds; most of it is for a machine that does other things too


def free_ports(count: int) -> list[int]:
    """Ports where nothing listens now."""
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass(frozen=True, slots=True)
class Home:
    """A folder of its own, with settings that name free ports."""

    folder: Path
    storage: str
    dask: int
    host: int

    @property
    def environment(self) -> dict[str, str]:
        """That of a developer, without what the tests' own may say of our settings."""
        ours = set(settings.list_names())
        return {name: text for name, text in os.environ.items() if name not in ours}

    def command(self, order: str) -> list[str]:
        options = {"devices": DEVICES, "port": self.host, "folder": self.folder, "settings": self.settings_file}
        return [sys.executable, "-m", "local", order, *(f"--{name}={value}" for name, value in options.items())]

    @property
    def settings_file(self) -> Path:
        return self.folder / "settings.json"

    def start(self, order: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(order), cwd=ROOT, env=self.environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def stores(self) -> Stores:
        return Stores.open(Settings.model_validate({"storage": self.storage, "heartbeat": "* * * * * *"}))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    blob, queue, table, dask, host = free_ports(5)
    services = zip(("Blob", "Queue", "Table"), (blob, queue, table), strict=True)
    endpoints = ";".join(f"{service}Endpoint=http://127.0.0.1:{port}/{ACCOUNT}" for service, port in services)
    storage = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};{endpoints}"
    file = json.loads((ROOT / "local.settings.example.json").read_text())
    ports = {"STORAGE": storage, "AzureWebJobsStorage": storage, "DASK_SCHEDULER": f"tcp://127.0.0.1:{dask}"}
    file["Values"] |= ports | {"HEARTBEAT": "*/2 * * * * *", "CHUNK_SIZE": "5"}
    (tmp_path / "settings.json").write_text(json.dumps(file))
    return Home(tmp_path, storage, dask, host)


@pytest.fixture
def family() -> Iterator[list[psutil.Process]]:
    """Processes that the test noted down; those that are left at its end are killed."""
    noted: list[psutil.Process] = []
    yield noted
    for one in noted:
        if one.is_running():
            one.kill()


def said_until(process: subprocess.Popen[str], mark: str) -> str:
    """What it prints, up to the line that holds *mark*."""
    said = ""
    for line in process.stdout:
        said += line
        if mark in line:
            return said
    pytest.fail(f"it ended before it said {mark!r}: {said}")


def running(processes: list[psutil.Process]) -> list[str]:
    """The command lines of those that still run."""
    return [" ".join(one.cmdline()) for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_the_demo_scores_the_hour_that_is_due_and_run_finds_it_done_and_stays_up(home: Home) -> None:
    environment = {**home.environment, "SINKS": "delta"}
    demo = subprocess.run(home.command("demo"), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout
    assert "\r" not in demo.stdout
    assert f"scored   {DEVICES} of {DEVICES} models, {60 * DEVICES} rows" in demo.stdout
    assert "in 3 jobs on up to" in demo.stdout
    assert f"/tables/predictions, {60 * DEVICES} rows of this run as version 1\n" in demo.stdout
    run = home.start("run")
    said = said_until(run, "Ctrl-C stops all")
    result = re.compile(r"^(?:run|scored|found|took|output|faults|  ).*$", re.MULTILINE)
    assert result.findall(said) == result.findall(demo.stdout)[-len(result.findall(said)) :] != []
    assert "trained for each" not in said
    told = web.get(f"http://127.0.0.1:{home.host}/api/runs").json["items"][0]
    assert (told["phase"], told["asked_by"], told["models"]["scored"]) == ("succeeded", "schedule", DEVICES)
    assert rows_by_device(home.stores(), told["id"]) == {pump.id: 60 for pump in DemoFleet(DEVICES).pumps}
    run.send_signal(signal.SIGINT)
    assert (run.communicate()[0], run.returncode) == ("interrupted; all started processes have ended\n", 130)


def test_the_forecast_fleet_is_scored_beside_the_first_and_its_errors_are_shown(home: Home) -> None:
    demo = subprocess.run(
        [*home.command("demo"), "--fleet=forecast"],
        cwd=ROOT, env=home.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (demo.returncode, demo.stderr) == (0, ""), demo.stdout
    assert f"{DEVICES} meters, a ridge regression trained for each in" in demo.stdout
    assert f"scored   {DEVICES} of {DEVICES} models, {4 * DEVICES} rows\n" in demo.stdout
    assert re.search(r"^found    predictions of \d+\.\d\d to \d+\.\d\d kW, in the mean", demo.stdout, re.MULTILINE)
    assert "anomalies" not in demo.stdout
    counts = f"kW over {4 * DEVICES} of {4 * DEVICES} predictions; it is"
    (mean, of_yesterday) = re.search(rf"mean absolute error (\S+) {counts} (\S+) kW", demo.stdout).groups()
    assert 0 < float(mean) < 2 * float(of_yesterday)  # of one hour of few meters, which hour decides
    worst = re.findall(r"(meter-\d{5}) (\d\.\d{3}) kW", demo.stdout)
    assert len(worst) == 3
    assert [error for _, error in worst] == sorted((error for _, error in worst), reverse=True)
    assert float(worst[0][1]) >= float(mean)
    assert "/devstoreaccount1/forecast-predictions/date=" in demo.stdout


def rows_by_device(stores: Stores, run: str) -> Counter[str]:
    """What a consumer reads of a run."""
    parts = [blob.name for blob in stores.predictions.list_blobs() if f"/{run}-" in blob.name]
    tables = [parquet.read_table(io.BytesIO(stores.predictions.read(part))) for part in parts]
    return Counter(device for table in tables for device in table["device"].to_pylist())


@pytest.mark.parametrize(
    ("mark", "number"), [("Dask", signal.SIGTERM), ("trained", signal.SIGINT), ("models; jobs", signal.SIGINT)]
)
def test_interrupted_at_any_moment_it_leaves_no_process_behind(
    home: Home, family: list[psutil.Process], mark: str, number: signal.Signals
) -> None:
    demo = home.start("demo")
    said_until(demo, mark)
    family += psutil.Process(demo.pid).children(recursive=True)
    demo.send_signal(number)
    rest = demo.stdout.read()
    assert rest.splitlines()[-1] == "interrupted; all started processes have ended"
    assert "Traceback" not in rest
    # -2 is the same to a shell: CPython ends so where a signal came while it ran code in a text, as of dataclasses.
    assert (demo.wait(MINUTE) in (130, -2), running(family), len(family) > 1) == (True, [], True)
    demo.stdout.close()


@pytest.mark.parametrize(
    ("mark", "number"), [("Dask", signal.SIGTERM), ("stream ", signal.SIGTERM), ("stream ", signal.SIGHUP)]
)
def test_a_stream_that_is_interrupted_removes_what_it_stored_and_leaves_no_process_behind(
    home: Home, family: list[psutil.Process], mark: str, number: signal.Signals
) -> None:
    order = [sys.executable, "-m", "local.stream", "--devices=2", "--hours=3"]
    order += [f"--folder={home.folder}", f"--settings={home.settings_file}"]
    pipe = subprocess.PIPE
    stream = subprocess.Popen(order, cwd=ROOT, env=home.environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    said_until(stream, mark)
    family += psutil.Process(stream.pid).children(recursive=True)
    stream.send_signal(number)
    rest = stream.stdout.read()
    assert rest.splitlines()[-1] == "interrupted; all started processes have ended"
    assert "Traceback" not in rest
    assert (stream.wait(MINUTE), running(family), len(family) > 1) == (130, [], True)
    stream.stdout.close()


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("azurite", r"Azurite at .* has ended with -9|127\.0\.0\.1.*port"),  # or the request that it did not answer
        ("local.dask", "Dask at .* has ended with -9; its log: "),
    ],
)
def test_a_stream_whose_server_has_ended_says_so_and_ends(
    home: Home, family: list[psutil.Process], mark: str, message: str
) -> None:
    order = [sys.executable, "-m", "local.stream", "--devices=2", "--hours=24"]
    order += [f"--folder={home.folder}", f"--settings={home.settings_file}"]
    pipe = subprocess.PIPE
    stream = subprocess.Popen(order, cwd=ROOT, env=home.environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    said_until(stream, "stream ")
    family += psutil.Process(stream.pid).children(recursive=True)
    (server,) = [one for one in family if one.ppid() == stream.pid and mark in " ".join(one.cmdline())]
    server.kill()
    rest = stream.stdout.read()
    last = rest.splitlines()[-1]
    assert re.search(message, last)
    assert last.endswith("; all started processes have ended")
    assert "Traceback" not in rest
    assert (stream.wait(MINUTE), running(family)) == (1, [])
    stream.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a process that was killed")
def test_killed_it_takes_all_its_processes_with_it(home: Home, family: list[psutil.Process]) -> None:
    services = home.start("services")
    said_until(services, "ready")
    family += psutil.Process(services.pid).children(recursive=True)
    services.kill()
    services.communicate()
    deadline = time.monotonic() + MINUTE
    while running(family) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert running(family) == []


def test_services_that_run_already_are_used_and_left_alone(home: Home, family: list[psutil.Process]) -> None:
    first = home.start("services")
    said_until(first, "Ctrl-C stops them")
    family += psutil.Process(first.pid).children(recursive=True)
    second = home.start("services")
    said = said_until(second, "Ctrl-C stops them")
    second.send_signal(signal.SIGINT)
    second.communicate()
    assert said.count("already running; not stopped at the end") == 2
    assert len(running(family)) == len(family)
    assert list(home.stores().models.list_blobs()) == []  # Azurite answers
    first.send_signal(signal.SIGINT)
    first.communicate()
    assert running(family) == []


def test_a_port_that_another_process_has_is_told(home: Home) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", home.dask))
        other.listen()
        services = home.start("services")
        said = services.communicate()[0].splitlines()[-1]
    assert services.returncode == 2
    assert said.startswith(f"expected a Dask scheduler at tcp://127.0.0.1:{home.dask}, got something else there")


def test_a_host_that_is_not_ours_is_told(home: Home) -> None:
    with ThreadingHTTPServer(("127.0.0.1", home.host), BaseHTTPRequestHandler) as other, ExitStack() as entered:
        threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        try:
            with pytest.raises(Misconfigured, match=f"expected port {home.host} of .*choose another port"):
                entered.enter_context(stack.host(home.host, home.settings_file, home.folder))
        finally:
            other.shutdown()


def test_the_demo_refuses_a_storage_account_that_is_not_on_this_machine(tmp_path: Path) -> None:
    found = {"storage": "https://mine.blob.core.windows.net", "heartbeat": "* * * * * *"}
    with ExitStack() as entered, pytest.raises(Misconfigured, match="the demo uses only this machine"):
        entered.enter_context(stack.services(Settings.model_validate(found), tmp_path))


def test_the_demo_redrives_an_hour_that_failed_before_there_was_a_fleet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = settings.load_settings({"STORAGE": "UseDevelopmentStorage=true", "HEARTBEAT": "0 * * * * *"})
    view = make_run_view(Run(demo.due(found), Phase.FAILED, NOON), found.silence)
    empty = replace(view, message="no models in there")
    again = replace(view, round=1, models=replace(view.models, total=2, scored=2), phase=Phase.SUCCEEDED)
    told = [empty, empty, replace(again, phase=Phase.PLANNING), again]

    def answer(request: Request) -> Answer:
        if request.method == "POST":
            return Answer(202, {})
        return Answer(200, TypeAdapter(RunView).dump_python(told.pop(0), mode="json"))

    with StandIn(answer) as app:
        assert demo.follow(app.url, found, [], Screen())["round"] == 1
        asked = [(request.method, request.path) for request in app.requests]
    path = f"/api/runs/{view.id}"
    assert asked == [("GET", path), ("POST", f"{path}/redrive"), *[("GET", path)] * 3]
    assert "failed before there was a fleet; a further round is requested" in capsys.readouterr().out
