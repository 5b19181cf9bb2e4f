#!/usr/bin/env bash
# What is done: a telegram of a meter with a fault is decoded by two packages. The
#   volume is sent as eight decimal digits (BCD), all of them 0xE: EN 13757-3 lets
#   a meter send hexadecimal digits to say that there is no valid value. After it
#   come a temperature of 21.0 degC and an energy of 5678 kWh, both good.
# Packages: pyMeterBus 0.8.5, pymbusparser 0.5.3
# A good guess: no value (None or an error mark) for the volume, and the other two
#   as they are, in both packages.
# What is seen: pyMeterBus makes a number of the fault: 14141.414 m3, with the
#   function "INSTANTANEOUS_VALUE". All digits 0xF give -15151.515 m3. pymbusparser
#   does the opposite: it throws away the fault and every record after it, so the
#   good temperature and energy are gone, too. No exception in either; "partial"
#   stands in a key beside the records.
# Output seen:
#   pyMeterBus   EEEEEEEE: volume 14141.414, temperature 21.0, energy 5678000.0
#   pyMeterBus   FFFFFFFF: volume -15151.515, temperature 21.0, energy 5678000.0
#   pymbusparser EEEEEEEE: partial, 0 of 3 records
#   pymbusparser, fault in the middle: partial, 1 of 3 records
#   pymbusparser, no fault: complete, 3 of 3 records
# Why it matters: a broken meter looks like a working one with a plausible counter,
#   or a fault in one channel makes gaps in the channels beside it. A model for
#   anomalies is asked about exactly these rows.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check pyMeterBus==0.8.5 pymbusparser==0.5.3
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import sys
from importlib.metadata import version

import meterbus
import pymbusparser

print("pyMeterBus", version("pyMeterBus"), "pymbusparser", version("pymbusparser"))


def telegram(*records):
    body = bytes.fromhex("080172" "78563412" "2423" "01" "04" "55" "00" "0000" + "".join(records))
    return bytes([0x68, len(body), len(body), 0x68]) + body + bytes([sum(body) & 0xFF, 0x16])


volume, warm, energy = "0C13", "025AD200", "0C0678560000"
seen = {}
for digits in ("EEEEEEEE", "FFFFFFFF"):
    records = meterbus.load(telegram(volume + digits, warm, energy)).body.interpreted["records"]
    assert {r["function"] for r in records} == {"FunctionType.INSTANTANEOUS_VALUE"}
    got = seen[digits] = [round(float(r["value"]), 6) for r in records]
    print(f"pyMeterBus   {digits}: volume {got[0]}, temperature {got[1]}, energy {got[2]}")


def parser(what, *records):
    p = pymbusparser.parse(telegram(*records))
    print(f"pymbusparser{what}: {p['decode_state']}, {len(p['records'])} of 3 records")
    return p["decode_state"], len(p["records"])


first = parser(" EEEEEEEE", volume + "EEEEEEEE", warm, energy)
middle = parser(", fault in the middle", warm, volume + "EEEEEEEE", energy)
good = parser(", no fault", volume + "45230100", warm, energy)
still = (seen["EEEEEEEE"] == [14141.414, 21.0, 5678000.0] and seen["FFFFFFFF"][0] == -15151.515
         and (first, middle, good) == (("partial", 0), ("partial", 1), ("complete", 3)))
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
