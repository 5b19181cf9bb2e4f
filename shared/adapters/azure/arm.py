"""Translates errors of Azure Resource Manager, and of the services behind it, into those of the app.

Azure's packages are imported when they are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shared.contract.errors import Conflict, FleetError, Malformed, NotFound, Unavailable
from shared.contract.text import clip_text, find_sign_in_line

from .auth import make_sign_in_error, parse_retry_after

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError, HttpResponseError

_DENIED = (401, 403)
_RETRY_LATER = (408, 429)
_NO_CODE = "no code of Azure's"

# 404 of a parent resource: it says nothing about the resource that was asked for.
_NO_PLACE = re.compile(r"SubscriptionNotFound|ResourceGroupNotFound|WorkspaceNotFound|ParentResourceNotFound")
_WORKSPACE = re.compile(r"Resource '?Microsoft\.MachineLearningServices/workspaces/[^/']+'? ")


@contextmanager
def translate_errors(operation: str, rights: str) -> Iterator[None]:
    """Translate exceptions of Azure into errors of the app. *rights*: advice for an identity without access.

    NotFound, Conflict (of two requests for one name) and Malformed are about the requested resource; everything else
    is Unavailable.
    """
    from azure.core.exceptions import AzureError
    from requests import RequestException

    try:
        yield
    except AzureError as error:
        raise _translate_error(error, operation, rights) from error
    except (RequestException, ValueError, TypeError, LookupError, AttributeError) as error:
        # The answer was cut off, or has another form: a proxy in between may have answered.
        problem = f"{type(error).__name__}: {clip_text(str(error))}"
        raise Unavailable(f"{operation}: the answer cannot be read: {problem}") from error


def _translate_error(error: AzureError, operation: str, rights: str) -> FleetError:
    from azure.core.exceptions import ClientAuthenticationError, DecodeError, HttpResponseError, IncompleteReadError

    if isinstance(error, HttpResponseError) and error.status_code and not isinstance(error, IncompleteReadError):
        if isinstance(error, DecodeError) and error.status_code < 400:  # noqa: PLR2004
            return Unavailable(f"{operation}: the answer cannot be read: {_describe_error(error)}")
        return _translate_response(error, error.status_code, operation, rights)
    if isinstance(error, ClientAuthenticationError):
        return make_sign_in_error(operation, _describe_error(error))
    return Unavailable(f"{operation} did not answer: {_describe_error(error)}")


def _translate_response(error: HttpResponseError, status: int, operation: str, rights: str) -> FleetError:
    """The error for an answer of the service, by its status."""
    code = getattr(error.error, "code", None) or _NO_CODE
    message = f"{operation}: {status} {code}: {_describe_error(error)}"
    if status in _DENIED:
        return Unavailable(f"{message} {rights}")
    # Without a code a proxy has answered: its 404 must not be taken for a job that does not exist.
    if 400 <= status < 500 and status not in _RETRY_LATER and code != _NO_CODE:  # noqa: PLR2004
        if status == 404:  # noqa: PLR2004
            if _NO_PLACE.search(code) or _WORKSPACE.search(message):
                return Unavailable(f"{message} Look at the setting that names it.")
            return NotFound(message)
        return Conflict(message) if status == 409 else Malformed(message)  # noqa: PLR2004
    return Unavailable(message, parse_retry_after(getattr(error.response, "headers", {})))


def _describe_error(error: AzureError) -> str:
    """Azure's message in one line, without the queries of URLs, which may hold a signature."""
    text = getattr(getattr(error, "error", None), "message", None) or str(error)
    return clip_text(re.sub(r"\?[^\s'\")]*", "", find_sign_in_line(text)))
