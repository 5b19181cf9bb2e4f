"""Jobs on a real Dask cluster: what happens to them when clients, workers and the scheduler die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from distributed import Client

import shared.adapters.dask_cluster
from local.dask import HOME, LocalDask, start
from shared.adapters.dask_cluster import DaskCluster
from shared.contract.errors import NotFound, Unavailable
from shared.contract.paths import log_path, parse_job_name
from shared.ports import JobStatus
from shared.state.runs import JobState
from tests.conftest import WORKERS
from tests.patience import patience
from tests.stack.dask_jobs import Job, eventually, fresh_run, gone, make_job, rival_of

CANCEL_LIMIT = patience(2)  # seconds


@pytest.fixture
def cluster(dask_cluster: LocalDask) -> DaskCluster:
    return DaskCluster(dask_cluster.address)


@pytest.fixture
def job(cluster: DaskCluster, tmp_path: Path) -> Iterator[Job]:
    made = make_job(tmp_path, fresh_run())
    yield made
    cluster.cancel([made.name])


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[LocalDask]:
    """For tests that break it."""
    made = start(tmp_path / "dask", max_workers=1, idle=1)
    yield made
    made.stop()


def see(cluster: DaskCluster, job: Job) -> JobStatus | None:
    return cluster.observe([job.spec.run]).get(job.name)


def state(cluster: DaskCluster, job: Job) -> JobState | None:
    seen = see(cluster, job)
    return seen.state if seen else None


def begin(cluster: DaskCluster, job: Job) -> None:
    cluster.submit([job.spec])
    eventually(lambda: job.starts)


def stored_log(tmp_path: Path, job: Job) -> Path:
    parsed = parse_job_name(job.name)
    assert parsed
    return tmp_path / "work" / log_path(*parsed)


def workers(cluster: LocalDask) -> list[psutil.Process]:
    """The workers' processes, among other children of the cluster's."""
    found = []
    for child in psutil.Process(cluster.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # just now
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_a_job_whose_worker_is_killed_is_lost_and_nothing_of_it_runs_on(own_cluster: LocalDask, tmp_path: Path) -> None:
    cluster, job = DaskCluster(own_cluster.address), make_job(tmp_path, fresh_run())
    begin(cluster, job)
    [worker] = workers(own_cluster)
    worker.kill()
    eventually(lambda: gone(job.pids), seconds=5)
    eventually(lambda: state(cluster, job) is JobState.LOST)
    eventually(stored_log(tmp_path, job).exists)
    assert stored_log(tmp_path, job).read_text() == (
        "begun\n\n-- stopped: it was cancelled, or its worker died: begun\n"
    )
    ends = []
    while JobState.SUCCEEDED not in ends:  # the worker is being replaced: on a busy machine that may cost a job or two
        again = make_job(tmp_path, fresh_run())
        again.end()
        cluster.submit([again.spec])
        eventually(lambda: state(cluster, again) in (JobState.SUCCEEDED, JobState.LOST))  # noqa: B023  # called at once
        ends.append(state(cluster, again))
        assert len(ends) < 5, ends
    assert job.starts == 1


def test_a_scheduler_that_restarted_knows_no_name_and_takes_it_again(tmp_path: Path) -> None:
    first = start(tmp_path / "dask", max_workers=1)
    cluster, job = DaskCluster(first.address), make_job(tmp_path, fresh_run())
    try:
        begin(cluster, job)
        before = job.pids
    finally:
        first.stop()
    eventually(lambda: gone(before), seconds=1)
    second = start(tmp_path / "dask", port=int(first.address.rpartition(":")[2]), max_workers=1)
    try:
        assert cluster.observe([job.spec.run]) == {}
        job.end()
        cluster.submit([job.spec])
        eventually(lambda: see(cluster, job) == JobStatus(JobState.SUCCEEDED, "exit code 0: begun"))
    finally:
        second.stop()
    assert job.starts == 2


def test_cancel_ends_every_process_of_the_job_and_leaves_nothing_published(
    dask_cluster: LocalDask, cluster: DaskCluster, job: Job
) -> None:
    begin(cluster, job)
    cluster.cancel([job.name])
    eventually(lambda: gone(job.pids), seconds=CANCEL_LIMIT)
    assert cluster.observe([job.spec.run]) == {}
    with Client(dask_cluster.address, set_as_default=False) as client:
        assert job.name not in client.list_datasets()


def test_cancel_ends_a_job_that_does_not_listen(cluster: DaskCluster, job: Job) -> None:
    begin(cluster, job)
    job.end("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)")
    eventually(lambda: "deaf" in cluster.read_log(job.name))
    cluster.cancel([job.name])
    eventually(lambda: gone(job.pids), seconds=CANCEL_LIMIT)


def test_a_client_that_dies_between_submit_and_publish_leaves_nothing_running(cluster: DaskCluster, job: Job) -> None:
    # The client hangs up the moment its job runs, just before it publishes.
    script = f"""
import distributed, os, pathlib, time
from datetime import timedelta
from shared.adapters.dask_cluster import DaskCluster
from shared.ports import JobSpec
async def die(*args, **kwargs):
    import asyncio
    while not pathlib.Path({str(job.folder / "starts")!r}).exists():
        await asyncio.sleep(0.02)
    os._exit(9)
distributed.Client.publish_dataset = die
spec = JobSpec({job.name!r}, {job.spec.run!r}, {job.spec.command!r}, timedelta(seconds=60))
DaskCluster({cluster._address!r}).submit([spec])
"""
    died = subprocess.run([sys.executable, "-c", script], cwd=HOME, check=False)
    assert died.returncode == 9
    eventually(lambda: gone(job.pids), seconds=CANCEL_LIMIT)
    assert cluster.observe([job.spec.run]) == {}
    job.end()
    cluster.submit([job.spec])
    eventually(lambda: state(cluster, job) is JobState.SUCCEEDED)


def test_two_clients_at_the_same_time_run_a_job_once(cluster: DaskCluster, tmp_path: Path) -> None:
    run = fresh_run()
    jobs = [make_job(tmp_path, run, index) for index in range(6)]
    for job in jobs:
        job.end()
    together = threading.Barrier(2)

    def submit() -> None:
        together.wait()
        cluster.submit([job.spec for job in jobs])

    clients = [threading.Thread(target=submit) for _ in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    eventually(lambda: {s.state for s in cluster.observe([run]).values()} == {JobState.SUCCEEDED})
    assert [job.starts for job in jobs] == [1] * len(jobs)


def test_of_two_clients_with_different_content_at_the_same_time_one_is_refused_each_name(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    run = fresh_run()
    firsts = [make_job(tmp_path, run, index) for index in range(6)]
    rivals = [rival_of(job, tmp_path) for job in firsts]
    for job in (*firsts, *rivals):
        job.end()
    together, refused = threading.Barrier(2), [set[str](), set[str]()]

    def submit(who: int, jobs: list[Job]) -> None:
        together.wait()
        for job in jobs:
            refused[who] |= set(cluster.submit([job.spec]))

    clients = [threading.Thread(target=submit, args=args) for args in enumerate((firsts, rivals))]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    names = {job.name for job in firsts}
    assert (refused[0] | refused[1], refused[0] & refused[1]) == (names, set())
    eventually(lambda: {s.state for s in cluster.observe([run]).values()} == {JobState.SUCCEEDED})
    expected = [(int(job.name not in refused[0]), int(job.name not in refused[1])) for job in firsts]
    assert [(job.starts, rival.starts) for job, rival in zip(firsts, rivals, strict=True)] == expected


def test_other_content_asked_for_right_after_a_cancel_is_what_runs(own_cluster: LocalDask, tmp_path: Path) -> None:
    # The one worker hears of both at once, before it has stopped what ran.
    cluster, job = DaskCluster(own_cluster.address), make_job(tmp_path, fresh_run())
    rival = rival_of(job, tmp_path)
    begin(cluster, job)
    [worker] = workers(own_cluster)
    worker.suspend()
    try:
        cluster.cancel([job.name])
        assert cluster.submit([rival.spec]) == {}
    finally:
        worker.resume()
    eventually(lambda: rival.starts)
    assert gone(job.pids)
    rival.end("print('the second')")
    eventually(lambda: see(cluster, job) == JobStatus(JobState.SUCCEEDED, "exit code 0: the second"))
    assert (job.starts, rival.starts) == (1, 1)


def test_what_has_no_worker_waits_as_queued(cluster: DaskCluster, tmp_path: Path) -> None:
    run = fresh_run()
    jobs = [make_job(tmp_path, run, index) for index in range(WORKERS + 1)]
    cluster.submit([job.spec for job in jobs])
    want = [JobState.QUEUED] + [JobState.RUNNING] * WORKERS
    try:
        eventually(lambda: sorted(s.state for s in cluster.observe([run]).values()) == want)
        eventually(lambda: sum(job.starts for job in jobs) == WORKERS)  # Dask calls it running before its command is
    finally:
        cluster.cancel([job.name for job in jobs])


def test_the_cluster_scales_to_zero_while_ended_jobs_are_still_told(own_cluster: LocalDask, tmp_path: Path) -> None:
    cluster, run = DaskCluster(own_cluster.address), fresh_run()
    jobs = [make_job(tmp_path, run, index) for index in range(2)]
    jobs[0].end()
    jobs[1].end("sys.exit(1)")
    cluster.submit([job.spec for job in jobs])
    want = {jobs[0].name: JobState.SUCCEEDED, jobs[1].name: JobState.FAILED}
    eventually(lambda: {name: s.state for name, s in cluster.observe([run]).items()} == want)
    eventually(lambda: not workers(own_cluster))
    assert {name: s.state for name, s in cluster.observe([run]).items()} == want


def test_an_end_that_was_told_long_ago_is_forgotten(
    cluster: DaskCluster, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.end()
    cluster.submit([job.spec])
    eventually(lambda: state(cluster, job) is JobState.SUCCEEDED)
    monkeypatch.setattr(shared.adapters.dask_cluster, "REMEMBERED", 0)
    cluster.observe([])
    assert cluster.observe([job.spec.run]) == {}


def test_the_log_of_a_crashed_job_is_stored_and_says_the_signal(cluster: DaskCluster, job: Job, tmp_path: Path) -> None:
    begin(cluster, job)
    job.end("print('about to crash', flush=True); os.kill(os.getpid(), 11)")
    eventually(lambda: see(cluster, job) == JobStatus(JobState.FAILED, "killed by SIGSEGV: about to crash"))
    assert stored_log(tmp_path, job).read_text() == ("begun\nabout to crash\n\n-- killed by SIGSEGV: about to crash\n")
    assert cluster.read_log(job.name) == "begun\nabout to crash\n"


def test_a_log_can_be_read_while_its_job_runs(cluster: DaskCluster, job: Job) -> None:
    begin(cluster, job)
    assert cluster.read_log(job.name) == "begun\n"


def test_of_a_long_log_the_end_is_kept(cluster: DaskCluster, job: Job, tmp_path: Path) -> None:
    begin(cluster, job)
    job.end("[print(f'line {n:07}', flush=n % 1000 == 0) for n in range(300_000)]; time.sleep(0.5); print('last')")
    eventually(lambda: see(cluster, job) == JobStatus(JobState.SUCCEEDED, "exit code 0: last"))
    assert cluster.read_log(job.name).endswith("line 0299999\nlast\n")
    stored = stored_log(tmp_path, job).read_text()
    assert stored.endswith("line 0299999\nlast\n\n-- exit code 0: last\n")
    assert len(stored) < 300_000


def test_a_log_that_cannot_be_stored_changes_nothing_of_the_outcome(
    cluster: DaskCluster, job: Job, tmp_path: Path
) -> None:
    (tmp_path / "work").rmdir()
    job.end("print('well')")
    cluster.submit([job.spec])
    eventually(lambda: see(cluster, job) == JobStatus(JobState.SUCCEEDED, "exit code 0: well"))


def test_a_command_dies_with_its_keeper(cluster: DaskCluster, job: Job) -> None:
    begin(cluster, job)
    command, child = map(psutil.Process, job.pids)
    keeper = command.parent()
    assert keeper
    keeper.kill()
    eventually(lambda: gone([command.pid]), seconds=1)
    child.kill()  # the kernel ends only the one
    eventually(lambda: see(cluster, job) == JobStatus(JobState.FAILED, "its supervisor was killed, status -9"))


def test_a_worker_that_cannot_run_our_code_says_so(dask_cluster: LocalDask, cluster: DaskCluster, job: Job) -> None:
    with Client(dask_cluster.address, set_as_default=False) as client:
        future = client.submit(exec, "import no_such_module", key=job.name)
        client.publish_dataset(future, name=job.name)
    eventually(lambda: state(cluster, job) is JobState.FAILED)
    seen = see(cluster, job)
    assert seen
    assert seen.detail.endswith("could not run it: ModuleNotFoundError(\"No module named 'no_such_module'\")")


def test_a_job_ends_when_its_time_is_up(cluster: DaskCluster, tmp_path: Path) -> None:
    job = make_job(tmp_path, fresh_run(), timeout=2)
    begin(cluster, job)
    eventually(lambda: state(cluster, job) is JobState.FAILED)
    seen = see(cluster, job)
    assert seen
    assert seen.detail == "stopped: it took longer than 2 s: begun"
    assert gone(job.pids)


def test_a_job_that_waits_has_no_log_yet(tmp_path: Path, own_cluster: LocalDask) -> None:
    cluster, job = DaskCluster(own_cluster.address), make_job(tmp_path, fresh_run())
    cluster.submit([job.spec])
    with pytest.raises(NotFound, match=job.name):
        cluster.read_log(job.name)


def test_a_scheduler_that_does_not_answer_is_unavailable(own_cluster: LocalDask) -> None:
    began = time.monotonic()
    os.kill(own_cluster.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match=own_cluster.address):
            DaskCluster(own_cluster.address).observe([])
    finally:
        os.kill(own_cluster.process.pid, signal.SIGCONT)
    assert time.monotonic() - began < patience(10)


def test_a_scheduler_out_of_reach_is_named_and_a_process_that_asked_ends_in_silence(dask_cluster: LocalDask) -> None:
    """Asked again where it was not silent: distributed 2026.8 may leave a time-out behind on a busy machine."""
    script = f"""
import threading
from shared.adapters.dask_cluster import DaskCluster
from shared.contract.errors import Unavailable
DaskCluster({dask_cluster.address!r}).observe(["20260101T0000Z-PT1H"])
try:
    DaskCluster("tcp://127.0.0.1:1").observe([])
except Unavailable as error:
    print(error)
    print(threading.active_count())
"""
    order = [sys.executable, "-X", "dev", "-c", script]
    for _ in range(2):
        told = subprocess.run(order, cwd=HOME, check=False, capture_output=True, text=True, timeout=patience(10))
        if not told.stderr:
            break
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == (
        "expected an answer of the Dask scheduler at tcp://127.0.0.1:1, "
        "got: Timed out trying to connect to tcp://127.0.0.1:1 after 5 s\n1\n"
    )


def test_the_local_cluster_ends_with_all_its_jobs_when_it_is_told_to(tmp_path: Path) -> None:
    local = start(tmp_path / "dask", max_workers=1)
    job = make_job(tmp_path, fresh_run())
    begin(DaskCluster(local.address), job)
    family = [child.pid for child in psutil.Process(local.process.pid).children(recursive=True)]
    local.stop()
    assert local.process.returncode == 0
    assert gone(job.pids)
    eventually(lambda: gone(family), seconds=1)  # Python's own resource tracker outlives it by a moment


def test_the_local_cluster_dies_with_its_parent(tmp_path: Path) -> None:
    script = f"""
import pathlib
from local.dask import start
print(start(pathlib.Path({str(tmp_path)!r})).process.pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert not gone([pid])
        parent.kill()
    eventually(lambda: gone([pid]), seconds=5)


def test_a_port_that_is_taken_is_said(own_cluster: LocalDask) -> None:
    port = own_cluster.address.rpartition(":")[2]
    order = [sys.executable, "-m", "local.dask", "--port", port]
    told = subprocess.run(order, cwd=HOME, check=False, capture_output=True, text=True, timeout=30)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == f"expected a Dask scheduler on 127.0.0.1:{port}, got: [Errno 98] Address already in use\n"
