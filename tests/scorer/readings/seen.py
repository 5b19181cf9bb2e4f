"""Readings as a model sees them: what the tests of the readings share."""

from dataclasses import replace
from pathlib import Path

import pytest

from scorer.errors import Unscorable
from scorer.readings import features, source
from scorer.readings.device_readings import Readings
from scorer.readings.features import Expected
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import BadRows, Features, ReadingOptions
from shared.contract.windows import Window

HOUR = Window.parse("20261121T0700Z-PT1H")
AS_IN_FILE = ReadingOptions(features=Features(in_file_order=True))
FAIL = replace(AS_IN_FILE, bad_rows=BadRows.FAIL)


def read(
    root: Path,
    *devices: str,
    window: Window | None = HOUR,
    columns: Columns | None = None,
    policy: ReadingOptions = AS_IN_FILE,
) -> Readings:
    return source.read_readings(Folder(root), [""], columns or Columns(), devices or ("pump",), window, policy)


def read_text(
    root: Path, text: str | bytes, *devices: str, columns: Columns | None = None, policy: ReadingOptions = AS_IN_FILE
) -> Readings:
    (root / "a").write_bytes(text.encode() if isinstance(text, str) else text)
    return read(root, *devices, columns=columns, policy=policy)


def see(
    found: Readings,
    model: str = "pump",
    names: tuple[str, ...] = (),
    count: int | None = None,
    *,
    takes_gaps: bool = False,
) -> list[tuple[str, list[float]]]:
    """The rows that a model sees: the time of day, and the values."""
    device, _, sensor = model.partition("/")
    one = Model(device, sensor, f"{model}.skops", "etag")
    expected = Expected(names, count, takes_gaps)
    signal = features.build_model_readings(found, one, features.find_frame_rows(found, one), expected)
    values = signal.values.tolist()  # no pandas
    times = signal.time.astype("datetime64[us]").astype(str)
    return [(t[11:26].rstrip("0").rstrip("."), v) for t, v in zip(times, values, strict=True)]


def refusal(found: Readings, model: str = "pump", **wants: object) -> tuple[Reason, str]:
    with pytest.raises(Unscorable) as caught:
        see(found, model, **wants)  # type: ignore[arg-type]  # names or count
    return caught.value.reason, str(caught.value)
