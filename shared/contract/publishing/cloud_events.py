"""The envelope of an event of CloudEvents 1.0, in JSON. Pure.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any


def make_event(
    app: str,
    name: str,
    kind: str,
    subject: str,
    time: datetime,
    data: Mapping[str, Any],
    extensions: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An event of *app*; *name* is its id, *kind* the last words of its type, such as `run_failed`."""
    return {
        "specversion": "1.0",
        "id": name,
        "source": f"/fleetscore/{app}",
        "type": f"fleetscore.{kind}",
        "subject": subject,
        "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        **(extensions or {}),
        "data": data,
    }
