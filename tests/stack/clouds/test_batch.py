"""The app's jobs on Azure Batch: what is asked, how often, and what becomes of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.batch.cluster import BatchCluster
from shared.adapters.batch.tasks import build_command_line
from shared.contract import paths
from shared.contract.errors import NotFound, Unavailable
from shared.ports import JobSpec, JobStatus, Refusal
from shared.state.runs import JobState, Nodes
from tests.clouds.batch_service import BatchService
from tests.clouds.batch_world import IDENTITY, IMAGE, WORK, cluster_at, opened
from tests.stack.dask_jobs import eventually, fresh_run, make_job

RUN = "20261121T0700Z-PT1H"
JOB = f"test-{RUN}"
ADD = f"POST /jobs/{JOB}/addtaskcollection"
LIST = f"GET /jobs/{JOB}/tasks"
COUNTS = f"GET /jobs/{JOB}/taskcounts"


def spec(index: int = 0, *command: str, run: str = RUN, app: str = "test", attempt: int = 1) -> JobSpec:
    name = paths.make_job_name(app, run, paths.make_chunk_id(index), attempt)
    return JobSpec(name, run, command or ("python", "-c", f"print({index})"), timedelta(minutes=5))


def ended(cluster: BatchCluster, *runs: str) -> bool:
    return all(seen.state.over for seen in cluster.observe(runs or [RUN]).values())


def test_a_job_is_asked_for_as_a_task_in_a_container(idle: BatchService) -> None:
    job = spec(3, "python", "-m", "scorer", "--manifest", "https://a/b/m.json", "--attempt", "1")
    cluster_at(idle).submit([job])
    assert idle.jobs[JOB].body == {
        "id": JOB,
        "poolInfo": {"poolId": "scorer"},
        "constraints": {"maxWallClockTime": "P7D", "maxTaskRetryCount": 0},
    }
    assert idle.jobs[JOB].tasks["c00003-1"].body == {
        "id": "c00003-1",
        "commandLine": "/bin/sh -c 'exec python -m scorer --manifest https://a/b/m.json --attempt 1 2>&1'",
        "containerSettings": {
            "imageName": IMAGE,
            "containerRunOptions": "--rm",
            "workingDirectory": "containerImageDefault",
        },
        "environmentSettings": [
            {"name": "FLEETSCORE_DIGEST", "value": job.digest},
            {"name": "AZURE_CLIENT_ID", "value": "11"},
        ],
        "constraints": {"maxWallClockTime": "PT05M00S", "retentionTime": "PT03H00M00S", "maxTaskRetryCount": 0},
        "outputFiles": [
            {
                "filePattern": "../stdout.txt",
                "destination": {
                    "container": {
                        "containerUrl": WORK,
                        "path": f"runs/{RUN}/logs/c00003-1.log",
                        "identityReference": {"resourceId": IDENTITY},
                    }
                },
                "uploadOptions": {"uploadCondition": "taskcompletion"},
            }
        ],
    }


def test_without_identities_nothing_is_brought_to_storage_and_none_is_named(idle: BatchService) -> None:
    plain = BatchCluster(idle.server.url, "scorer", IMAGE, "test", WORK, credential=cluster_at(idle)._credential)
    plain.submit([spec()])
    body = idle.jobs[JOB].tasks["c00000-1"].body
    assert "outputFiles" not in body
    assert [setting["name"] for setting in body["environmentSettings"]] == ["FLEETSCORE_DIGEST"]


def test_each_call_asks_no_more_than_it_must(idle: BatchService) -> None:
    cluster = cluster_at(idle)

    def asked(_: object) -> list[str]:
        """What the call before has asked."""
        new, idle.server.requests[:] = idle.asked, []
        return new

    other = "20261121T0800Z-PT1H"
    assert asked(cluster.submit([spec()])) == [ADD, "POST /jobs", ADD]
    assert asked(cluster.submit([spec(1), spec(2)])) == [ADD]
    assert asked(cluster.submit([spec(1), spec(3)])) == [ADD, LIST]  # one is there: what was it asked for with?
    assert asked(cluster.submit([spec(i) for i in range(10, 260)])) == [ADD, ADD, ADD]
    assert asked(cluster.submit([])) == []
    assert asked(cluster.observe([RUN, other])) == [LIST, f"GET /jobs/test-{other}/tasks"]
    assert asked(cluster.observe([])) == []
    ended = [f"POST /jobs/{JOB}/tasks/c0000{i}-1/terminate" for i in (1, 2)]
    assert asked(cluster.cancel([spec(1).name, spec(2).name, "no name of ours", spec(app="another").name])) == ended
    assert asked(cluster.count_nodes()) == ["GET /pools/scorer", "GET /nodecounts"]
    assert asked(cluster.release(RUN)) == [f"DELETE /jobs/{JOB}"]
    assert asked(cluster.release(RUN)) == [f"DELETE /jobs/{JOB}"]
    with pytest.raises(NotFound):
        cluster.read_log("no-such-job")
    assert asked(None) == []


def test_a_thousand_and_one_tasks_are_seen_in_two_pages(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    specs = [spec(i) for i in range(1001)]
    cluster.submit(specs)
    idle.server.requests.clear()
    assert cluster.observe([RUN]) == {s.name: JobStatus(JobState.QUEUED, "Batch reports active") for s in specs}
    assert idle.asked == [LIST, LIST]


def test_what_is_no_job_of_ours_is_not_seen(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    cluster.submit([spec()])
    idle.jobs[JOB].tasks["by-hand"] = idle.jobs[JOB].tasks["c00000-1"]
    assert set(cluster.observe([RUN])) == {spec().name}


def test_a_run_whose_jobs_have_all_ended_is_counted_and_not_listed_again(batch_service: BatchService) -> None:
    cluster, other = cluster_at(batch_service), cluster_at(batch_service)

    def asked() -> list[str]:
        """What a look at the run asks."""
        batch_service.server.requests.clear()
        cluster.observe([RUN])
        return batch_service.asked

    cluster.submit([spec(0), spec(1, "sleep", "60")])
    eventually(lambda: cluster.observe([RUN])[spec(0).name].state is JobState.SUCCEEDED)
    assert asked() == [LIST]  # one goes on
    cluster.cancel([spec(1).name])
    eventually(lambda: ended(cluster))
    told = cluster.observe([RUN])
    assert [seen.state for seen in told.values()] == [JobState.SUCCEEDED, JobState.CANCELLED]
    assert (asked(), asked(), cluster.observe([RUN])) == ([COUNTS], [COUNTS], told)
    other.submit([spec(2, "sleep", "60")])
    assert (asked(), asked()) == ([COUNTS, LIST], [LIST])
    other.cancel([spec(2).name])
    eventually(lambda: ended(cluster))
    assert asked() == [COUNTS]
    cluster.submit([spec(3)])
    assert asked()[0] == LIST  # whatever is counted: the counts may lag
    eventually(lambda: ended(cluster))
    del batch_service.jobs[JOB]
    assert asked() == [COUNTS, LIST]
    assert cluster.observe([RUN]) == {}


def test_a_failed_jobs_last_words_are_looked_for_once_and_some_at_a_time(batch_service: BatchService) -> None:
    cluster = cluster_at(batch_service)
    cluster.submit([spec(i, "sh", "-c", f"echo words; echo last {i}; exit 3") for i in range(25)])
    eventually(lambda: all(seen.state.over for seen in cluster_at(batch_service).observe([RUN]).values()))
    batch_service.server.requests.clear()
    for files, told in [(20, 20), (5, 25), (0, 25)]:
        details = [seen.detail for _, seen in sorted(cluster.observe([RUN]).items())]
        assert details == [f"exit code 3: last {i}" if i < told else "exit code 3" for i in range(25)]
        assert len(batch_service.asked) == 1 + 2 * files
        batch_service.server.requests.clear()


def test_the_words_of_a_job_whose_node_has_gone_are_missed_and_not_asked_for_again(batch_service: BatchService) -> None:
    cluster = cluster_at(batch_service)
    cluster.submit([spec(0, "sh", "-c", "echo why; exit 3")])
    batch_service.task(spec().name).node_gone = True
    eventually(lambda: ended(cluster))
    batch_service.server.requests.clear()
    assert cluster.observe([RUN]) == {spec().name: JobStatus(JobState.FAILED, "exit code 3")}
    assert batch_service.asked == [COUNTS]
    with pytest.raises(NotFound, match=f"no output of job {spec().name}"):
        cluster.read_log(spec().name)


def test_a_job_that_takes_too_long_says_so(batch_service: BatchService) -> None:
    cluster = cluster_at(batch_service)
    long = JobSpec(spec().name, RUN, ("sleep", "60"), timedelta(seconds=0.2))
    cluster.submit([long])
    eventually(lambda: ended(cluster))
    [seen] = cluster.observe([RUN]).values()
    assert (seen.state, seen.detail.split(":")[0]) == (JobState.FAILED, "took too long")


def test_a_log_is_the_end_of_what_was_printed_by_both_streams(batch_service: BatchService) -> None:
    cluster = cluster_at(batch_service)
    cluster.submit([spec(0, "sh", "-c", "echo out; echo err >&2"), spec(1, "true")])
    script = "import sys; sys.stdout.write('a' * 300000 + 'the end')"
    cluster.submit([spec(2, "python", "-c", script)])
    eventually(lambda: ended(cluster))
    batch_service.server.requests.clear()
    assert cluster.read_log(spec(0).name) == "out\nerr\n"
    assert cluster.read_log(spec(1).name) == ""
    assert cluster.read_log(spec(2).name) == "a" * (256 * 1024 - 7) + "the end"
    files = [f"GET /jobs/{JOB}/tasks/c0000{i}-1/files" for i in range(3)]
    assert batch_service.asked == [files[0], f"{files[0]}/stdout.txt", files[1], files[2], f"{files[2]}/stdout.txt"]


def test_a_log_of_a_job_that_waits_is_not_there(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    cluster.submit([spec()])
    for name in (spec().name, spec(1).name, spec(run="20261121T0800Z-PT1H").name):
        with pytest.raises(NotFound, match=name):
            cluster.read_log(name)


def test_the_node_brings_a_jobs_output_to_where_the_api_looks(batch_service: BatchService) -> None:
    brought: list[tuple[str, str, bytes]] = []
    batch_service.upload = lambda *what: brought.append(what)
    cluster = cluster_at(batch_service)
    cluster.submit([spec(0, "sh", "-c", "echo hello; exit 1")])
    eventually(lambda: ended(cluster))
    cluster.observe([RUN])
    assert brought == [(WORK, paths.log_path(RUN, "c00000", 1), b"hello\n")]


ODD = [
    "",
    " ",
    "a  b",
    "'",
    '"',
    "a'b\"c",
    "$HOME",
    "$(id)",
    "`id`",
    "\\",
    "\\\\n",
    "a\nb",
    "*",
    "~",
    "#",
    ";",
    "& |",
    "é",
]


def test_odd_arguments_arrive_as_they_were_sent(batch_service: BatchService) -> None:
    cluster = cluster_at(batch_service)
    cluster.submit([spec(0, "python", "-c", "import sys; print(ascii(sys.argv[1:]))", *ODD)])
    eventually(lambda: ended(cluster))
    assert cluster.read_log(spec().name) == f"{ODD!a}\n"


def test_the_commands_that_we_make_hold_no_quotes_within_quotes() -> None:
    words = (
        "python",
        "-m",
        "scorer",
        "--manifest",
        "https://a1.blob.core.windows.net/fleetscore/runs/r/manifests/0.json",
    )
    assert build_command_line((*words, "--attempt", "12", "--careful")).count("'") == 2


def test_nodes_of_both_kinds_are_counted_together(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    idle.counts, idle.targets = ({"idle": 1, "running": 2}, {"running": 3, "leavingPool": 1, "preempted": 2}), (3, 8)
    assert cluster.count_nodes() == Nodes(9, 11, {"idle": 1, "running": 5, "leaving pool": 1, "preempted": 2})
    idle.counts, idle.targets = ({}, {}), (0, 0)
    assert cluster.count_nodes() == Nodes(0, 0, {})


def test_a_missing_pool_is_named(idle: BatchService) -> None:
    cluster = cluster_at(idle)
    idle.pool = "another"
    with pytest.raises(Unavailable, match=r"PoolNotFound.*Create the pool, or set BATCH_POOL to one that exists"):
        cluster.count_nodes()


@pytest.mark.parametrize(("letters", "fits"), [(44, True), (45, False)])
def test_a_batch_jobs_id_has_at_most_64_characters(idle: BatchService, letters: int, fits: bool) -> None:
    app = "a" * letters
    refusals = cluster_at(idle, app=app).submit([spec(0, app=app), spec(1, app=app)])
    assert list(idle.jobs) == ([f"{app}-{RUN}"] if fits else [])
    assert set(refusals) == (set() if fits else {spec(0, app=app).name, spec(1, app=app).name})
    assert all(refusal.message.endswith("PropertyName=id") and not refusal.name_taken for refusal in refusals.values())


def test_a_task_with_too_many_digits_is_refused_alone(idle: BatchService) -> None:
    long = JobSpec(f"{JOB}-c{'0' * 62}-1", RUN, ("true",), timedelta(minutes=1))
    why = (
        f"Azure Batch at {idle.server.url} rejects {long.name}: InvalidPropertyValue: Batch says InvalidPropertyValue."
    )
    assert cluster_at(idle).submit([spec(), long]) == {long.name: Refusal(why)}
    assert list(idle.jobs[JOB].tasks) == ["c00000-1"]


def test_what_is_too_large_for_one_request_is_sent_by_halves(idle: BatchService) -> None:
    cluster, long = cluster_at(idle), "x" * 20_000
    assert cluster.submit([spec(i, "echo", long) for i in range(100)]) == {}
    assert len(idle.jobs[JOB].tasks) == 100
    assert list(cluster.submit([spec(200, "echo", "x" * 2**20)])) == [spec(200).name]


def test_a_preempted_job_is_started_again_by_batch(tmp_path: Path) -> None:
    with opened(tmp_path / "batch", slots=1) as service:
        cluster, run = cluster_at(service), fresh_run()
        first, second = make_job(tmp_path, run), make_job(tmp_path, run, index=1)
        cluster.submit([first.spec, second.spec])
        eventually(lambda: first.starts or second.starts)
        taken, other = (first, second) if first.starts else (second, first)
        service.preempt(taken.name)
        eventually(lambda: other.starts)
        away = JobStatus(JobState.QUEUED, "its node was lost; it waits for another")
        assert cluster.observe([run])[taken.name] == away
        other.end("sys.exit(0)")
        eventually(lambda: taken.starts == 2)
        assert cluster.observe([run])[taken.name] == JobStatus(JobState.RUNNING, "on tvm-1")
        taken.end("sys.exit(0)")
        eventually(lambda: ended(cluster, run))
        assert {seen.state for seen in cluster.observe([run]).values()} == {JobState.SUCCEEDED}
        assert (taken.starts, other.starts) == (2, 1)


def test_nothing_of_azure_is_imported_before_it_is_used() -> None:
    script = (
        "import sys; from shared.adapters.batch.cluster import BatchCluster; "
        "BatchCluster('https://a.b.batch.azure.com', 'p', 'i', 'a', 'https://w', 'id', 'c'); "
        "print([name for name in sys.modules if name.split('.')[0] in ('azure', 'requests', 'msal')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
