#!/usr/bin/env bash
# What is done: daily values of one device are stored as a Zarr store with
#   xarray; later, values of 06:00 and 18:30 are appended with
#   to_zarr(append_dim="time"). Then the store is opened again.
# Packages: xarray 2026.9.0, zarr 3.1.6, pandas 3.1.1, numpy 2.4.6
# A good guess: the store knows its time unit ("days since 2024-01-01"). So
#   xarray either rounds the new times, or refuses, or raises the resolution.
# What is seen: the new times are counted in minutes, and the unit in the store
#   stays "days". 06:00 on 3 January 2024 comes back as 14 November 2032. The
#   append ends without an error; there is one UserWarning, which says that the
#   times are "serialized with units 'minutes since ...' instead", as if the
#   unit in the store were changed too. Readings sorted by time or taken by
#   "newest row" are all wrong.
# Output seen:
#   stored unit: days since 2024-01-01 00:00:00
#   written: ['2024-01-01T00:00', '2024-01-02T00:00', '2024-01-03T06:00', '2024-01-03T18:30']
#   read:    ['2024-01-01T00:00', '2024-01-02T00:00', '2032-11-14T00:00', '2034-12-04T00:00']
#   errors: 0, warnings: 1
# Why it matters: a store of readings grows by appending. Whoever scores the
#   newest window of a device gets rows that are dated eight years ahead, or no
#   rows at all.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check xarray==2026.9.0 zarr==3.1.6 pandas==3.1.1 numpy==2.4.6
cd "$tmp"
"$tmp/v/bin/python" - <<'P'
import sys
import warnings

import numpy as np
import pandas as pd
import xarray as xr
import zarr

print("xarray", xr.__version__, "zarr", zarr.__version__, "pandas", pd.__version__)


def day(times):
    return xr.Dataset({"temp": ("time", np.arange(len(times)) * 1.0)},
                      coords={"time": pd.to_datetime(times)})


first = ["2024-01-01T00:00", "2024-01-02T00:00"]
second = ["2024-01-03T06:00", "2024-01-03T18:30"]
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    day(first).to_zarr("pump.zarr", zarr_format=2)
    day(second).to_zarr("pump.zarr", append_dim="time")
said = [w for w in seen if "serialized faithfully" in str(w.message)]
raw = xr.open_zarr("pump.zarr", decode_times=False)
got = [str(t)[:16] for t in xr.open_zarr("pump.zarr").time.values]
print("stored unit:", raw.time.attrs["units"])
print("written:", first + second)
print("read:   ", got)
print("errors: 0, warnings:", len(said))
still = got[:2] == first and got[2:] == ["2032-11-14T00:00", "2034-12-04T00:00"]
print("surprise still there" if still else "behaviour changed")
sys.exit(0 if still else 1)
P
