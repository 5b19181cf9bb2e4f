"""Plays the Functions host to Microsoft's worker code: `player.py APP`, a process of its own, since an app is one.

It indexes the app and loads every function, then answers each line of JSON on standard input with one on standard
output; what the app prints goes to standard error. The messages are those of the host's protocol, put into bytes and
taken out again; only gRPC, which would carry them, is left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure_functions_runtime as runtime

from tests import protos  # of azure-functions-runtime-v1, not ours

SYSTEM = ("azure.functions", "azure_functions_runtime")  # whose logs are the worker's own
NEVER = "0001-01-01T00:00:00+00:00"


async def ask(kind: str, message: Any) -> Any:
    """The worker's answer to one message of the host; raises RuntimeError where it reports a failure to index."""
    over_the_wire = protos.StreamingMessage(**{kind: message}).SerializeToString()
    request = protos.StreamingMessage.FromString(over_the_wire)
    properties = {"protos": protos, "host": "127.0.0.1"}
    answer = await getattr(runtime, kind)(SimpleNamespace(name=kind, request=request, properties=properties))
    answer = type(answer).FromString(answer.SerializeToString())
    if answer.result.status != protos.StatusResult.Success and kind != "invocation_request":
        raise RuntimeError(f"{kind}: {answer.result.exception.message}")
    return answer


async def index(app: str) -> list[Any]:
    """The functions of the app, indexed and loaded."""
    await ask("worker_init_request", protos.WorkerInitRequest(host_version="4.1037.0", function_app_directory=app))
    expected = protos.FunctionsMetadataRequest(function_app_directory=app)
    functions = list((await ask("functions_metadata_request", expected)).function_metadata_results)
    for one in functions:
        load = protos.FunctionLoadRequest(function_id=one.function_id, metadata=one)
        await ask("function_load_request", load)
    return functions


def timer_data(past_due: bool) -> Any:
    status = {"Last": NEVER, "Next": datetime.now(UTC).isoformat(), "LastUpdated": NEVER}
    info = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due}
    return protos.TypedData(json=json.dumps(info))


def http_data(method: str, url: str, headers: dict[str, str], body: str) -> Any:
    http = protos.RpcHttp(
        method=method,
        url=url,
        headers={"host": urlsplit(url).netloc} | {name.lower(): text for name, text in headers.items()},
        params={"route": urlsplit(url).path.removeprefix("/")},
        query=dict(parse_qsl(urlsplit(url).query)),
    )
    if body:
        http.headers["content-length"] = str(len(body))
        http.body.CopyFrom(protos.TypedData(bytes=body.encode("latin-1")))
    return protos.TypedData(http=http)


async def invoke(function: Any, data: Any) -> dict[str, Any]:
    """What the function's call came to, as the worker tells the host."""
    trigger = next(one for one in map(json.loads, function.raw_bindings) if one["type"].endswith("Trigger"))
    request = protos.InvocationRequest(
        invocation_id=str(uuid.uuid4()),
        function_id=function.function_id,
        input_data=[protos.ParameterBinding(name=trigger["name"], data=data)],
    )
    answer = await ask("invocation_request", request)
    http = answer.return_value.http
    return {
        "error": answer.result.exception.message,
        "status": int(http.status_code or 0),
        "headers": dict(http.headers),
        "cookies": {one.name: one.value for one in http.cookies},
        "body": http.body.bytes.decode("latin-1"),
    }


async def play(app: str, tell: Any) -> None:
    runtime.start_threadpool_executor()
    try:
        functions = {one.name: one for one in await index(app)}
    except RuntimeError as error:
        tell({"error": str(error)})
        return
    tell({"functions": {name: [json.loads(b) for b in one.raw_bindings] for name, one in functions.items()}})
    logs: list[str] = []
    handler = logging.Handler()
    handler.addFilter(lambda record: not record.name.startswith(SYSTEM))
    handler.emit = lambda record: logs.append(f"{record.levelname} {record.getMessage()}")
    logging.getLogger().addHandler(handler)
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        data = timer_data(asked["past_due"]) if "past_due" in asked else http_data(**asked["http"])
        tell(await invoke(functions[asked["function"]], data) | {"logs": list(logs)})
        logs.clear()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a print of the app's must not get among the answers
    logging.getLogger().setLevel(logging.INFO)  # as in the worker's own process
    sys.path.insert(0, sys.argv[1])
    asyncio.run(play(sys.argv[1], lambda answer: print(json.dumps(answer), file=answers)))
    os._exit(0)  # the app object would wait for a lifespan whose loop is gone
