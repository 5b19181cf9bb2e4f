"""A function app of the smallest size: a heartbeat that leaves a line, and an HTTP app that tells what it was asked."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import azure.functions as func

log = logging.getLogger("fleet")


async def echo(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        Path(os.environ["TICKS"]).with_suffix(".lifespan").write_text("over")
        await send({"type": "lifespan.shutdown.complete"})
        return
    log.info("asked for %s", scope["path"])
    if scope["path"] == "/boom":
        raise RuntimeError("the handler broke")
    headers = {
        name.decode(): text.decode() for name, text in sorted(scope["headers"]) if name.startswith((b"x-", b"c"))
    }
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "headers": headers,
        "body": (await receive())["body"].decode("latin-1"),
    }
    content = b"" if scope["path"] == "/nothing" else json.dumps(told).encode()
    back = [(b"x-answer", b"42"), (b"etag", b'W/"1"')]
    if content:
        back += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if scope["path"] == "/cookies":
        back += [(b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2; Path=/; HttpOnly")]
    status = {"/nothing": 204, "/teapot": 418}.get(scope["path"], 200)
    await send({"type": "http.response.start", "status": status, "headers": back})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})


app = func.AsgiFunctionApp(app=echo, http_auth_level=func.AuthLevel.ANONYMOUS)


@app.timer_trigger(arg_name="timer", schedule="%HEARTBEAT%", run_on_startup=False, use_monitor=True)
def heartbeat(timer: func.TimerRequest) -> None:
    log.info("tick past_due=%s", timer.past_due)
    with Path(os.environ["TICKS"]).open("a") as ticks:
        print("begins", timer.past_due, file=ticks, flush=True)
        time.sleep(float(os.environ.get("LASTS", "0")))
        if "FAILS" in os.environ:
            raise RuntimeError("the heart stumbled")
        print("ends", file=ticks)
