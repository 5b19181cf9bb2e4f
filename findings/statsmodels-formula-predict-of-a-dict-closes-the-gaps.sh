#!/usr/bin/env bash
# What is done: a formula model of statsmodels 0.15.0 (ols("power ~ temp")) predicts five rows,
#   of which one has a gap (NaN): once handed over as a DataFrame, once as a dict of
#   arrays with the same numbers. Both kinds are accepted.
# Good guess: five answers both times, NaN at the gap.
# Seen: the DataFrame gives five answers with NaN at the gap. The dict gives FOUR answers:
#   the row of the gap is left out and all later answers move up by one.
#   Output seen:
#     readings   [ 1.  2. nan  4.  5.]
#     DataFrame  [ 4.  7. nan 13. 16.]
#     dict       [ 4.  7. 13. 16.]
# Why it matters: answers joined to timestamps by place belong to other times from the
#   first gap on; a sum or a mean of them looks right.
set -euo pipefail
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/v"
"$d/v/bin/pip" install -q --no-compile --disable-pip-version-check statsmodels==0.15.0 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1
cat > "$d/t.py" <<'P'
import sys, numpy as np, pandas as pd, statsmodels.formula.api as smf
t = np.arange(10.); m = smf.ols("power ~ temp", pd.DataFrame({"temp": t, "power": 3 * t + 1})).fit()
q = np.array([1, 2, np.nan, 4, 5])
frame, plain = np.asarray(m.predict(pd.DataFrame({"temp": q}))), np.asarray(m.predict({"temp": q}))
print("readings  ", q); print("DataFrame ", frame.round(3)); print("dict      ", plain.round(3))
sys.exit(0 if len(frame) == 5 and np.isnan(frame[2]) and len(plain) == 4 else 1)
P
"$d/v/bin/python" "$d/t.py" || { echo "behaviour changed"; exit 1; }
