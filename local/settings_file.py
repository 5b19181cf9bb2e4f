"""`host.json` and `local.settings.json`, as Core Tools and the development host read them. Sets nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.contract.errors import Malformed


def read_object(path: Path, advice: str = "") -> dict[str, Any]:
    """The JSON object in a file; raises Malformed, with *advice* where there is no file."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows write a byte order mark
    except OSError as error:
        raise Malformed(f"expected the file {path}, got {error.strerror}{advice}") from error
    except ValueError as error:
        raise Malformed(f"expected JSON in {path}, got {error}") from error
    if not isinstance(document, dict):
        raise Malformed(f"expected a JSON object in {path}, got {json.dumps(document)}")
    return document


def read_settings(path: Path) -> dict[str, str]:
    """The Values of `local.settings.json`, by name; raises Malformed with every value that is not text."""
    document = read_object(path, ": copy local.settings.example.json there")
    encrypted, values = document.get("IsEncrypted"), document.get("Values")
    if encrypted is not False:
        raise Malformed(f'expected "IsEncrypted": false in {path}, got {json.dumps(encrypted)}')
    if not isinstance(values, dict):
        raise Malformed(f'expected an object of settings as "Values" in {path}, got {json.dumps(values)}')
    problems = [
        f'expected text in quotes as "{name}" in {path}, got {json.dumps(value)}'
        for name, value in values.items()
        if not isinstance(value, str)
    ]
    if problems:
        raise Malformed("\n".join(problems))
    return values
