#!/usr/bin/env bash
# What is done: three M-Bus telegrams of a meter are decoded by two packages. The
#   counter is 12345, the unit code is litres (0x13). The second telegram adds the
#   extension byte 0x7D, which in EN 13757-3 means "multiply by 1000" (large
#   meters and meters with a pulse weight send it), the third one 0x73, which
#   means "multiply by 10^-3".
# Packages: pyMeterBus 0.8.5, pymbusparser 0.5.3
# A good guess: 12.345, 12345 and 0.012345 m3 in both; a package that does not
#   know the byte says so by an error or gives no value.
# What is seen: pyMeterBus gives 12.345 m3 for all three. The only trace is the
#   text UNKNOWN_ENHANCEMENT in a further key, "unit_enh"; value and unit look
#   ordinary. pymbusparser multiplies. So two readers of one telegram are a factor
#   of 1000 apart, in either direction.
# Output seen:
#   no extension byte: pyMeterBus 12.345 m3, pymbusparser 12.345 m3
#   byte 0x7D (x1000): pyMeterBus 12.345 m3, pymbusparser 12345 m3
#   byte 0x73 (x10^-3): pyMeterBus 12.345 m3, pymbusparser 0.012345 m3
# Why it matters: readings of a fleet of meters come through such a reader. When
#   the reader or the meter is changed, a model sees 1000 times the consumption
#   or a thousandth, without an error anywhere.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check pyMeterBus==0.8.5 pymbusparser==0.5.3
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import sys
from decimal import Decimal
from importlib.metadata import version

import meterbus
import pymbusparser

print("pyMeterBus", version("pyMeterBus"), "pymbusparser", version("pymbusparser"))


def telegram(records):
    # control, address, CI; then meter number 12345678, maker, version, water, counters
    body = bytes.fromhex("080172" "78563412" "2423" "01" "07" "55" "00" "0000") + bytes.fromhex(records)
    return bytes([0x68, len(body), len(body), 0x68]) + body + bytes([sum(body) & 0xFF, 0x16])


seen = []
for name, header in (("no extension byte", "0413"), ("byte 0x7D (x1000)", "04937D"), ("byte 0x73 (x10^-3)", "049373")):
    data = telegram(header + "39300000")          # 0x3039 = 12345, least byte first
    one = meterbus.load(data).body.interpreted["records"][0]
    two = pymbusparser.parse(data)["records"][0]
    assert one["unit"] == "MeasureUnit.M3" and two["unit"] == "m3"
    a, b = round(float(one["value"]), 9), Decimal(two["value"]["value"])
    seen.append((a, b))
    print(f"{name}: pyMeterBus {a} m3, pymbusparser {b} m3")
D = Decimal
still = seen == [(12.345, D("12.345")), (12.345, D("12345")), (12.345, D("0.012345"))]
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
