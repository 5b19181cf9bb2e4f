#!/usr/bin/env bash
# What is done: a frame with a tag column "device" is turned into line protocol
#   by the clients for InfluxDB 2 and 3. In one row the device is the empty text.
# Packages: influxdb-client 1.50.0, influxdb3-python 0.21.0, pandas 3.1.1, polars 2.1.0
# A good guess: the tag is left out in that row (line protocol has no empty
#   tags, and Point does leave it out), or the row is refused.
# What is seen: both clients write the tag device=nan. So a device with the name
#   "nan" appears in the database and collects the rows of everybody without a
#   name. One and the same package does three things: Point leaves the tag out,
#   a pandas frame gives "nan", a polars frame leaves the tag out.
# Output seen:
#   influxdb-client  Point:  score value=2
#   influxdb-client  pandas: score,device=nan value=2.0 1704106800000000000
#   influxdb3-python pandas: score,device=nan value=2.0 1704106800000000000
#   influxdb3-python polars: score value=2.0 1704106800000000000
# Why it matters: scores of several devices fall together under one name, and a
#   count of the devices in the database is one too high.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check influxdb-client==1.50.0 influxdb3-python==0.21.0 pandas==3.1.1 polars==2.1.0
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import sys
from importlib.metadata import version

import pandas as pd
import polars as pl
from influxdb_client import Point
from influxdb_client.client.write.dataframe_serializer import data_frame_to_list_of_points as two
from influxdb_client.client.write_api import PointSettings
from influxdb_client_3.write_client.client.write.dataframe_serializer import data_frame_to_list_of_points as three
from influxdb_client_3.write_client.client.write.polars_dataframe_serializer import polars_data_frame_to_list_of_points as polars_three
from influxdb_client_3.write_client.client.write_api import PointSettings as Settings3

for name in ("influxdb-client", "influxdb3-python", "pandas", "polars"):
    print(name, version(name))
frame = pd.DataFrame({"value": [1.0, 2.0], "device": ["pump7", ""]},
                     index=pd.date_range("2024-01-01 10:00:00", periods=2, freq="h"))
how = dict(data_frame_measurement_name="score", data_frame_tag_columns=["device"])
point = Point("score").tag("device", "").field("value", 2.0).to_line_protocol()
a = two(frame, PointSettings(), **how)[1]
b = three(frame, Settings3(), **how)[1]
c = polars_three(pl.from_pandas(frame.reset_index(names="t")), Settings3(),
                 data_frame_timestamp_column="t", **how)[1]
print("influxdb-client  Point: ", point)
print("influxdb-client  pandas:", a)
print("influxdb3-python pandas:", b)
print("influxdb3-python polars:", c)
still = ("device=nan" in a and "device=nan" in b and "device" not in c and "device" not in point)
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
