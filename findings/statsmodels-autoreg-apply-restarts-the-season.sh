#!/usr/bin/env bash
# What is done: AutoReg(seasonal=True, period=24) of statsmodels 0.15.0 is fitted on hourly
#   readings with an hourly DatetimeIndex. Later the same parameters are applied to the
#   newest 60 hours with results.apply(window), and the next hours are forecast.
# Good guess: the index has a frequency and the season belongs to the clock, so hour 3
#   keeps the coefficient of hour 3 (append() does so, and so does the forecast).
# Seen: apply() counts the season from the first row of the WINDOW. If the window does not
#   start at the training data's phase, each hour gets another hour's coefficient. A
#   window of 72 hours that starts at the right phase is right; nothing is said.
#   Output seen:
#     fit          greatest error of the next 12 hours:   0.30
#     apply, 72 h  greatest error of the next 12 hours:   0.30
#     apply, 60 h  greatest error of the next 12 hours:  20.30
#     apply, 61 h  greatest error of the next 12 hours:  19.82
#     append       greatest error of the next 12 hours:   0.30
# Why it matters: "keep the parameters of each device and apply them to the last N hours"
#   is right in tests at one hour of the day and wrong at all others.
set -euo pipefail
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/v"
"$d/v/bin/pip" install -q --no-compile --disable-pip-version-check statsmodels==0.15.0 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1
cat > "$d/t.py" <<'P'
import sys, warnings, numpy as np, pandas as pd
from statsmodels.tsa.ar_model import AutoReg
warnings.simplefilter("ignore")
n = 240; hour = np.arange(n + 12)
full = pd.Series(50 + 10 * np.sin(2 * np.pi * hour / 24) + np.random.RandomState(0).normal(size=n + 12) * .2,
                 index=pd.date_range("2026-01-01", periods=n + 12, freq="h"))
y, truth = full[:n], full[n:]
m = AutoReg(y, lags=1, seasonal=True, period=24).fit()
def error(r): return np.abs(r.forecast(12) - truth).max()
e = {"fit": error(m), "apply, 72 h": error(m.apply(y[-72:])), "apply, 60 h": error(m.apply(y[-60:])), "apply, 61 h": error(m.apply(y[-61:]))}
a = AutoReg(y[:-5], lags=1, seasonal=True, period=24).fit()
e["append"] = error(a.append(y[-5:]))
for k, v in e.items():
    print("%-12s greatest error of the next 12 hours: %6.2f" % (k, v))
sys.exit(0 if e["apply, 60 h"] > 5 and e["apply, 72 h"] < 2 and e["append"] < 2 else 1)
P
"$d/v/bin/python" "$d/t.py" || { echo "behaviour changed"; exit 1; }
