#!/usr/bin/env bash
# What is done: SVC with two classes (0 healthy, 1 fault) is converted by skl2onnx
#   1.20.0; its second output (scores, two columns) is read beside the label.
# Good guess: column k belongs to class k, as for every other classifier: the greater
#   column is the label, column 1 is decision_function.
# Seen: column 0 is decision_function (positive = class 1) and column 1 is its negative.
#   The greater column is the WRONG class in every row. SGDClassifier (a
#   linear SVM) and Perceptron, converted the same way, have the right order.
#   Output seen:
#     SVC           label wrong: 0 of 1000; greater column is not the label: 1000 of 1000; correlation of column 1 with decision_function: -1.000
#     NuSVC         label wrong: 0 of 1000; greater column is not the label: 1000 of 1000; correlation of column 1 with decision_function: -1.000
#     SGDClassifier label wrong: 0 of 1000; greater column is not the label: 0 of 1000; correlation of column 1 with decision_function: +1.000
#     Perceptron    label wrong: 0 of 1000; greater column is not the label: 0 of 1000; correlation of column 1 with decision_function: +1.000
# Why it matters: a scorer that takes "last column = score of the fault" turns the sign:
#   the healthiest rows become the alarms. The label output in the same file is right.
set -euo pipefail
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/v"
"$d/v/bin/pip" install -q --no-compile --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1 skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0
cat > "$d/t.py" <<'P'
import sys, numpy as np, onnxruntime as rt
from skl2onnx import to_onnx
from sklearn.svm import SVC, NuSVC
from sklearn.linear_model import SGDClassifier, Perceptron
rng = np.random.RandomState(0)
x = rng.normal(size=(300, 3)).astype(np.float32); y = (x @ [1, 2, .5] > 1).astype(int)
q = rng.normal(size=(1000, 3)).astype(np.float32); bad = {}
for m in (SVC(), NuSVC(nu=.2), SGDClassifier(random_state=0), Perceptron(random_state=0)):
    m.fit(x, y); o = to_onnx(m, x[:1], options={id(m): {"zipmap": False}})
    label, score = rt.InferenceSession(o.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"X": q})
    n = type(m).__name__; bad[n] = int((score.argmax(1) != label).sum())
    print("%-13s label wrong: %d of 1000; greater column is not the label: %d of 1000; correlation of column 1 with decision_function: %+.3f" % (
        n, (label != m.predict(q)).sum(), bad[n], np.corrcoef(score[:, 1], m.decision_function(q))[0, 1]))
sys.exit(0 if bad["SVC"] == 1000 and bad["SGDClassifier"] == 0 else 1)
P
"$d/v/bin/python" "$d/t.py" 2>"$d/err" || { tail -3 "$d/err"; echo "behaviour changed"; exit 1; }
