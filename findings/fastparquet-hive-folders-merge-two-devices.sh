#!/usr/bin/env bash
# What is done: readings of three devices and one row without a device are written
#   into hive folders (device=...) by fastparquet, and by pyarrow, and read with
#   pyarrow and with fastparquet. The names are "line1", "line1/pump" and "line 2".
# Packages: fastparquet 2026.9.0, pyarrow 26.0.1, pandas 3.1.1
# A good guess: a name with a slash is escaped (device=line1%2Fpump), and the row
#   without a device goes to __HIVE_DEFAULT_PARTITION__, as all other writers do; or
#   fastparquet refuses them.
# What is seen: fastparquet makes the folder "device=line1" and in it a folder "pump".
#   Who reads with pyarrow gets the readings of line1/pump as readings of line1. The row
#   without a device is not written at all. No error, no warning in writing. The other
#   way round, fastparquet does not undo the escapes of pyarrow: "line 2" becomes the
#   device "line%202", and the row without a device becomes the device
#   "__HIVE_DEFAULT_PARTITION__". (Files of fastparquet read by fastparquet itself: KeyError.)
# Output seen:
#   written: {1.0: 'line1', 2.0: 'line1/pump', 3.0: 'line 2', 4.0: None}
#   fastparquet -> pyarrow: {1.0: 'line1', 2.0: 'line1', 3.0: 'line 2'}
#   fastparquet -> fastparquet: KeyError
#   pyarrow -> pyarrow: {1.0: 'line1', 2.0: 'line1/pump', 3.0: 'line 2', 4.0: None}
#   pyarrow -> fastparquet: {1.0: 'line1', 2.0: 'line1%2Fpump', 3.0: 'line%202', 4.0: '__HIVE_DEFAULT_PARTITION__'}
# Why it matters: the device name chooses the model. Here a pump is scored by the model
#   of its line, a device has no model because its name is another one, and rows are
#   lost without a count.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check fastparquet==2026.9.0 pyarrow==26.0.1 pandas==3.1.1
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import sys
from importlib.metadata import version

import fastparquet
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

print("fastparquet", version("fastparquet"), "pyarrow", version("pyarrow"), "pandas", version("pandas"))
names = ["line1", "line1/pump", "line 2", None]
frame = pd.DataFrame({"device": names, "v": [1.0, 2.0, 3.0, 4.0]})
fastparquet.write("by_fastparquet", frame, file_scheme="hive", partition_on=["device"])
pq.write_to_dataset(pa.table({"device": names, "v": [1.0, 2.0, 3.0, 4.0]}), "by_pyarrow", partition_cols=["device"])


def arrow(folder):
    rows = ds.dataset(folder, partitioning="hive").to_table().to_pylist()
    return {r["v"]: r["device"] for r in sorted(rows, key=lambda r: r["v"])}


def fast(folder):
    try:
        df = fastparquet.ParquetFile(folder).to_pandas().sort_values("v")
        return {float(v): d for v, d in zip(df["v"], df["device"].astype(object))}
    except KeyError:
        return "KeyError"


print("written:", dict(zip(frame["v"].tolist(), names)))
got = {}
for writer in ("fastparquet", "pyarrow"):
    for reader, how in (("pyarrow", arrow), ("fastparquet", fast)):
        got[writer, reader] = how(f"by_{writer}")
        print(f"{writer} -> {reader}:", got[writer, reader])
a, b = got["fastparquet", "pyarrow"], got["pyarrow", "fastparquet"]
still = (a == {1.0: "line1", 2.0: "line1", 3.0: "line 2"} and isinstance(b, dict)
         and b[3.0] == "line%202" and b[4.0] == "__HIVE_DEFAULT_PARTITION__")
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
