#!/usr/bin/env bash
# What is done: a frame with a time column is written with fastparquet and read
#   with pyarrow, in four ways: pandas' own unit (microseconds) and seconds,
#   each with times="int64" (the default) and times="int96" (for Spark).
# Packages: fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1
# A good guess: all four give 2024-01-01 10:00. The release is newer than
#   pandas 3, whose times are microseconds by default instead of nanoseconds.
# What is seen: only one of four is right. times="int96" takes any number as
#   nanoseconds: 10:00 on 1 January 2024 is written as 20 January 1970. Seconds
#   are counted as seconds and labelled as milliseconds: 00:28:24 on 1 January
#   1970. No error, no warning; the wrong number is in the file, so every reader
#   sees it. A numpy array of days (datetime64[D]) becomes seconds in pandas 3,
#   so the second case does not need anybody who asks for seconds.
# Output seen:
#   datetime64[us] times=int64 -> 2024-01-01 10:00:00
#   datetime64[us] times=int96 -> 1970-01-20 17:21:43.200000
#   datetime64[s] times=int64 -> 1970-01-01 00:28:24.103000
#   datetime64[s] times=int96 -> 1970-01-01 00:00:01.704103200
# Why it matters: a window such as "the last 24 hours" finds no row for any
#   device, and a time feature has a value that no model was trained on.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1
cd "$tmp"
"$tmp/v/bin/python" - <<'P'
import sys

import fastparquet
import pandas as pd
import pyarrow
import pyarrow.parquet as pq

print("fastparquet", fastparquet.__version__, "pandas", pd.__version__, "pyarrow", pyarrow.__version__)
right = pd.Timestamp("2024-01-01 10:00:00")
seen = {}
for unit in ("us", "s"):
    times = pd.Series(pd.to_datetime(["2024-01-01 10:00:00"])).astype(f"datetime64[{unit}]")
    for kind in ("int64", "int96"):
        fastparquet.write("a.parquet", pd.DataFrame({"t": times}), times=kind)
        got = pd.Timestamp(pq.read_table("a.parquet")["t"].to_pylist()[0])
        seen[unit, kind] = got
        print(f"{times.dtype} times={kind} -> {got}")
still = (seen["us", "int64"] == right and seen["us", "int96"].year == 1970
         and seen["s", "int64"].year == 1970 and seen["s", "int96"].year == 1970)
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
