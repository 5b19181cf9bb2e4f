#!/usr/bin/env bash
# What is done: a sensor's filter decays towards zero, as exponential filters do: its
#   readings are 1e-300, 1e-305, 1e-310 (float64 has numbers down to 5e-324, with fewer
#   digits below 2.2e-308). They are written as InfluxDB's line protocol, and parsed.
# Package: line_protocol_parser 2.0.1
# A good guess: all three are numbers: the protocol's floats are IEEE 754, 64 bits, and
#   Python's own float() reads each.
# What is seen: 1e-310 raises LineFormatError, "Failed to parse type of field value". So
#   does 1e-400, which others round to 0. With the line the good fields beside it are lost.
# Output seen:
#   1e-300 {'temp': 20.5, 'filtered': 1e-300}
#   1e-305 {'temp': 20.5, 'filtered': 1e-305}
#   1e-310 LineFormatError: Failed to parse type of field value.
# Why it matters: a device works for weeks, and an export of it cannot be read, or loses
#   its lines, from the hour on in which a filter has come to rest.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check line_protocol_parser==2.0.1
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import sys
from importlib.metadata import version

from line_protocol_parser import LineFormatError, parse_line

print("line_protocol_parser", version("line_protocol_parser"))


def parse(fields):
    try:
        read = parse_line(f"motor,device=pump1 {fields} 1704067200000000000")["fields"]
        return dict(sorted(read.items(), reverse=True))
    except LineFormatError as error:
        return f"LineFormatError: {error}"


read = {text: parse(f"temp=20.5,filtered={text}") for text in ("1e-300", "1e-305", "1e-310")}
for text, fields in read.items():
    print(text, fields)
still = (read["1e-300"] == {"temp": 20.5, "filtered": 1e-300} and read["1e-305"] == {"temp": 20.5, "filtered": 1e-305}
         and str(read["1e-310"]).startswith("LineFormatError") and float("1e-310") > 0)
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
