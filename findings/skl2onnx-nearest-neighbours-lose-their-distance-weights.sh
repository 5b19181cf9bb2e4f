#!/usr/bin/env bash
# What is done: KNeighborsRegressor(weights="distance") and the classifier of the same
#   kind are converted by skl2onnx 1.20.0 and run by onnxruntime 1.32.0.
# Good guess: the file agrees to float32 rounding, or the converter refuses the option.
# Seen: the file weights all neighbours alike. It agrees to 1e-6 with a model of
#   weights="uniform", not with the model that was converted. No warning is given.
#   Output seen:
#     regressor: the file is off from its own model by up to 1.294 (training rows: 1.294)
#     regressor: the file is off from a model with weights='uniform' by up to 4.8e-07
#     classifier: probability off by up to 0.400, labels that differ: 3 of 200
# Why it matters: a reading that was in the training data gets its own target from
#   scikit-learn (distance 0) and an average of five from the file: the residual of a
#   healthy device is no longer 0.
set -euo pipefail
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/v"
"$d/v/bin/pip" install -q --no-compile --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1 skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0
cat > "$d/t.py" <<'P'
import sys, numpy as np, onnxruntime as rt
from skl2onnx import to_onnx
from sklearn.neighbors import KNeighborsRegressor, KNeighborsClassifier
rng = np.random.RandomState(0)
x = rng.normal(size=(200, 3)).astype(np.float32); y = x @ np.array([1, 2, .5], np.float32)
q = np.vstack([x[:20], rng.normal(size=(180, 3)).astype(np.float32)])     # 20 training rows, 180 new ones
def run(m):
    o = to_onnx(m, x[:1], options={id(m): {"zipmap": False}} if hasattr(m, "classes_") else None)
    return rt.InferenceSession(o.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"X": q})
m = KNeighborsRegressor(weights="distance").fit(x, y); u = KNeighborsRegressor().fit(x, y)
f = run(m)[0].ravel(); off = np.abs(f - m.predict(q)); same = np.abs(f - u.predict(q)).max()
print("regressor: the file is off from its own model by up to %.3f (training rows: %.3f)" % (off.max(), off[:20].max()))
print("regressor: the file is off from a model with weights='uniform' by up to %.1e" % same)
c = KNeighborsClassifier(weights="distance").fit(x, (y > 0).astype(int)); l, p = run(c)
poff = np.abs(p - c.predict_proba(q)).max()
print("classifier: probability off by up to %.3f, labels that differ: %d of %d" % (poff, (l != c.predict(q)).sum(), len(q)))
sys.exit(0 if off.max() > .1 and same < 1e-4 else 1)
P
"$d/v/bin/python" "$d/t.py" 2>"$d/err" || { tail -3 "$d/err"; echo "behaviour changed"; exit 1; }
