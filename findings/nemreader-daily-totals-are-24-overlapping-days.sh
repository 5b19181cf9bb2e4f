#!/usr/bin/env bash
# What is done: one day of a smart meter (NEM12, the Australian format: 48 half
#   hours of 1 kWh) is read with get_data_frame(set_interval=N), which brings all
#   readings to intervals of N minutes.
# Package: nemreader 0.9.2
# A good guess: 60 gives 24 rows of 2 kWh; 120 gives 12 rows of 4 kWh; 1440 gives
#   one row of 48 kWh. A number that is not supported is
#   refused.
# What is seen: above 60 there are always 24 rows with the sum of one hour each, but
#   each row says that it covers N minutes. So 1440 gives 24 "days" of 2 kWh, which
#   overlap, and the first of them starts 23 hours before the meter's first
#   reading. 45 gives 48 rows of 1 kWh, which overlap, too. The sum over all rows
#   stays 48, so a check of the sum does not find it.
# Output seen:
#   60: 24 rows of 2.0 kWh, first 2024-01-01 00:00 to 2024-01-01 01:00, sum 48.0
#   45: 48 rows of 1.0 kWh, first 2024-01-01 00:00 to 2024-01-01 00:45, sum 48.0
#   120: 24 rows of 2.0 kWh, first 2023-12-31 23:00 to 2024-01-01 01:00, sum 48.0
#   1440: 24 rows of 2.0 kWh, first 2023-12-31 01:00 to 2024-01-01 01:00, sum 48.0
# Why it matters: daily totals per meter are the usual feature of a model of
#   consumption. Here every "day" has a 24th of the true consumption.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check nemreader==0.9.2 pandas==3.1.1
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import sys
from importlib.metadata import version

from nemreader import NEMFile

print("nemreader", version("nemreader"), "pandas", version("pandas"))
rows = ["100,NEM12,202401020000,MDP1,RETAILER1",
        "200,NMI0000001,E1,1,E1,N1,METER1,kWh,30,20240201",
        "300,20240101," + ",".join(["1.0"] * 48) + ",A,,,20240102000000,20240102010000",
        "900"]
with open("meter.csv", "w") as f:
    f.write("\n".join(rows) + "\n")
seen = {}
for minutes in (60, 45, 120, 1440):
    df = NEMFile("meter.csv", strict=True).get_data_frame(set_interval=minutes)
    each = sorted(set(df["value"]))
    seen[minutes] = (len(df), each, str(df["t_start"].iloc[0]), float(df["value"].sum()))
    print(f"{minutes}: {len(df)} rows of {', '.join(map(str, each))} kWh, first {df['t_start'].iloc[0]:%Y-%m-%d %H:%M}"
          f" to {df['t_end'].iloc[0]:%Y-%m-%d %H:%M}, sum {df['value'].sum()}")
still = (seen[60][:2] == (24, [2.0]) and seen[120][:2] == (24, [2.0]) and seen[45][:2] == (48, [1.0])
         and seen[1440] == (24, [2.0], "2023-12-31 01:00:00", 48.0))
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
