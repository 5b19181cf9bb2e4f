#!/usr/bin/env bash
# What is done: an MDF4 channel of volts has a conversion of the kind "value range to text
#   or scale" (cc_type 8), as sensors with diagnosis have it: below 0.5 V the text "short
#   circuit", from 4.5 V on "open", and between them bar = 2.5 V - 1.25. The same four
#   values are recorded once (4 samples), and 25 times over (100 samples).
# Package: asammdf 8.8.28 (numpy 2.4.6, pandas 3.1.1)
# A good guess: 0.3 V and 4.7 V are no readings (NaN), 0.6 V is 0.25 bar, 4.2 V is 9.25
#   bar, however long the recording is.
# What is seen: so it is with 4 samples, and up to 99. From 100 samples on another code is
#   used, which cuts the limits to whole numbers: 0.5 is 0, 4.5 is 4, 5.1 is 5. The short
#   circuit becomes a reading of -0.5 bar, and the good reading of 9.25 bar is gone.
# A second one, with an option that exports are often given: to keep raw numbers instead of
#   texts, ignore_value2text_conversions=True gives the raw code among scaled readings: of
#   a temperature with degC = 0.5 raw - 40 and the codes 254 "error", 255 "not available"
#   the sensor that is not available has 255 degC.
# Output seen:
#   4 samples   [nan, 0.25, 9.25, nan]
#   99 samples  [nan, 0.25, 9.25, nan]
#   100 samples [-0.5, 0.25, nan, nan]
#   codes       [10.0, nan, nan, 25.0] as they are, [10.0, 254.0, 255.0, 25.0] with that option
# Why it matters: a test with a short file shows the right numbers; the recordings of a
#   night give a model faults as readings, and readings as gaps.
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


def write(name, raw, table):
    with MDF(version="4.10") as file:
        file.append([Signal(raw, np.arange(len(raw)) * 1.0, name=name, conversion=from_dict(dict(table)))])
        file.save(f"{name}.mf4", overwrite=True)


def read(name, **options):
    with MDF(f"{name}.mf4") as file:
        return file.select([name], **options)[0].samples.tolist()[:4]


ranges = {"lower_0": 0.0, "upper_0": 0.5, "text_0": "short circuit", "lower_1": 4.5, "upper_1": 5.1, "text_1": "open",
          "default_addr": {"a": 2.5, "b": -1.25}}
seen = {}
for count in (4, 99, 100):
    write("pressure", np.resize([0.3, 0.6, 4.2, 4.7], count), ranges)
    seen[count] = read("pressure")
    print(f"{count} samples".ljust(11), seen[count])
codes = {"val_0": 254.0, "text_0": "error", "val_1": 255.0, "text_1": "not available", "default_addr": {"a": 0.5, "b": -40.0}}
write("oil", np.array([100, 254, 255, 130], np.uint8), codes)
plain, raw = read("oil"), read("oil", ignore_value2text_conversions=True)
print("codes      ", plain, "as they are,", raw, "with that option")
right = str([np.nan, 0.25, 9.25, np.nan])
still = (str(seen[4]) == str(seen[99]) == right and str(seen[100]) == str([-0.5, 0.25, np.nan, np.nan])
         and str(plain) == str([10.0, np.nan, np.nan, 25.0]) and raw == [10.0, 254.0, 255.0, 25.0])
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
