"""The types of settings: each one parses a text, or says what was expected and what came. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, PlainValidator, TypeAdapter, ValidationError

from shared.contract.errors import Malformed
from shared.contract.publishing.databases import Database
from shared.contract.publishing.sinks import SinkKind
from shared.contract.publishing.urls import is_web_url, parse_hub
from shared.contract.readings.path_pattern import PathPattern
from shared.contract.windows import DAY, format_length, parse_length

T = TypeVar("T")

SINKS = tuple(SinkKind)
SECRET = "secret"  # noqa: S105  # marks a setting whose value is never shown


def parse_with(parse: Callable[[str], T]) -> PlainValidator:
    """Parse the text by a function of the app; the message of its error becomes the problem."""

    def parse_value(value: object) -> T:
        try:
            return parse(str(value))
        except Malformed as error:
            raise ValueError(str(error)) from error

    return PlainValidator(parse_value)


def parse_sinks(text: str) -> tuple[SinkKind, ...]:
    """Names of sinks with commas between them, in the order of their kinds. Raises Malformed."""
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    if not set(names) <= set(SINKS) or len(names) != len(set(names)):
        expected = f"expected {' or '.join(SINKS)}, or several with commas between them"
        raise Malformed(f"{expected}, got {text!r}{_explain_names(names)}")
    return tuple(kind for kind in SINKS if kind in names)


def _explain_names(names: Sequence[str]) -> str:
    """What is wrong with names of sinks that look right."""
    if "" in names:
        return ", with an empty name"
    if any(name not in SINKS and name.lower() in SINKS for name in names):
        return ": names are in lower case"
    return ", with a name twice" if set(names) <= set(SINKS) else ""


def _match_pattern(pattern: str, expected: str, *, shown: bool = True) -> AfterValidator:
    """Accept a text of this pattern, or an empty one. *expected* describes it; *shown*: the message quotes the text."""

    def check_text(text: str) -> str:
        if text and not re.fullmatch(pattern, text):
            suffix = f", got {text!r}" if shown else ""
            raise ValueError(f"expected {expected}{suffix}")
        return text

    return AfterValidator(check_text)


def _match_resource(kind: str) -> AfterValidator:
    """Accept the id of an Azure resource of this kind."""
    beginning = "/subscriptions/S/resourceGroups/G/providers/"
    pattern = beginning.replace("/S/", "/[^/]+/").replace("/G/", "/[^/]+/") + re.escape(kind) + "/[^/]+"
    return _match_pattern(f"(?i:{pattern})", f"{beginning}{kind}/NAME")


def _check_window_length(length: timedelta) -> timedelta:
    if DAY % length and length % DAY:
        raise ValueError(f"expected a divisor or a multiple of a day, got {format_length(length)}")
    return length


def _check_hour_path(text: str) -> str:
    PathPattern.parse(text)
    return text


def _parse_duration(value: object) -> timedelta:
    try:
        duration = TypeAdapter(timedelta).validate_python(value)
    except ValidationError:
        duration = timedelta()
    if duration <= timedelta():
        raise ValueError(f"expected an ISO 8601 duration such as PT10M or PT30S, got {value!r}")
    return duration


def _check_storage(text: str) -> str:
    if not re.fullmatch(
        r"https://[^/?#]+\.blob\.[^/?#]+/?|(.*;)?(AccountName|BlobEndpoint)=.+|UseDevelopmentStorage=true;?", text
    ):
        raise ValueError(
            "expected https://ACCOUNT.blob.core.windows.net, a connection string or UseDevelopmentStorage=true, "
            f"got {len(text)} characters that are none of these"
        )
    return text


def _check_sql_url(text: str) -> str:
    if text:
        Database.parse(text)
    return text


def _check_web_url(text: str) -> str:
    """A URL that may be a secret: the message has no text of it. Plain HTTP only on this machine."""
    if text and not is_web_url(text):
        raise ValueError(f"expected https://HOST/..., got {len(text)} characters that are no such URL")
    return text


def _check_events_url(text: str) -> str:
    if text and not parse_hub(text) and not is_web_url(text):
        expected = "expected https://HOST/... or sb://NAMESPACE.servicebus.windows.net/HUB"
        raise ValueError(f"{expected}, got {len(text)} characters that are none of these")
    return text


Length = Annotated[timedelta, parse_with(parse_length), AfterValidator(_check_window_length)]
Duration = Annotated[timedelta, PlainValidator(_parse_duration)]
Count = Annotated[int, Field(ge=1)]
HourPath = Annotated[str, parse_with(_check_hour_path)]
Storage = Annotated[str, AfterValidator(_check_storage), Field(json_schema_extra={SECRET: True})]
ContainerName = Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
KeyHash = Annotated[
    str,
    _match_pattern("[0-9a-f]{64}", "a SHA-256 as 64 lower-case hex digits, or nothing", shown=False),
    Field(json_schema_extra={SECRET: True}),
]
SqlUrl = Annotated[str, parse_with(_check_sql_url), Field(json_schema_extra={SECRET: True})]
WebUrl = Annotated[str, AfterValidator(_check_web_url), Field(json_schema_extra={SECRET: True})]
EventsUrl = Annotated[str, AfterValidator(_check_events_url), Field(json_schema_extra={SECRET: True})]
SqlTable = Annotated[
    str,
    _match_pattern(
        r"([A-Za-z_][A-Za-z0-9_]{0,47}\.)?[A-Za-z_][A-Za-z0-9_]{0,47}",
        "TABLE or SCHEMA.TABLE, each of letters, digits and _, at most 48 and no digit first",
    ),
]
TablePath = Annotated[
    str,
    _match_pattern(
        r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*",
        "a folder such as fleet/predictions, of letters, digits, `.`, `_` and `-`",
    ),
    Field(min_length=1, max_length=200),
]
Scheduler = Annotated[
    str, _match_pattern(r"(tcp|tls|ws|wss)://[^:]+:\d+", "the address of a Dask scheduler such as tcp://127.0.0.1:8786")
]
Endpoint = Annotated[str, _match_pattern("https://[^/?#]+", "https://HOST")]
WorkspaceId = Annotated[str, _match_resource("Microsoft.MachineLearningServices/workspaces")]
IdentityId = Annotated[str, _match_resource("Microsoft.ManagedIdentity/userAssignedIdentities")]
ClientId = Annotated[str, _match_pattern("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "a GUID")]
Compute = Annotated[str, _match_pattern("[a-zA-Z][a-zA-Z0-9-]{1,31}", "the name of a compute cluster")]
Environment = Annotated[str, _match_pattern(r"[a-zA-Z0-9][\w.-]*:[\w.-]+", "NAME:VERSION of an environment")]
PoolId = Annotated[str, _match_pattern(r"[\w-]{1,64}", "the id of a pool")]
Image = Annotated[str, _match_pattern(r"[^\s/:]+(:\d+)?/[^\s:]+:[\w.-]+", "REGISTRY/NAME:TAG")]
