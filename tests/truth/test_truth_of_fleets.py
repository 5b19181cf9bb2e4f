"""For any fleet the product's answer is scikit-learn's own for the same rows, or an honest refusal.

`FLEETSCORE_FLEETS` sets how many fleets are drawn. A failure shows the smallest fleet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from scorer.kernels import dispatch
from tests.truth.expected import Rows, check_answer, count_unknown
from tests.truth.fleets import Fleet, draw_fleets
from tests.truth.product import answer

FLEETS = int(os.environ.get("FLEETSCORE_FLEETS", "200"))
SAME = "FLEETSCORE_FLEETS" not in os.environ  # the suite draws the same fleets each time; by hand others are drawn


@pytest.fixture(autouse=True, scope="module")
def numpy_kernels() -> Iterator[None]:
    """Numba's would be compiled, for fleets of ten rows."""
    before = dispatch.get_backend()
    dispatch.choose_backend("numpy")
    yield
    dispatch.choose_backend(before)


@settings(max_examples=FLEETS, derandomize=SAME, suppress_health_check=list(HealthCheck), print_blob=True)
@given(draw_fleets())
def test_what_is_answered_is_what_the_library_says_or_a_refusal_with_its_reason(fleet: Fleet) -> None:
    with TemporaryDirectory() as folder:
        answers = answer(fleet, Path(folder))

    rows = Rows(fleet, answers.needed)
    checked = [check_answer(rows, spec, one) for spec, one in zip(fleet.models, answers.models, strict=True)]
    assert [problem for problem, _ in checked if problem] == []
    assert answers.left_out == sum(left_out for _, left_out in checked)
    assert answers.unknown == count_unknown(rows)
