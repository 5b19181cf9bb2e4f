"""Here supervisors start as they do on a node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scorer.sandbox import pool
from tests.scorer.prepared_supervisors import PreparedSupervisors


@pytest.fixture(scope="module", autouse=True)
def real_supervisors() -> Iterator[None]:
    """Each with its own start."""
    prepared = pool._spawn_supervisor
    owner = prepared.__self__
    assert isinstance(owner, PreparedSupervisors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_spawn_supervisor", owner.spawn_real)
        yield
