#!/usr/bin/env bash
# What is done: 25 samples of a temperature (70 degC, 10 samples a second; range of the
#   channel 20 to 80 degC) are written to an EDF+ file with pyedflib's EdfWriter and
#   read again. Sample 3 is NaN (a gap), sample 7 is 150 (the sensor is too hot).
# Packages: pyEDFlib 0.1.42, edfio 0.4.18, numpy 2.4.6
# A good guess: NaN and 150 are refused, because EDF can hold neither; 25 samples come
#   back.
# What is seen: the gap becomes 20.0, the lowest reading of the range. 150 becomes 80.0.
#   The last record of half a second is filled up with 20.0, so 30 samples come back,
#   five of which nobody measured. No error, no warning. edfio, which reads the same
#   numbers from that file, refuses to write each of the three.
# Output seen:
#   pyedflib: 30 samples, gap -> 20.0, 150 -> 80.0, last six: [70.0, 20.0, 20.0, 20.0, 20.0, 20.0]
#   edfio reads the same file: same 30 samples: True
#   edfio writes NaN: ValueError
#   edfio writes 150: ValueError
#   edfio writes 2.5 seconds: ValueError
# Why it matters: each gap becomes a sudden drop to the end of the range, and each file
#   ends with one. A model for anomalies calls healthy devices broken, and a sensor that
#   is far too hot looks as if it were just at its limit.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check pyEDFlib==0.1.42 edfio==0.4.18 numpy==2.4.6
cd "$tmp"
"$tmp/v/bin/python" - <<'P'
import sys
from importlib.metadata import version

import edfio
import numpy as np
import pyedflib

print("pyEDFlib", version("pyEDFlib"), "edfio", version("edfio"))
x = np.full(25, 70.0)
x[3], x[7] = np.nan, 150.0
w = pyedflib.EdfWriter("a.edf", 1, file_type=pyedflib.FILETYPE_EDFPLUS)
w.setSignalHeaders([{"label": "temp", "dimension": "degC", "sample_frequency": 10, "physical_min": 20,
                     "physical_max": 80, "digital_min": -32768, "digital_max": 32767,
                     "transducer": "", "prefilter": ""}])
w.writeSamples([x])
w.close()
r = pyedflib.EdfReader("a.edf")
y = r.readSignal(0)
r.close()
print(f"pyedflib: {len(y)} samples, gap -> {y[3]:.1f}, 150 -> {y[7]:.1f}, last six: {[round(float(v), 1) for v in y[-6:]]}")
print("edfio reads the same file: same 30 samples:", bool(np.allclose(edfio.read_edf("a.edf").signals[0].data, y)))
for name, data in (("NaN", np.array([70.0] * 9 + [np.nan])), ("150", np.array([70.0] * 9 + [150.0])),
                   ("2.5 seconds", np.full(25, 70.0))):
    try:
        edfio.Edf([edfio.EdfSignal(data, 10, label="temp", physical_range=(20, 80))], data_record_duration=1).write("b.edf")
        said = "accepted"
    except ValueError:
        said = "ValueError"
    print(f"edfio writes {name}: {said}")
still = len(y) == 30 and y[3] == 20.0 and y[7] == 80.0 and list(y[-5:]) == [20.0] * 5
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
