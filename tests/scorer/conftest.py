from typing import Any

import numpy as np
import pytest

from tests.scorer.fleets import DETECTORS


@pytest.fixture(params=sorted(DETECTORS))
def detector(request: pytest.FixtureRequest) -> Any:
    """An unfitted detector of each kind."""
    return DETECTORS[request.param]


@pytest.fixture
def normal() -> np.ndarray:
    """What models are trained on: 300 rows of 3 features, always the same."""
    return np.random.default_rng(7).normal([10.0, 20.0, 30.0], [1.0, 2.0, 3.0], (300, 3))
