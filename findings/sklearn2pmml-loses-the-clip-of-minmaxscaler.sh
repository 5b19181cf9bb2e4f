#!/usr/bin/env bash
# What is done: a pipeline MinMaxScaler(clip=True) + Ridge is written to PMML by sklearn2pmml
#   0.133.1 and read by pypmml 1.5.8 (both bring their Java parts; Java 11 or newer is needed).
# Good guess: this converter is strict: it refuses options that it does not know
#   (it does refuse SplineTransformer with its default extrapolation). So clip is
#   either kept or refused.
# Seen: clip=True is dropped without a word. Rows inside the training range agree to 1e-9;
#   rows outside are scaled on and on. The writer is at fault, not the reader: the text
#   of the PMML file has no limit in it.
#   Output seen:
#     training rows  scikit-learn 169.68, PMML 169.68 (first row); greatest difference 1.1e-10
#     temp = 9999    scikit-learn 178.21, PMML 18354.45 (first row); greatest difference 1.8e+04
#     a limit of any kind in the file: False
# Why it matters: clip=True is chosen just for the broken sensor that reports 9999; a
#   comparison on training rows cannot find the loss.
set -euo pipefail
command -v java >/dev/null || { echo "java is needed"; exit 1; }
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/v"
"$d/v/bin/pip" install -q --no-compile --disable-pip-version-check sklearn2pmml==0.133.1 pypmml==1.5.8 scikit-learn==1.6.1 pandas==2.3.3 numpy==2.4.6 scipy==1.16.3
cat > "$d/t.py" <<'P'
import sys, numpy as np, pandas as pd
from sklearn.linear_model import Ridge
from sklearn.preprocessing import MinMaxScaler
from sklearn2pmml import sklearn2pmml
from sklearn2pmml.pipeline import PMMLPipeline
from pypmml import Model
rng = np.random.RandomState(0); f = sys.argv[1] + "/m.pmml"
x = pd.DataFrame(rng.normal(size=(300, 2)) * [5, 20] + [50, 100], columns=["temp", "load"])
y = pd.Series(x.temp * 2 + x.load * .5, name="power")
p = PMMLPipeline([("scale", MinMaxScaler(clip=True)), ("m", Ridge())]).fit(x, y)
sklearn2pmml(p, f)
m = Model.load(f); result = []
for name, q in (("training rows", x[:50]), ("temp = 9999", x[:50].assign(temp=9999.0))):
    own, pmml = p.predict(q), m.predict(q)["predicted_power"].astype(float).values
    result.append(np.abs(own - pmml).max())
    print("%-14s scikit-learn %.2f, PMML %.2f (first row); greatest difference %.2g" % (name, own[0], pmml[0], result[-1]))
print("a limit of any kind in the file:", any(w in open(f).read() for w in ("asExtremeValues", 'function="min"', 'function="max"', "lowValue")))
sys.stdout.flush()
sys.exit(0 if result[0] < 1e-6 and result[1] > 1000 else 1)
P
"$d/v/bin/python" "$d/t.py" "$d" 2>"$d/err" | grep '^training\|^temp\|^a limit' || { tail -3 "$d/err"; echo "behaviour changed"; exit 1; }
