#!/usr/bin/env bash
# What is done: LogisticRegression(solver="liblinear") (three classes) and
#   LogisticRegression(multi_class="multinomial") (two classes) are fitted and
#   pickled with scikit-learn 1.5.2 and read by 1.9.1.
# Good guess: coefficients are coefficients; a linear model of three numbers a class
#   gives the same probabilities in every version, or the load is refused.
# Seen: 1.9.1 no longer looks at the stored attribute multi_class. It takes softmax
#   for more than two classes and the plain sigmoid for two. The coefficients were
#   fitted for the other link. No error; labels stay the same, so a comparison
#   of labels shows nothing, but each alarm limit on the probability moves.
#   Output seen:
#     liblinear, 3 classes: probabilities off by up to 0.348 in 1.9.1; rows with P(fault) > 0.9: 0 by 1.5.2, 127 now; labels that differ: 0
#     multinomial, 2 classes: probabilities off by up to 0.150 in 1.9.1; rows with P(fault) > 0.9: 119 by 1.5.2, 50 now; labels that differ: 0
# Why it matters: "page somebody when P(fault) > 0.9" pages for other rows.
set -euo pipefail
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/old"; python3 -m venv "$d/new"
"$d/old/bin/pip" install -q --no-compile --disable-pip-version-check scikit-learn==1.5.2 numpy==1.26.4 scipy==1.13.1
"$d/new/bin/pip" install -q --no-compile --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cat > "$d/write.py" <<'P'
import pickle, sys, warnings, numpy as np
from sklearn.linear_model import LogisticRegression
warnings.simplefilter("ignore")
rng = np.random.RandomState(0)
x = rng.normal(size=(900, 2)); s = x @ [1.5, 1.0] + rng.normal(size=900) * 0.7
three, two = np.digitize(s, [-1, 1]), (s > 1).astype(int)        # ok / worn / fault ; ok / fault
q = rng.normal(size=(1000, 2))
for name, m in (("liblinear, 3 classes", LogisticRegression(solver="liblinear").fit(x, three)),
                ("multinomial, 2 classes", LogisticRegression(multi_class="multinomial").fit(x, two))):
    pickle.dump((name, m, q, m.predict(q), m.predict_proba(q)), open("%s/%d.pkl" % (sys.argv[1], len(m.classes_)), "wb"))
P
cat > "$d/read.py" <<'P'
import pickle, sys, warnings, numpy as np, sklearn
warnings.simplefilter("ignore"); same = False
for n in (3, 2):
    name, m, q, label, proba = pickle.load(open("%s/%d.pkl" % (sys.argv[1], n), "rb"))
    new = m.predict_proba(q); diff = np.abs(new - proba).max()
    print("%s: probabilities off by up to %.3f in %s; rows with P(fault) > 0.9: %d by 1.5.2, %d now; labels that differ: %d" % (
        name, diff, sklearn.__version__, (proba[:, -1] > .9).sum(), (new[:, -1] > .9).sum(), (m.predict(q) != label).sum()))
    same |= diff < 0.05
sys.exit(1 if same else 0)
P
"$d/old/bin/python" "$d/write.py" "$d"
"$d/new/bin/python" "$d/read.py" "$d" || { echo "behaviour changed"; exit 1; }
