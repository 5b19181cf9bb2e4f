"""Each check of checkov that a file of `infra` suppresses has its reason beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.infra.evaluate import INFRA


def skips() -> Iterator[tuple[str, str, str]]:
    """The file, the check and the reason of each suppression."""
    for path in sorted(INFRA.rglob("*.bicep")):
        for check, reason in re.findall(r"checkov:skip=(\w+)(.*)", path.read_text()):
            yield path.name, check, reason


def test_every_suppression_says_why() -> None:
    found = list(skips())
    assert found
    assert [each for each in found if not re.fullmatch(r": \S.{7,}", each[2])] == []
