#!/usr/bin/env bash
# What is done: a RandomForestClassifier is fitted and pickled with scikit-learn
#   1.3.2, then loaded and asked with scikit-learn 1.9.1. Same rows, same file.
# Good guess: the load fails (the tree's node format changed at times), or the
#   answers are the same. scikit-learn gives only its usual version warning.
# Seen: 1.3.2 keeps COUNTS in tree_.value, 1.4 and newer expect FRACTIONS and no
#   longer divide. So 1.9.1 reads the file without an error and each leaf votes
#   with the number of its training rows: "probabilities" of 404, rows
#   that do not sum to 1, and other labels, because big leaves shout down small ones.
#   Output seen:
#     written by 1.3.2: accuracy 0.9295, failures called 139, highest probability 1.0000
#     read by 1.9.1:    accuracy 0.9180, failures called 94, highest probability 404.3400
#     labels that differ: 45 of 2000 ; errors raised: 0
# Why it matters: a fleet of small forest pickles of 2023 (failure yes/no for one
#   device) gives other alarms after an update, and no exception says so. Rows of
#   predict_proba that do not sum to 1 give it away; labels alone look plausible.
set -euo pipefail
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/old"; python3 -m venv "$d/new"
"$d/old/bin/pip" install -q --no-compile --disable-pip-version-check scikit-learn==1.3.2 numpy==1.26.4 scipy==1.13.1
"$d/new/bin/pip" install -q --no-compile --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cat > "$d/write.py" <<'P'
import pickle, sys, numpy as np
from sklearn.ensemble import RandomForestClassifier
rng = np.random.RandomState(0)
def readings(n):
    x = rng.normal(size=(n, 3)) * [4, 0.5, 2] + [70, 3, 20]      # temperature, vibration, load
    risk = (x[:, 0] - 70) / 4 + (x[:, 1] - 3) / 0.5 + rng.normal(size=n) * 0.5
    return x, (risk > 1.8).astype(int)                            # about 1 failure in 10
x, y = readings(1000); q, truth = readings(2000)
m = RandomForestClassifier(n_estimators=50, min_samples_leaf=3, random_state=0).fit(x, y)
pickle.dump(m, open(sys.argv[1] + "/m.pkl", "wb"))
np.savez(sys.argv[1] + "/q.npz", q=q, truth=truth, label=m.predict(q), proba=m.predict_proba(q))
P
cat > "$d/read.py" <<'P'
import pickle, sys, warnings, numpy as np, sklearn
warnings.simplefilter("ignore")
m = pickle.load(open(sys.argv[1] + "/m.pkl", "rb")); z = np.load(sys.argv[1] + "/q.npz")
label, proba = m.predict(z["q"]), m.predict_proba(z["q"])
print("written by 1.3.2: accuracy %.4f, failures called %d, highest probability %.4f" % ((z["label"] == z["truth"]).mean(), z["label"].sum(), z["proba"].max()))
print("read by %s:    accuracy %.4f, failures called %d, highest probability %.4f" % (sklearn.__version__, (label == z["truth"]).mean(), label.sum(), proba.max()))
changed = int((label != z["label"]).sum())
print("labels that differ: %d of %d ; errors raised: 0" % (changed, len(label)))
sys.exit(0 if changed > 20 and proba.max() > 2 else 1)
P
"$d/old/bin/python" "$d/write.py" "$d"
"$d/new/bin/python" "$d/read.py" "$d" || { echo "behaviour changed"; exit 1; }
