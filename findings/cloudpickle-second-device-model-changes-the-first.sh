#!/usr/bin/env bash
# What is done: a notebook defines one small model class, sets a class attribute for
#   each device and saves one file for each device (cloudpickle 3.1.3). Another
#   process loads both files and scores.
# Good guess: cloudpickle stores the class by value inside each file, so each file
#   is complete in itself: what a model answers cannot depend on other files.
# Seen: both files carry the same class identity. The second load finds the class that
#   the first load made and writes its own attributes into it. The model that was
#   loaded FIRST now answers with the SECOND device's limit. Order decides.
#   Output seen:
#     pump alone        {'pump': 0.75}
#     fan alone         {'fan': 1.5}
#     pump, then fan    {'pump': 1.5, 'fan': 1.5}
#     fan, then pump    {'fan': 0.75, 'pump': 0.75}
# Why it matters: a worker that keeps the models of many devices in memory gives
#   another score than a worker with one model: alarms depend on how the devices
#   were dealt out. A test of each file alone passes.
set -euo pipefail
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/v"; "$d/v/bin/pip" install -q --no-compile --disable-pip-version-check cloudpickle==3.1.3
cat > "$d/write.py" <<'P'
import sys, cloudpickle
class Device:                                   # defined in the notebook, so stored by value
    limit = None
    def score(self, value):
        return value / self.limit
for name, limit in (("pump", 80.0), ("fan", 40.0)):
    Device.limit = limit                        # this device's limit
    with open("%s/%s.pkl" % (sys.argv[1], name), "wb") as f:
        cloudpickle.dump(Device(), f)
P
cat > "$d/read.py" <<'P'
import pickle, sys
models = {n: pickle.load(open("%s/%s.pkl" % (sys.argv[1], n), "rb")) for n in sys.argv[2:]}
print({n: m.score(60.0) for n, m in models.items()})
P
"$d/v/bin/python" "$d/write.py" "$d"
a=$("$d/v/bin/python" "$d/read.py" "$d" pump); b=$("$d/v/bin/python" "$d/read.py" "$d" fan)
c=$("$d/v/bin/python" "$d/read.py" "$d" pump fan); e=$("$d/v/bin/python" "$d/read.py" "$d" fan pump)
printf 'pump alone        %s\nfan alone         %s\npump, then fan    %s\nfan, then pump    %s\n' "$a" "$b" "$c" "$e"
if [ "$c" = "{'pump': 1.5, 'fan': 1.5}" ] && [ "$e" = "{'fan': 0.75, 'pump': 0.75}" ]; then exit 0; fi
echo "behaviour changed"; exit 1
