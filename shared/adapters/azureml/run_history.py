"""The run history of an Azure ML workspace: why a job failed, and its output.

It is not part of Resource Manager: the workspace names a regional address, which returns signed URLs of log files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.arm import translate_errors
from shared.contract.errors import FleetError, Misconfigured, NotFound
from shared.contract.text import clip_text
from shared.ports import JobStatus
from shared.state.runs import JobState

if TYPE_CHECKING:
    from azure.ai.ml._restclient.arm_ml_service import MachineLearningServicesMgmtClient
    from azure.ai.ml._restclient.runhistory import RunHistoryClient
    from azure.core import PipelineClient

LOG_LIMIT = 256 * 1024  # bytes of a log that are returned: its end
TAIL_LIMIT = 4 * 1024  # bytes of it in which the last line is searched
SHORT_TIME_OUTS: Mapping[str, Any] = {"connection_timeout": 2, "read_timeout": 4, "retry_total": 0, "retry_status": 0}

# Messages of Azure, as users report them: "PreemptionError: Nodes of this job got pre-empted"
# (https://github.com/Azure/MachineLearningNotebooks/issues/1242), "User process 'python' exited with status code 42.
# Please check log file 'user_logs/std_log.txt' for error details. Error: ..."
# (https://github.com/Azure/azureml-examples/issues/2614). The text after "Error:" is the job's.
_TAKEN_AWAY = re.compile(r"pre-?empt|evict(ed|ion)|node (was|is) (lost|removed)|lost (its )?node", re.IGNORECASE)
_CODE = re.compile(r"(?:status|exit) code\W{1,3}(-?\d+)", re.IGNORECASE)
_OWN_WORDS = " Error: "
_ID = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.MachineLearningServices/workspaces/(?P<name>[^/]+)/?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace, by its ARM id."""

    subscription: str
    group: str
    name: str

    @staticmethod
    def parse(text: str) -> Workspace:
        """Raises Misconfigured."""
        if match := _ID.fullmatch(text):
            return Workspace(**match.groupdict())
        form = "/subscriptions/S/resourceGroups/G/providers/Microsoft.MachineLearningServices/workspaces/W"
        raise Misconfigured(f"expected a workspace as {form}, got {text!r}")

    @property
    def id(self) -> str:
        """The id in ARM."""
        provider = f"providers/Microsoft.MachineLearningServices/workspaces/{self.name}"
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/{provider}"

    @property
    def scope(self) -> tuple[str, str]:
        """The first arguments of each method of the SDK."""
        return self.group, self.name


@dataclass(frozen=True, slots=True)
class _Details:
    """The part of a job's run history that is used."""

    message: str  # of its error, in one line
    log_url: str | None  # of its output, signed

    @staticmethod
    def parse(body: Any) -> _Details:
        error = (body.get("error") or {}).get("error") or {}
        files = body.get("logFiles") or {}
        # The logs of a job with several processes are numbered.
        url = next((files[name] for name in sorted(files) if re.fullmatch(r"user_logs/std_log.*\.txt", name)), None)
        return _Details(" ".join(str(error.get("message") or "").split()), url)


@dataclass(frozen=True, eq=False)
class RunHistory:
    """The run history of one workspace, with short time-outs: it is for people, and a tick waits for it."""

    arm: MachineLearningServicesMgmtClient
    workspace: Workspace
    credential: Any
    scopes: list[str]
    rights: str

    def read_failure(self, name: str) -> JobStatus:
        """The status of a job that failed: lost or failed. Without details, it has failed."""
        try:
            details = self._read_details(name)
        except FleetError as error:
            return JobStatus(JobState.FAILED, clip_text(f"Azure ML reports Failed, without a reason: {error}"))
        message = details.message
        azure_text, _, job_text = message.partition(_OWN_WORDS)
        if _TAKEN_AWAY.search(azure_text):
            return JobStatus(JobState.LOST, clip_text(message))
        code = _CODE.search(azure_text)
        if not code:
            return JobStatus(JobState.FAILED, clip_text(message or "Azure ML reports Failed, without a message"))
        last = self._read_last_line(details) or _find_last_line(job_text)
        return JobStatus(JobState.FAILED, clip_text(": ".join(filter(None, [f"exit code {code[1]}", last]))))

    def read_log(self, name: str) -> str:
        """The output of a job so far; the end of it. Raises NotFound."""
        url = self._read_details(name).log_url
        if url is None:
            raise NotFound(f"{self.workspace.name} has no log of job {name} yet")
        return self._read_end(url, LOG_LIMIT)

    def _read_details(self, name: str) -> _Details:
        with translate_errors(f"{self.workspace.name}, asked for the run details of job {name}", self.rights):
            return _Details.parse(self._runs.runs.get_details(self.workspace.subscription, *self.workspace.scope, name))

    def _read_last_line(self, details: _Details) -> str:
        try:
            return _find_last_line(self._read_end(details.log_url, TAIL_LIMIT)) if details.log_url else ""
        except FleetError:  # it only makes the reason clearer
            return ""

    def _read_end(self, url: str, limit: int) -> str:
        """The end of a file. Blob Storage has no ranges from the end, so the size is read first."""
        size = int(self._send_request("HEAD", url, {}).headers.get("Content-Length", 0))
        part = {"Range": f"bytes={size - limit}-"} if size > limit else {}
        text: str = self._send_request("GET", url, part).content.decode(errors="replace")
        return text

    def _send_request(self, method: str, url: str, headers: Mapping[str, str]) -> Any:
        """Send a request without a token: the URL is signed or public."""
        from azure.core.rest import HttpRequest

        with translate_errors(
            f"{url.split('?', 1)[0]}", "Its signature has expired, or the account's firewall is closed."
        ):
            response = self._plain.send_request(HttpRequest(method, url, headers=dict(headers)))
            response.raise_for_status()
            return response

    @cached_property
    def _runs(self) -> RunHistoryClient:
        from azure.ai.ml._restclient.runhistory import RunHistoryClient

        with translate_errors(f"{self.workspace.name}, asked for its address", self.rights):
            discovery = self.arm.workspaces.get(*self.workspace.scope)["properties"]["discoveryUrl"]
        with translate_errors(discovery, self.rights):
            address = self._send_request("GET", discovery, {}).json()["api"]
        return RunHistoryClient(self.credential, base_url=address, credential_scopes=self.scopes, **SHORT_TIME_OUTS)

    @cached_property
    def _plain(self) -> PipelineClient[Any, Any]:
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import RetryPolicy

        return PipelineClient("", policies=[RetryPolicy(**SHORT_TIME_OUTS)], **SHORT_TIME_OUTS)


def _find_last_line(text: str) -> str:
    return next(iter(text.strip().splitlines()[-1:]), "")
