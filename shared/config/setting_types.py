"""The forms that settings come in: each type reads a text, and says what was expected and what was found. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, PlainValidator, TypeAdapter, ValidationError

from shared.contract.errors import Malformed
from shared.contract.windows import DAY, format_length, parse_length

T = TypeVar("T")

SECRET = "secret"  # noqa: S105  # the mark of a setting whose value is never shown


def parsed(parse: Callable[[str], T]) -> PlainValidator:
    """Let one of our own parsers read the text; its message becomes the problem."""

    def read(value: object) -> T:
        try:
            return parse(str(value))
        except Malformed as error:
            raise ValueError(str(error)) from error

    return PlainValidator(read)


def _like(pattern: str, expected: str, *, told: bool = True) -> AfterValidator:
    """Let a text pass that is of this form, or empty. *expected* says which form that is; *told*: what came, too."""

    def check(text: str) -> str:
        if text and not re.fullmatch(pattern, text):
            found = f", got {text!r}" if told else ""
            raise ValueError(f"expected {expected}{found}")
        return text

    return AfterValidator(check)


def _resource(kind: str) -> AfterValidator:
    """Let the id of a resource in Azure pass."""
    beginning = "/subscriptions/S/resourceGroups/G/providers/"
    pattern = beginning.replace("/S/", "/[^/]+/").replace("/G/", "/[^/]+/") + re.escape(kind) + "/[^/]+"
    return _like(f"(?i:{pattern})", f"{beginning}{kind}/NAME")


def _tiles_a_day(length: timedelta) -> timedelta:
    if DAY % length and length % DAY:
        raise ValueError(f"expected a divisor or a multiple of a day, got {format_length(length)}")
    return length


def _hour_path(text: str) -> str:
    if text.startswith("/") or ".." in text or "\\" in text:
        raise Malformed(f"expected a path within the readings such as date=%Y-%m-%d/hour=%H/, got {text!r}")
    return text


def _span(value: object) -> timedelta:
    try:
        span = TypeAdapter(timedelta).validate_python(value)
    except ValidationError:
        span = timedelta()
    if span <= timedelta():
        raise ValueError(f"expected an ISO 8601 duration such as PT10M or PT30S, got {value!r}")
    return span


def _storage(text: str) -> str:
    if not re.fullmatch(r"https://[^/?#]+/?|(.*;)?(AccountName|BlobEndpoint)=.+|UseDevelopmentStorage=true;?", text):
        raise ValueError(
            "expected https://ACCOUNT.blob.core.windows.net, a connection string or UseDevelopmentStorage=true, "
            f"got {len(text)} characters that are none of these"
        )
    return text


Length = Annotated[timedelta, parsed(parse_length), AfterValidator(_tiles_a_day)]
Span = Annotated[timedelta, PlainValidator(_span)]
Count = Annotated[int, Field(ge=1)]
HourPath = Annotated[str, parsed(_hour_path)]
Storage = Annotated[str, AfterValidator(_storage), Field(json_schema_extra={SECRET: True})]
ContainerName = Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
KeyHash = Annotated[
    str,
    _like("[0-9a-f]{64}", "a SHA-256 as 64 lower-case hex digits, or nothing", told=False),
    Field(json_schema_extra={SECRET: True}),
]
Scheduler = Annotated[
    str, _like(r"(tcp|tls|ws|wss)://[^:]+:\d+", "the address of a Dask scheduler such as tcp://127.0.0.1:8786")
]
Endpoint = Annotated[str, _like("https://[^/?#]+", "https://HOST")]
WorkspaceId = Annotated[str, _resource("Microsoft.MachineLearningServices/workspaces")]
IdentityId = Annotated[str, _resource("Microsoft.ManagedIdentity/userAssignedIdentities")]
ClientId = Annotated[str, _like("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "a GUID")]
Compute = Annotated[str, _like("[a-zA-Z][a-zA-Z0-9-]{1,31}", "the name of a compute cluster")]
Environment = Annotated[str, _like(r"[a-zA-Z0-9][\w.-]*:[\w.-]+", "NAME:VERSION of an environment")]
PoolId = Annotated[str, _like(r"[\w-]{1,64}", "the id of a pool")]
Image = Annotated[str, _like(r"[^\s/:]+(:\d+)?/[^\s:]+:[\w.-]+", "REGISTRY/NAME:TAG")]
