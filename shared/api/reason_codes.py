"""Answers with the reason codes of version 1, for clients of 0.1 that ask for `?reasons=1`."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi.routing import APIRoute

from shared.contract.reasons import VERSIONS, Reason

_CODES = ("reason", "stopped")  # the fields of answers that hold one
_GROUP = frozenset({"reason", "outcome", "models", "example", "message", "advice"})  # the fields of a FailureView


def choose_version(
    reasons: Annotated[
        int, Query(ge=VERSIONS[0], le=VERSIONS[-1], description="version of the reason codes in the answer")
    ] = VERSIONS[-1],
) -> int:
    """The version of the reason codes that the client asks for."""
    return reasons


Version = Annotated[int, Depends(choose_version)]


class RouteWithReasons(APIRoute):
    """A route that answers in the version of the reason codes that the client asks for."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI; answers for version 1 are spelled again."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            response = await handle(request)
            is_json = response.headers.get("content-type") == "application/json"
            if request.query_params.get("reasons") != "1" or not is_json:
                return response
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            return Response(json.dumps(spell_first(json.loads(bytes(response.body)))), response.status_code, headers)

        return answer


def spell_first(document: Any) -> Any:
    """An answer with the codes of version 1; groups of failures that then share a code are one group."""
    match document:
        case dict():
            return {
                name: Reason(value).first_code if name in _CODES and value else spell_first(value)
                for name, value in document.items()
            }
        case list():
            items = [spell_first(item) for item in document]
            return _merge_groups(items) if all(isinstance(i, dict) and i.keys() == _GROUP for i in items) else items
        case _:
            return document


def _merge_groups(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One group a reason, the largest first; the first example of each stands."""
    merged: dict[str, dict[str, Any]] = {}
    for group in groups:
        first = merged.get(group["reason"], group | {"models": 0})
        merged[group["reason"]] = first | {"models": first["models"] + group["models"]}
    return sorted(merged.values(), key=lambda group: (-group["models"], group["reason"]))


def list_reasons(reason: Reason, version: int) -> frozenset[Reason]:
    """The reasons that a client of this version means by one."""
    return frozenset(other for other in Reason if other.get_code(version) == reason.get_code(version))
