#!/usr/bin/env bash
# What is done: an MDF4 channel of whole numbers (uint8) has a conversion of the kind
#   "value range to value" (cc_type 6): raw 0 to 9 is 1.5 m, raw 10 to 19 is 2.5 m, all
#   others are -1. asammdf writes it, and reads it back; then the same with floats.
# Package: asammdf 8.8.28 (numpy 2.4.6, pandas 3.1.1)
# A good guess: a raw value within a range gives the value of that range. The
#   specification says so: for integers both limits belong to the range.
# What is seen: of whole numbers only those that equal an upper limit get the value of
#   their range. All others within a range get the default, and those above the last
#   range, which should get the default, get the value of the last range. A channel of
#   floats with the same table is right. Nothing is logged or raised.
# Output seen:
#   raw      [0, 3, 9, 10, 12, 19, 25]
#   uint8    [-1.0, -1.0, 1.5, -1.0, -1.0, 2.5, 2.5]
#   expected [1.5, 1.5, 1.5, 2.5, 2.5, 2.5, -1.0]
#   float64  [1.5, 1.5, -1.0, 2.5, 2.5, -1.0, -1.0] (their upper limit is outside)
# Why it matters: levels, gears and classes of a device are stored so. A model sees the
#   default nearly always, and a value out of all ranges as the highest class.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check asammdf==8.8.28 numpy==2.4.6 pandas==3.1.1
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import sys
from importlib.metadata import version

import numpy as np
from asammdf import MDF, Signal
from asammdf.blocks.conversion_utils import from_dict

print("asammdf", version("asammdf"))
table = {"lower_0": 0.0, "upper_0": 9.0, "phys_0": 1.5, "lower_1": 10.0, "upper_1": 19.0, "phys_1": 2.5, "default": -1.0}
raw = [0, 3, 9, 10, 12, 19, 25]
read = {}
for kind in ("uint8", "float64"):
    with MDF(version="4.10") as file:
        file.append([Signal(np.array(raw, kind), np.arange(7.0), name="level", unit="m", conversion=from_dict(table))])
        file.save(f"{kind}.mf4", overwrite=True)
    with MDF(f"{kind}.mf4") as file:
        read[kind] = file.get("level").samples.tolist()
expected = [1.5, 1.5, 1.5, 2.5, 2.5, 2.5, -1.0]
print("raw     ", raw)
print("uint8   ", read["uint8"])
print("expected", expected)
print("float64 ", read["float64"], "(their upper limit is outside)")
still = (read["uint8"] == [-1.0, -1.0, 1.5, -1.0, -1.0, 2.5, 2.5]
         and read["float64"] == [1.5, 1.5, -1.0, 2.5, 2.5, -1.0, -1.0])
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
