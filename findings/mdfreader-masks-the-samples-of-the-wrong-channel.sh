#!/usr/bin/env bash
# What is done: an MDF4 measurement file with three channels is written by asammdf.
#   Each channel marks some samples as invalid (MDF4 keeps one invalidation bit per
#   channel and sample): "temp" samples 2 and 3, "flow" sample 0, "rpm" sample 5. The
#   file is read by asammdf and by mdfreader.
# Packages: asammdf 8.8.28, mdfreader 4.3, numpy 2.4.6, pandas 3.1.1
# A good guess: mdfreader leaves the invalid samples out or masks them; at the latest
#   after its method apply_all_invalid_bit() each channel has its own mask.
# What is seen: the plain reading, the pandas frame and the CSV export give the invalid
#   samples as ordinary values (0.0 degC). After apply_all_invalid_bit() the masks sit
#   on the wrong channels: the mask of "temp" is laid on "flow", the mask of "flow" on
#   "rpm", and "temp" keeps its invalid zeros. asammdf reads all three rightly.
# Output seen:
#   temp asammdf [20.0, 21.0, None, None, 24.0, 25.0] mdfreader [20.0, 21.0, 0.0, 0.0, 24.0, 25.0] masked [20.0, 21.0, 0.0, 0.0, 24.0, 25.0]
#   flow asammdf [None, 2.0, 3.0, 4.0, 5.0, 6.0] mdfreader [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] masked [1.0, 2.0, None, None, 5.0, 6.0]
#   rpm asammdf [1.0, 2.0, 3.0, 4.0, 5.0, None] mdfreader [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] masked [None, 2.0, 3.0, 4.0, 5.0, 6.0]
# Why it matters: the logger said which samples are no readings. A model gets them as
#   readings, and loses good ones of the sensor beside it.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check asammdf==8.8.28 mdfreader==4.3 numpy==2.4.6 pandas==3.1.1
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import logging
import sys
from importlib.metadata import version

logging.disable(logging.CRITICAL)
import mdfreader
import numpy as np
from asammdf import MDF, Signal

print("asammdf", version("asammdf"), "mdfreader", version("mdfreader"))
t = np.arange(6.0)
values = {"temp": [20.0, 21.0, 0.0, 0.0, 24.0, 25.0], "flow": [1.0, 2, 3, 4, 5, 6], "rpm": [1.0, 2, 3, 4, 5, 6]}
bad = {"temp": [2, 3], "flow": [0], "rpm": [5]}
file = MDF(version="4.10")
file.append([Signal(np.array(values[n]), t, name=n, invalidation_bits=np.isin(np.arange(6), bad[n])) for n in values])
file.save("run.mf4", overwrite=True)
file.close()


def plain(a):
    return [None if m else float(v) for v, m in zip(np.ma.getdata(a), np.ma.getmaskarray(a))]


with MDF("run.mf4") as m:
    frame = m.to_dataframe(use_interpolation=False)
    right = {n: [None if np.isnan(v) else float(v) for v in frame[n]] for n in values}
other = mdfreader.Mdf("run.mf4")
read = {n: plain(other.get_channel_data(n)) for n in values}
other.apply_all_invalid_bit()
masked = {n: plain(other.get_channel_data(n)) for n in values}
for n in values:
    print(n, "asammdf", right[n], "mdfreader", read[n], "masked", masked[n])
hidden = {n: [i for i, v in enumerate(masked[n]) if v is None] for n in values}
still = (all(None not in read[n] for n in values)
         and all([i for i, v in enumerate(right[n]) if v is None] == bad[n] for n in values)
         and hidden == {"temp": [], "flow": [2, 3], "rpm": [0]})
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
