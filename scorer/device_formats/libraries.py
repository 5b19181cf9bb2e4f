"""The libraries that read binary formats: imported late, and their errors as ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from importlib import import_module
from tempfile import gettempdir
from typing import Any

from shared.contract.errors import FleetError, Malformed, Misconfigured
from shared.contract.text import clip_text


def import_asammdf() -> Any:
    """The package asammdf. Raises Misconfigured where it is not installed."""
    with _explain_missing("MDF4"):
        return import_module("asammdf")


def import_nptdms() -> Any:
    """The package npTDMS. Raises Misconfigured where it is not installed."""
    with _explain_missing("TDMS"):
        library = import_module("nptdms")
        import_module("nptdms.log").log_manager.set_level(logging.CRITICAL)  # what it warns of is an error of ours
        return library


@contextmanager
def _explain_missing(name: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise Misconfigured(f"{name} needs the extra convert: pip install 'fleetscore[convert]' ({error})") from error


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Whatever a library raises while it reads one file of a format, as Malformed. Our own errors pass."""
    try:
        yield
    except FleetError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
            raise Misconfigured(f"expected space in {gettempdir()} (TMPDIR), got: {error.strerror}") from error
        message = clip_text(f"{type(error).__name__}: {error}")
        raise Malformed(f"expected a whole file in {name}, got one that its library cannot read: {message}") from error
