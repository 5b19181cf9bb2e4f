"""The functions of the app for the development host, and the timers' schedules. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from azure.functions.timer import TimerRequest

from shared.contract.errors import Misconfigured
from shared.planning.schedule import Schedule

log = logging.getLogger("host")
ROUTE = "/{*route}"
STATUSES = Path(".local/timers")


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the app."""

    name: str
    trigger: dict[str, Any]
    run: Callable[..., Any]

    async def call(self, ident: str, value: object) -> Any:
        """Call the function with the value of its trigger; raises what it raises."""
        arguments = {self.trigger["name"]: value}
        if "context" in inspect.signature(self.run).parameters:
            arguments["context"] = SimpleNamespace(function_name=self.name, invocation_id=ident)
        if inspect.iscoroutinefunction(self.run):
            return await self.run(**arguments)
        return await asyncio.to_thread(self.run, **arguments)


def functions_of(app: func.FunctionApp) -> list[Function]:
    """The functions of the app; raises Misconfigured for those that the development host cannot serve."""
    functions = []
    for function in app.get_functions():
        bindings = [json.loads(text) for text in function.get_raw_bindings()]
        trigger = next(binding for binding in bindings if binding["type"].endswith("Trigger"))
        functions.append(Function(str(function.get_function_name()), trigger, function.get_user_function()))
    served = [
        function
        for function in functions
        if function.trigger["type"] == "timerTrigger" or function.trigger.get("route") == ROUTE
    ]
    if len(served) < len(functions):
        names = ", ".join(function.name for function in functions if function not in served)
        raise Misconfigured(f"expected timers and an HTTP function on {ROUTE} in function_app.py, got also: {names}")
    return functions


def _with_settings(schedule: str) -> str:
    """A schedule with the setting it names in percent signs put in."""
    name = re.fullmatch("%(.+)%", schedule)
    if name and name[1] not in os.environ:
        raise Misconfigured(f"expected a setting {name[1]} for the schedule {schedule} in function_app.py, got none")
    return os.environ[name[1]] if name else schedule


class Timer:
    """A timer function and its schedule; it never runs twice at once.

    Its status is written after the function has returned: a killed call is repeated once, and marked as past
    due. A schedule that fires more than once a minute has no status and is never past due.
    """

    def __init__(self, function: Function) -> None:
        self.function, self.busy = function, asyncio.Lock()
        self.schedule = Schedule(_with_settings(function.trigger["schedule"]))
        self.status = STATUSES / f"{function.name}.json"
        first = self.schedule.next_fire(datetime.now(UTC))
        self.monitored = self.schedule.next_fire(first) - first >= timedelta(minutes=1)

    async def keep_calling(self) -> None:
        """Calls the function whenever the schedule says so, for ever."""
        due = self._recorded() or self._record_next(datetime.now(UTC))
        past_due = due < datetime.now(UTC)
        while True:
            wait = (due - datetime.now(UTC)).total_seconds()
            if wait > 0:
                await asyncio.sleep(min(wait, 1))  # in small steps, since a laptop may sleep and a clock may be set
                continue
            if past_due:
                log.info(
                    "Trigger Details: UnscheduledInvocationReason: IsPastDue, OriginalSchedule: %s", due.isoformat()
                )
            async with self.busy:
                fired = datetime.now(UTC)
                await self._call(f"Timer fired at {fired.isoformat()}", past_due)
                due, past_due = self._record_next(fired), False

    async def call_now(self) -> None:
        """Calls the function once on request, after a running call."""
        async with self.busy:
            await self._call("This function was programmatically called via the host APIs.", past_due=False)

    async def _call(self, reason: str, past_due: bool) -> None:
        name, ident, start, error = self.function.name, str(uuid.uuid4()), time.perf_counter(), None
        log.info("Executing 'Functions.%s' (Reason='%s', Id=%s)", name, reason, ident)
        try:
            await self.function.call(ident, TimerRequest(past_due=past_due))
        except Exception as raised:  # noqa: BLE001  # it is logged, and the schedule goes on
            error = raised
        level, ended = (logging.ERROR, "Failed") if error else (logging.INFO, "Succeeded")
        took = 1000 * (time.perf_counter() - start)
        log.log(level, "Executed 'Functions.%s' (%s, Id=%s, Duration=%.0fms)", name, ended, ident, took, exc_info=error)

    def _recorded(self) -> datetime | None:
        """When it is due by its status; None without a status, or with one of another schedule."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            status = json.loads(self.status.read_text())
            if self.monitored and status["schedule"] == self.schedule.text:
                return datetime.fromisoformat(status["next"])
        return None

    def _record_next(self, after: datetime) -> datetime:
        due = self.schedule.next_fire(after)
        if self.monitored:
            self.status.parent.mkdir(parents=True, exist_ok=True)
            beside = self.status.with_suffix(".new")
            beside.write_text(json.dumps({"schedule": self.schedule.text, "next": due.isoformat()}))
            beside.replace(self.status)
        return due
