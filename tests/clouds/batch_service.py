"""A stand-in for the Batch service of one account, as far as the app asks it; tasks really run, on LocalNodes.

Not called `batch`: pytest puts `tests` on the path, where a module `azure.batch` would hide the SDK's.

What goes out has only fields of the SDK's own models, and all that they demand; what comes in is held to the same.
Errors have the form and the codes of Batch (https://learn.microsoft.com/rest/api/batchservice/batch-status-and-error-codes).
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from azure.batch import models
from isodate import parse_duration

from tests.clouds.nodes import LocalNodes, NodeJob
from tests.clouds.stand_in import Answer, Request, StandIn

VERSION = "2025-06-01"
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
NODE_STATES = [field._rest_name for field in models.BatchNodeCounts({})._attr_to_rest_field.values()]
_incarnations = itertools.count()


@dataclass(slots=True)
class Task:
    """A task as it was asked for, and the name by which LocalNodes runs it."""

    body: Mapping[str, Any]
    run_as: str
    ended_by_request: bool = False
    requeues: int = 0
    uploaded: bool = False
    says: Mapping[str, Any] = field(default_factory=dict)  # instead of what is so
    node_gone: bool = False


@dataclass(slots=True)
class Job:
    body: Mapping[str, Any]
    state: str = "active"
    tasks: dict[str, Task] = field(default_factory=dict)
    left: int = 0  # requests that a job which is being deleted still answers


@dataclass(slots=True)
class BatchService:
    """One account with one pool. A test may change every field."""

    nodes: LocalNodes
    authority: Path | None = None  # speak https
    pool: str = "scorer"
    page: int = 1000  # tasks
    quota: int = 100  # active jobs
    deleting_takes: int = 0  # requests that ask a job meanwhile
    targets: tuple[int, int] = (0, 0)  # dedicated, low priority
    counts: tuple[Mapping[str, int], Mapping[str, int]] | None = None  # of both kinds, instead of what is so
    knows: Callable[[Request], bool] = lambda _: True  # whether who asks may ask
    upload: Callable[[str, str, bytes], None] = lambda *_: None  # (URL of the container, path, output) of ended tasks
    entries: dict[str, tuple[str, str]] = field(default_factory=dict)  # (status, code) of a task's next addition
    jobs: dict[str, Job] = field(default_factory=dict)
    server: StandIn = field(init=False)

    def __post_init__(self) -> None:
        self.server = StandIn(self._answer, self.authority)

    @property
    def asked(self) -> list[str]:
        """What was asked so far, in order: `POST /jobs`."""
        return [f"{request.method} {request.path}" for request in self.server.requests]

    def task(self, name: str) -> Task:
        """A task by the app's name for the job."""
        return next(t for job, j in self.jobs.items() for task, t in j.tasks.items() if f"{job}-{task}" == name)

    def preempt(self, name: str) -> None:
        """Take the node of a task away."""
        self.nodes.preempt(self.task(name).run_as)

    def close(self) -> None:
        self.server.close()
        self.nodes.close()

    def _answer(self, request: Request) -> Answer:
        if not self.knows(request):
            return error(401, "AuthenticationFailed", "Server failed to authenticate the request.")
        if request.query.get("api-version") != VERSION:
            return error(400, "UnsupportedRequestVersion", "The specified request version is not supported.")
        typed = request.headers.get("content-type", "")
        if request.body and typed != "application/json; odata=minimalmetadata":
            return error(400, "InvalidHeaderValue", f"Content-Type is {typed!r}")
        match [request.method, *request.path.strip("/").split("/")]:
            case ["POST", "jobs"]:
                return self._create(request.json)
            case ["GET", "pools", pool]:
                return self._pool(pool, request.query)
            case ["GET", "nodecounts"]:
                return self._node_counts(request.query)
            case [method, "jobs", name, *rest]:
                return self._of_job(method, name, rest, request)
        return error(400, "InvalidUri", "The requested URI does not represent any resource on the server.")

    def _create(self, body: Mapping[str, Any]) -> Answer:
        checked(models.BatchJobCreateOptions, body)
        name = body["id"]
        if not ID.fullmatch(name):
            return error(400, "InvalidPropertyValue", "The value of a property is invalid.", PropertyName="id")
        if there := self._find(name):
            return _not_active(there) or error(409, "JobExists", "The specified job already exists.")
        if sum(job.state == "active" for job in self.jobs.values()) >= self.quota:
            return error(409, "ActiveJobAndScheduleQuotaReached", "Active job and schedule quota has been reached.")
        self.jobs[name] = Job(body)
        return Answer(201)

    def _find(self, name: str) -> Job | None:
        """A job, whose id Batch does not tell apart by case; none that is deleted by now."""
        found = next((key for key in self.jobs if key.lower() == name.lower()), None)
        if found is None:
            return None
        job = self.jobs[found]
        if job.state == "deleting":
            job.left -= 1
            if job.left < 0:
                del self.jobs[found]
                return None
        return job

    def _of_job(self, method: str, name: str, rest: list[str], request: Request) -> Answer:
        job = self._find(name)
        if job is None:
            return error(404, "JobNotFound", "The specified job does not exist.")
        match [method, *rest]:
            case ["DELETE"]:
                if job.state == "deleting":
                    return _not_active(job)
                for task in job.tasks.values():
                    self.nodes.stop(task.run_as)
                job.state, job.left = "deleting", self.deleting_takes
                return Answer(202)
            case ["POST", "addtaskcollection"]:
                return _not_active(job) or self._add(name, job, request)
            case ["GET", "tasks" | "taskcounts" as what]:
                return self._list(name, job, request.query) if what == "tasks" else Answer(200, self._counts(job))
            case [_, "tasks", task, *further]:
                there = next((t for key, t in job.tasks.items() if key.lower() == task.lower()), None)
                if there is None:
                    return error(404, "TaskNotFound", "The specified task does not exist.")
                return self._of_task(method, job, there, further, request)
        return error(400, "InvalidUri", "The requested URI does not represent any resource on the server.")

    def _counts(self, job: Job) -> Mapping[str, Any]:
        """By state, and by how they ended; a task takes one slot."""
        looks = [self.nodes.look(task.run_as) for task in job.tasks.values()]
        states = Counter(look.state for look in looks)
        well = sum(look.state == "ended" and look.code == 0 and not look.killed for look in looks)
        counts = {
            "active": states["waiting"],
            "running": states["running"],
            "completed": states["ended"],
            "succeeded": well,
            "failed": states["ended"] - well,
        }
        found = {"taskCounts": counts, "taskSlotCounts": counts}
        checked(models.BatchTaskCountsResult, found)
        return found

    def _add(self, name: str, job: Job, request: Request) -> Answer:
        if len(request.body) > 2**20:
            return error(413, "RequestBodyTooLarge", "The size of the request body exceeds the maximum size permitted.")
        body = request.json
        checked(models.BatchTaskGroup, body)
        if len(body["value"]) > 100:
            return error(400, "InvalidPropertyValue", "The value of a property is invalid.", PropertyName="value")
        results = [self._add_one(name, job, task) for task in body["value"]]
        answer = {"value": results[::-1]}  # in an order that nobody promised
        checked(models.BatchCreateTaskCollectionResult, answer)
        return Answer(body=answer)

    def _add_one(self, name: str, job: Job, body: Mapping[str, Any]) -> Mapping[str, Any]:
        task = body["id"]
        status, code = self.entries.pop(task, ("success", ""))
        if not ID.fullmatch(task):
            status, code = "clienterror", "InvalidPropertyValue"
        elif task.lower() in map(str.lower, job.tasks):
            status, code = "clienterror", "TaskExists"
        if status != "success":
            return {"status": status, "taskId": task, "error": error(0, code, f"Batch says {code}.").body}
        settings = {setting["name"]: setting["value"] for setting in body.get("environmentSettings", ())}
        environment = {"AZ_BATCH_JOB_ID": name, "AZ_BATCH_TASK_ID": task, **settings}
        run_as = f"{name}/{task}/{next(_incarnations)}"
        timeout = parse_duration(body["constraints"]["maxWallClockTime"]).total_seconds()
        # Batch splits the line and runs no shell; LocalNodes runs one, for which the words are put together again.
        self.nodes.add(run_as, f"exec {shlex.join(shlex.split(body['commandLine']))}", environment, timeout)
        job.tasks[task] = Task(body, run_as)
        where = f"{self.server.url}/jobs/{name}/tasks/{task}"
        return {"status": status, "taskId": task, "eTag": "0x8D3D623CD661246", "lastModified": now(), "location": where}

    def _list(self, name: str, job: Job, query: Mapping[str, str]) -> Answer:
        if gone := (_not_active(job) if job.state == "deleting" else None):
            return gone
        start, size = int(query.get("$skiptoken", 0)), min(self.page, int(query.get("maxresults", 1000)))
        chosen = sorted(job.tasks.items())[start : start + size]
        whole = [self.describe(name, task_id, task) for task_id, task in chosen]
        for description in whole:
            checked(models.BatchTask, description)
        fields = query["$select"].split(",") if "$select" in query else None
        body: dict[str, Any] = {
            "value": [{k: v for k, v in one.items() if fields is None or k in fields} for one in whole]
        }
        if start + size < len(job.tasks):
            further = urlencode({**query, "$skiptoken": str(start + size)})
            body["odata.nextLink"] = f"{self.server.url}/jobs/{name}/tasks?{further}"
        return Answer(body=body)

    def describe(self, job: str, name: str, task: Task) -> dict[str, Any]:
        """A task in full, as Batch would describe it."""
        seen = self.nodes.look(task.run_as)
        self._upload(task, seen)
        state = {"waiting": "active", "running": "running", "ended": "completed"}[seen.state]
        before = {"active": "running" if seen.starts else None, "running": "active", "completed": "running"}[state]
        node = {
            "affinityId": "TVM:tvm-1",
            "nodeUrl": f"{self.server.url}/pools/{self.pool}/nodes/tvm-1",
            "poolId": self.pool,
            "nodeId": "tvm-1",
            "taskRootDirectory": f"workitems/{job}/job-1/{name}",
        }
        described = {
            **task.body,
            "url": f"{self.server.url}/jobs/{job}/tasks/{name}",
            "eTag": "0x8D4125FD1A825A4",
            "creationTime": now(),
            "lastModified": now(),
            "state": state,
            "stateTransitionTime": now(),
            **({"previousState": before, "previousStateTransitionTime": now()} if before else {}),
            "userIdentity": {"autoUser": {"scope": "task", "elevationLevel": "nonadmin"}},
            "executionInfo": {"retryCount": 0, "requeueCount": task.requeues, **_ended(task, seen)},
            **({"nodeInfo": node} if state != "active" else {}),
        }
        return {**described, **task.says}

    def _upload(self, task: Task, seen: NodeJob) -> None:
        if seen.state == "ended" and not task.uploaded:
            task.uploaded = True
            for file in task.body.get("outputFiles", ()):
                where = file["destination"]["container"]
                assert (file["filePattern"], bool(where["identityReference"])) == ("../stdout.txt", True)
                self.upload(where["containerUrl"], where["path"], _read(seen))

    def _of_task(self, method: str, job: Job, task: Task, further: list[str], request: Request) -> Answer:
        seen = self.nodes.look(task.run_as)
        match [method, *further]:
            case ["POST", "terminate"]:
                if seen.state == "ended":
                    return error(409, "TaskCompleted", "The specified task is already in a completed state.")
                if gone := _not_active(job):
                    return gone
                task.ended_by_request = True
                self.nodes.stop(task.run_as)
                return Answer(204)
            case ["GET", "files", *name]:
                if task.node_gone:
                    return error(404, "NodeNotFound", "The specified node does not exist.")
                if seen.starts == 0:
                    return error(409, "TaskFilesUnavailable", "The files of the specified task are unavailable.")
                return _part(_read(seen), request) if name == ["stdout.txt"] else _files(_read(seen), request)
        return error(400, "InvalidUri", "The requested URI does not represent any resource on the server.")

    def _pool(self, name: str, query: Mapping[str, str]) -> Answer:
        if name != self.pool:
            return error(404, "PoolNotFound", "The specified pool does not exist.")
        whole = {"id": name, "targetDedicatedNodes": self.targets[0], "targetLowPriorityNodes": self.targets[1]}
        return Answer(body={k: v for k, v in whole.items() if k in query["$select"].split(",")})

    def _node_counts(self, query: Mapping[str, str]) -> Answer:
        assert query["$filter"] == f"poolId eq '{self.pool}'", query["$filter"]
        running = self.nodes.running
        counted = self.counts or ({"running": running, "idle": self.nodes.slots - running}, {})
        kinds = [{**dict.fromkeys(NODE_STATES, 0), **counts, "total": sum(counts.values())} for counts in counted]
        body = {"poolId": self.pool, "dedicated": kinds[0], "lowPriority": kinds[1]}
        checked(models.BatchPoolNodeCounts, body)
        return Answer(body={"value": [body]})


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _ended(task: Task, seen: NodeJob) -> dict[str, Any]:
    """How a task ended, as far as it has."""
    if seen.state != "ended":
        return {}
    info: dict[str, Any] = {"endTime": now(), "result": "success" if seen.code == 0 else "failure"}
    if seen.starts:
        info |= {"startTime": now(), "exitCode": seen.code}
    if task.ended_by_request:
        failure = {"code": "TaskEnded", "message": "Task was ended by user request"}
    elif seen.killed:
        why = {"name": "Message", "value": "The maximum execution time configured on the task was exceeded"}
        failure = {"code": "TaskEnded", "message": "The task was ended by user request", "details": [why]}
    else:
        failure = {"code": "FailureExitCode", "message": "The task exited with an exit code representing a failure"}
    return info if seen.code == 0 else {**info, "failureInfo": {"category": "usererror", **failure}}


def _read(seen: NodeJob) -> bytes:
    return seen.output.read_bytes() if seen.output.exists() else b""


def _files(data: bytes, request: Request) -> Answer:
    """The task's files whose names begin as is asked for."""
    assert request.query["$filter"] == "startswith(name,'stdout.txt')"
    properties = {"lastModified": now(), "contentLength": len(data), "contentType": "text/plain"}
    file = {"name": "stdout.txt", "url": "https://a/stdout.txt", "isDirectory": False, "properties": properties}
    checked(models.BatchNodeFile, file)
    return Answer(body={"value": [file]})


def _part(data: bytes, request: Request) -> Answer:
    """What is asked for of a file. Batch answers 200 for a part too."""
    start, end = map(int, request.headers["ocp-range"].removeprefix("bytes=").split("-"))
    if start >= len(data):
        return error(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
    return Answer(200, data[start : end + 1], {"Content-Type": "application/octet-stream"})


def _not_active(job: Job) -> Answer | None:
    """Why a job that is not active takes nothing."""
    match job.state:
        case "active":
            return None
        case "deleting":
            return error(409, "JobBeingDeleted", "The specified job has been marked for deletion.")
        case "terminating":
            return error(409, "JobBeingTerminated", "The specified job is being terminated.")
        case _:
            return error(409, "JobCompleted", "The specified job is already in a completed state.")


def error(status: int, code: str, text: str, **values: str) -> Answer:
    """An error as Batch sends it. Its text ends with the request's id and the time."""
    message = {"lang": "en-US", "value": f"{text}\nRequestId:c4f5fc32-356d-47c2-a2c2-789081828db5\nTime:{now()}"}
    body: dict[str, Any] = {"code": code, "message": message}
    if values:
        body["values"] = [{"key": key, "value": value} for key, value in values.items()]
    checked(models.BatchError, body)
    return Answer(status, body, {"request-id": "c4f5fc32-356d-47c2-a2c2-789081828db5"})


def checked(model: Any, body: Mapping[str, Any]) -> None:
    """Hold a document to a model of the SDK's: no field that it does not know, and each with a value that it can read.

    Raises AssertionError. Fields that the model demands but a request leaves out are found by reading them.
    """
    parsed = model(json.loads(json.dumps(body)))
    fields = {f._rest_name: attribute for attribute, f in parsed._attr_to_rest_field.items()}
    unknown = set(body) - set(fields)
    assert not unknown, f"{model.__name__} has no {unknown}"
    for name, value in body.items():
        read = getattr(parsed, fields[name])
        if isinstance(value, Mapping):
            checked(type(read), value)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for inner, document in zip(read, value, strict=True):
                checked(type(inner), document)
        elif name.endswith("Time") and not name.startswith(("max", "retention")):
            assert isinstance(read, datetime), f"{model.__name__}.{name}: {value!r}"
