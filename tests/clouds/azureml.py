"""An Azure ML workspace on this machine: Resource Manager, the run history and the signed URLs of log files.

It runs the commands that it is given, walks through the states, and answers as the official examples do. What comes
in and what goes out is held against the SDK's own models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import isodate

from tests.clouds.nodes import LocalNodes, NodeJob
from tests.clouds.stand_in import Answer, Identity, Request, StandIn

WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-local"
    "/providers/Microsoft.MachineLearningServices/workspaces/ws-local"
)
COMPUTE, ENVIRONMENT = "scorer", "fleetscore-scorer:1"
BEFORE = ("NotStarted", "Starting", "Provisioning", "Preparing", "Queued")  # one for each look at a job that waits
MAY_CHANGE = frozenset({"description", "tags", "displayName", "properties", "isArchived"})
EXISTS = (
    "A job with this name already exists. If you are trying to create a new job, use a different name. If you are "
    "trying to update an existing job, the existing job's {what} cannot be changed. Only description, tags, "
    "displayName, properties, and isArchived can be updated."
)
PREEMPTED = (
    "AzureMLCompute job failed. PreemptionError: Nodes of this job got pre-empted. Check if the run has failed or "
    "restarted. Reason: Received pre-emption warning signal"
)


@dataclass(slots=True)
class Job:
    """A job as it was given, and how often it was looked at while it stood as it stands."""

    properties: dict[str, Any]
    looks: int = 0
    ended: bool = False  # and Finalizing was told
    told: str = ""  # what it is called instead, as long as a test says so
    taken_away: bool = False


class AzureML:
    """The stand-in. `server` has the requests that came, and takes faults."""

    def __init__(self, folder: Path, nodes: LocalNodes, identity: Identity) -> None:
        self.nodes, self.identity = nodes, identity
        self.jobs: dict[str, Job] = {}
        self.page, self.picky = 100, False  # jobs on a page; whether any job that exists is called different
        self.authority = folder / "authority.pem"  # which REQUESTS_CA_BUNDLE has to name
        self.server = StandIn(self._answer, self.authority)

    def preempt(self, name: str) -> None:
        """Take the node of a job away; its job fails."""
        self.jobs[name].taken_away = True
        self.nodes.stop(name)

    # Answers

    def _answer(self, request: Request) -> Answer:
        path = request.path
        if path == "/discovery":
            return Answer(body={"api": self.server.url, "history": self.server.url})
        if log := re.fullmatch(r"/logs/(.+)", path):
            return self._log(log[1], request)
        if not self.identity.knows(request):
            return _error(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' token has expired.")
        if details := re.fullmatch(rf"/history/v1.0{WORKSPACE}/runs/([^/]+)/details", path):
            return self._details(details[1])
        assert request.query.get("api-version"), "Resource Manager wants a version"
        if f"{path}/".startswith(f"{WORKSPACE}/"):
            return self._of_workspace(request, path.removeprefix(WORKSPACE))
        named = "/".join(path.split("/")[6:9])  # Resource Manager's own words, of the workspace whatever was asked for
        message = f"The Resource '{named}' under resource group 'rg-local' was not found."
        return _error(404, "ResourceNotFound", message)

    def _of_workspace(self, request: Request, path: str) -> Answer:
        match request.method, path.strip("/").split("/"):
            case "GET", [""]:
                properties = {"discoveryUrl": f"{self.server.url}/discovery", "workspaceId": "ws"}
                return Answer(body=checked("Workspace", _resource(WORKSPACE, "workspaces", properties)))
            case "GET", ["computes", name]:
                return self._compute(name)
            case "GET", ["jobs"]:
                return self._list(request)
            case "PUT", ["jobs", name]:
                return self._put(name, checked("JobBase", request.json)["properties"])
            case "GET", ["jobs", name] if name in self.jobs:
                return Answer(body=self._shown(name))
            case "POST", ["jobs", name, "cancel"] if name in self.jobs:
                self.nodes.stop(name)
                return Answer(202, None, {"Location": f"{self.server.url}{WORKSPACE}/operations/cancel-{name}"})
            case _:
                return _error(404, "UserError", f"No {path} was found in this workspace.")

    def _put(self, name: str, properties: dict[str, Any]) -> Answer:
        if refusal := _refused(name, properties):
            return refusal
        if name in self.jobs:
            return self._put_again(name, properties)
        timeout = isodate.parse_duration(properties["limits"]["timeout"]).total_seconds()
        self.jobs[name] = Job(deepcopy(properties))
        self.nodes.add(name, properties["command"], properties["environmentVariables"], timeout)
        return Answer(201, self._shown(name))

    def _put_again(self, name: str, properties: dict[str, Any]) -> Answer:
        there = self.jobs[name].properties
        changed = [key for key in sorted({*there, *properties} - MAY_CHANGE) if there.get(key) != properties.get(key)]
        if changed or self.picky:
            what = " ".join(changed) or "InputBindings"
            immutable = {"code": "Immutable", "innerError": {"code": "JobPropertyImmutable", "innerError": None}}
            more = [
                {"type": "InnerError", "info": {"value": immutable}},
                {"type": "MessageParameters", "info": {"value": {"property": f" {what}"}}},
            ]
            return _error(400, "UserError", EXISTS.format(what=what), more)
        there.update(properties)
        return Answer(200, self._shown(name))

    def _list(self, request: Request) -> Answer:
        key, _, value = request.query["properties"].partition("=")
        every = request.query["listViewType"] == "All"
        names = [
            name
            for name, job in reversed(self.jobs.items())
            if job.properties["properties"].get(key) == value and (every or not job.properties.get("isArchived"))
        ]
        skip = int(request.query.get("$skip", 0))
        body: dict[str, Any] = {"value": [self._shown(name) for name in names[skip : skip + self.page]]}
        if len(names) > skip + self.page:
            kept = {name: text for name, text in request.query.items() if name != "$skip"}
            query = "&".join(f"{name}={text}" for name, text in {**kept, "$skip": skip + self.page}.items())
            body["nextLink"] = f"{self.server.url}{request.path}?{query}"
        return Answer(body=body)

    def _compute(self, name: str) -> Answer:
        if name != COMPUTE:
            return _error(404, "ComputeNotFound", f"No compute {name} was found in this workspace.")
        running = sum(self.nodes.look(job).state == "running" for job in self.jobs)
        counts = {"preparing": 0, "running": running, "idle": 2 - running, "unusable": 0, "leaving": 0, "preempted": 0}
        cluster = {
            "vmSize": "STANDARD_D4S_V5",
            "vmPriority": "LowPriority",
            "osType": "Linux",
            "virtualMachineImage": None,
            "isolatedNetwork": False,
            "subnet": {"id": "a-subnet"},
            "scaleSettings": {"maxNodeCount": 4, "minNodeCount": 0, "nodeIdleTimeBeforeScaleDown": "PT2M"},
            "remoteLoginPortPublicAccess": "Disabled",
            "allocationState": "Resizing",
            "allocationStateTransitionTime": "2026-09-27T22:28:08.998Z",
            "errors": None,
            "currentNodeCount": 2,
            "targetNodeCount": 3,
            "nodeStateCounts": {f"{state}NodeCount": n for state, n in counts.items()},
            "enableNodePublicIp": True,
        }
        properties = {
            "description": "where jobs run",
            "createdOn": "2026-04-01T22:00:00.0000000+00:00",
            "modifiedOn": "2026-04-01T22:00:00.0000000+00:00",
            "computeType": "AmlCompute",
            "provisioningState": "Succeeded",
            "properties": cluster,
        }
        resource = {**_resource(f"{WORKSPACE}/computes/{name}", "workspaces/computes", properties), "location": "here"}
        del resource["systemData"]
        return Answer(body=checked("ComputeResource", resource))

    def _details(self, name: str) -> Answer:
        if name not in self.jobs:
            return _error(404, "UserError", f"Run {name} was not found.")
        job, on_node = self.jobs[name], self.nodes.look(name)
        body: dict[str, Any] = {"runId": name, "target": COMPUTE, "status": self._status(name), "logFiles": {}}
        if on_node.output.exists():
            body["logFiles"] = {
                "system_logs/lifecycler/execution-wrapper.log": f"{self.server.url}/logs/none?sig=secret",
                "user_logs/std_log.txt": f"{self.server.url}/logs/{name}?sig=secret",
            }
        if body["status"] == "Failed":
            message = PREEMPTED if job.taken_away else _exit_message(on_node)
            body["error"] = {"error": {"code": "UserError", "message": message}, "environment": "here"}
        from azure.ai.ml._restclient.runhistory import models

        _check(models.RunDetails, body)
        return Answer(body=body)

    def _log(self, name: str, request: Request) -> Answer:
        assert "authorization" not in request.headers, "a signed URL is nobody's to see the token of"
        if request.query.get("sig") != "secret" or name not in self.jobs:
            return Answer(403)
        data = self.nodes.look(name).output.read_bytes()
        if part := request.headers.get("range"):
            begin = int(part.removeprefix("bytes=").removesuffix("-"))  # Blob Storage takes no range from the end
            return Answer(206, data[begin:])
        return Answer(200, data)

    # Jobs

    def _shown(self, name: str) -> dict[str, Any]:
        given = self.jobs[name].properties
        services = {
            service: {
                "jobServiceType": service,
                "port": None,
                "endpoint": f"https://ml.azure.com/{service}/{name}",
                "status": None,
                "errorMessage": None,
                "properties": None,
            }
            for service in ("Tracking", "Studio")
        }
        artifacts = f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{name}"
        properties = {
            "description": None,
            "tags": {},
            "isArchived": False,
            "componentId": None,
            "codeId": None,
            "inputs": {},
            "distribution": None,
            "parameters": {},
            **deepcopy(given),
            "properties": {"_azureml.ComputeTargetType": "amlctrain", **given["properties"]},
            "status": self._status(name),
            "services": services,
            "resources": {
                "instanceCount": 1,
                "instanceType": None,
                "properties": {},
                "shmSize": "2g",
                "dockerArgs": None,
            },
            "outputs": {
                "default": {
                    "description": None,
                    "uri": artifacts,
                    "mode": "ReadWriteMount",
                    "jobOutputType": "uri_folder",
                }
            },
        }
        return checked("JobBase", _resource(f"{WORKSPACE}/jobs/{name}", "workspaces/jobs", properties))

    def _status(self, name: str) -> str:
        job, on_node = self.jobs[name], self.nodes.look(name)
        if job.told:
            return job.told
        if on_node.state == "waiting":
            job.looks += 1
            return BEFORE[min(job.looks, len(BEFORE)) - 1]
        if on_node.state == "running":
            return "CancelRequested" if on_node.killed else "Running"
        if not job.ended:
            job.ended = True
            return "Finalizing"
        if job.taken_away:
            return "Failed"
        if on_node.killed or on_node.code is None:
            return "Canceled"
        return "Failed" if on_node.code else "Completed"


def _exit_message(on_node: NodeJob) -> str:
    said = on_node.output.read_text(errors="replace")[-400:] if on_node.output.exists() else ""
    return (
        f"Execution failed. User process 'python' exited with status code {on_node.code}. Please check log file "
        f"'user_logs/std_log.txt' for error details. Error: {said}"
    )


def _refused(name: str, properties: Mapping[str, Any]) -> Answer | None:
    """What Azure would never take."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}", name):
        return _error(400, "UserError", f"The job name {name} is not valid.")
    if properties["computeId"] != f"{WORKSPACE}/computes/{COMPUTE}":
        return _error(400, "UserError", f"Compute {properties['computeId']} was not found.")
    if properties["environmentId"] != f"{WORKSPACE}/environments/{ENVIRONMENT.replace(':', '/versions/')}":
        return _error(404, "UserError", f"Environment {properties['environmentId']} was not found.")
    return None


def _resource(path: str, kind: str, properties: object) -> dict[str, Any]:
    return {
        "id": path,
        "name": path.rpartition("/")[2],
        "type": f"Microsoft.MachineLearningServices/{kind}",
        "properties": properties,
        "systemData": {
            "createdAt": datetime.now(UTC).isoformat(),
            "createdBy": "00000000-0000-0000-0000-00000000000a",
            "createdByType": "Application",
        },
    }


def _error(status: int, code: str, message: str, more: object = ()) -> Answer:
    return Answer(status, {"error": {"code": code, "message": message, "details": [], "additionalInfo": more}})


def checked(model: str, body: Any) -> Any:
    """The body, if the SDK's model of that name knows all that is in it. Raises AssertionError."""
    from azure.ai.ml._restclient.arm_ml_service import models

    _check(getattr(models, model), body)
    return body


def _check(model: type, body: Mapping[str, Any]) -> None:
    parsed = model._deserialize(deepcopy(body), [])  # what the SDK itself does with an answer
    _walk(parsed, model.__name__)


def _walk(value: Any, where: str) -> None:
    fields = getattr(value, "_attr_to_rest_field", None)
    if fields is None:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value if type(value) is list else ()):
            _walk(inner, f"{where}/{key}")
        return
    unknown = set(value) - {field._rest_name for field in fields.values()}
    assert not unknown, f"{where} ({type(value).__name__}) knows no {sorted(unknown)}"
    for name in fields:
        _walk(getattr(value, name), f"{where}/{name}")  # a value of another type raises here
