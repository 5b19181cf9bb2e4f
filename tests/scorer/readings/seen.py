"""Readings as a model sees them: what the tests of the readings share."""

from pathlib import Path

import pytest

from scorer.errors import Unscorable
from scorer.readings import features, source
from scorer.readings.source import Readings
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model, Reason
from shared.contract.model_names import Columns
from shared.contract.scoring_options import BadRows, ReadingOptions
from shared.contract.windows import Window

HOUR = Window.parse("20261121T0700Z-PT1H")
FAIL = ReadingOptions(bad_rows=BadRows.FAIL)


def read(
    root: Path,
    *devices: str,
    window: Window | None = HOUR,
    columns: Columns | None = None,
    policy: ReadingOptions | None = None,
) -> Readings:
    return source.read_readings(Folder(root), [""], columns or Columns(), devices or ("pump",), window, policy)


def read_text(
    root: Path, text: str | bytes, *devices: str, columns: Columns | None = None, policy: ReadingOptions | None = None
) -> Readings:
    (root / "a").write_bytes(text.encode() if isinstance(text, str) else text)
    return read(root, *devices, columns=columns, policy=policy)


def see(
    found: Readings, model: str = "pump", names: tuple[str, ...] = (), count: int | None = None
) -> list[tuple[str, list[float]]]:
    """The rows that a model sees: the time of day, and the values."""
    device, _, sensor = model.partition("/")
    one = Model(device, sensor, f"{model}.skops", "etag")
    signal = features.build_model_readings(found, one, features.find_frame_rows(found, one), names, count)
    values = signal.values.tolist()  # no pandas
    times = signal.time.astype("datetime64[us]").astype(str)
    return [(t[11:26].rstrip("0").rstrip("."), v) for t, v in zip(times, values, strict=True)]


def refusal(found: Readings, model: str = "pump", **wants: object) -> tuple[Reason, str]:
    with pytest.raises(Unscorable) as caught:
        see(found, model, **wants)  # type: ignore[arg-type]  # names or count
    return caught.value.reason, str(caught.value)
