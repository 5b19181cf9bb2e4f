#!/usr/bin/env bash
# What is done: decimals are written into an Avro file whose field is
#   decimal(precision 6, scale 2), by the packages "avro" (of the Apache project)
#   and "fastavro", and read with both.
# Packages: avro 1.12.2, fastavro 1.13.1
# A good guess: Decimal("21") and Decimal("21.5") come back as 21.00 and 21.50.
#   avro does look at the scale: it refuses 21.555.
# What is seen: avro stores the digits as they are, and does not bring them to the
#   scale of the schema. 21 is read as 0.21, and 21.5 as 2.15; 21.50 is right. So
#   two equal numbers give two different readings, a factor of 10 or 100 apart.
#   No error. When reading, avro also rounds to the precision of the schema:
#   12345.67 in a field of precision 4 is written without an error and read as
#   12350 (1.235E+4). fastavro writes the first three rightly and refuses the last.
# Output seen:
#   avro     writes 21     -> avro reads 0.21, fastavro reads 0.21
#   avro     writes 21.5   -> avro reads 2.15, fastavro reads 2.15
#   avro     writes 21.50  -> avro reads 21.50, fastavro reads 21.50
#   fastavro writes 21     -> avro reads 21.00, fastavro reads 21.00
#   fastavro writes 21.5   -> avro reads 21.50, fastavro reads 21.50
#   fastavro writes 21.50  -> avro reads 21.50, fastavro reads 21.50
#   precision 4: avro writes 12345.67 -> avro reads 1.235E+4; fastavro: ValueError
# Why it matters: round readings of a meter are 100 times too small, and readings
#   with all digits are right: a model sees spikes that no device had.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check avro==1.12.2 fastavro==1.13.1
cd "$tmp"
"$tmp/v/bin/python" -W ignore - <<'P'
import json
import sys
from decimal import Decimal
from importlib.metadata import version

import avro.schema
import fastavro
from avro.datafile import DataFileReader, DataFileWriter
from avro.io import DatumReader, DatumWriter

print("avro", version("avro"), "fastavro", version("fastavro"))


def schema(precision):
    kind = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": 2}
    return {"type": "record", "name": "Reading", "fields": [{"name": "kwh", "type": kind}]}


def by_avro(value, what):
    with DataFileWriter(open("a.avro", "wb"), DatumWriter(), avro.schema.parse(json.dumps(what))) as w:
        w.append({"kwh": value})


def by_fastavro(value, what):
    with open("a.avro", "wb") as f:
        fastavro.writer(f, fastavro.parse_schema(what), [{"kwh": value}])


def read():
    with DataFileReader(open("a.avro", "rb"), DatumReader()) as r:
        one = next(iter(r))["kwh"]
    with open("a.avro", "rb") as f:
        return one, next(iter(fastavro.reader(f)))["kwh"]


got = {}
for name, write in (("avro", by_avro), ("fastavro", by_fastavro)):
    for text in ("21", "21.5", "21.50"):
        write(Decimal(text), schema(6))
        one, two = got[name, text] = read()
        print(f"{name:8} writes {text:6} -> avro reads {one}, fastavro reads {two}")
by_avro(Decimal("12345.67"), schema(4))
rounded = read()[0]
try:
    by_fastavro(Decimal("12345.67"), schema(4))
    other = "accepted"
except ValueError:
    other = "ValueError"
print(f"precision 4: avro writes 12345.67 -> avro reads {rounded}; fastavro: {other}")
D = Decimal
still = (got["avro", "21"] == (D("0.21"), D("0.21")) and got["avro", "21.5"] == (D("2.15"), D("2.15"))
         and got["avro", "21.50"] == (D("21.5"), D("21.5"))
         and all(got["fastavro", t] == (D(t), D(t)) for t in ("21", "21.5", "21.50")))
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
