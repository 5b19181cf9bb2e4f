#!/usr/bin/env bash
# What is done: PLSRegression (the usual soft-sensor model) is fitted and pickled with
#   scikit-learn 1.4.2 and read by 1.9.1.
# Good guess: the same predictions, or an AttributeError as with many old pickles.
# Seen: until 1.4 predict() divided the readings by their standard deviations and then
#   multiplied by coef_; since 1.5 coef_ is kept for undivided readings and predict()
#   does not divide. The attributes have the same names and shapes, so the old file loads,
#   predicts and is wrong by the factor of each column's spread.
#   Output seen:
#     viscosity, truth 9.56 to 14.30
#     1.4.2: mean error 0.041
#     1.9.1: mean error 2.291, answers 0.26 to 22.37, no exception
# Why it matters: the wrong answer is smooth, follows the process and can stay in a
#   plausible range when the columns have a spread near 1.
set -euo pipefail
d=$(mktemp -d); trap 'rm -rf "$d"' EXIT
python3 -m venv "$d/old"; python3 -m venv "$d/new"
"$d/old/bin/pip" install -q --no-compile --disable-pip-version-check scikit-learn==1.4.2 numpy==1.26.4 scipy==1.13.1
"$d/new/bin/pip" install -q --no-compile --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cat > "$d/write.py" <<'P'
import pickle, sys, numpy as np
from sklearn.cross_decomposition import PLSRegression
rng = np.random.RandomState(0)
def readings(n):                                                  # temperature, pressure, flow
    x = rng.normal(size=(n, 3)) * [8, 0.4, 2.5] + [180, 6, 40]
    return x, 0.05 * (x[:, 0] - 180) + 1.5 * (x[:, 1] - 6) + 0.2 * (x[:, 2] - 40) + 12 + rng.normal(size=n) * 0.05
x, y = readings(500); q, truth = readings(500)
m = PLSRegression(n_components=2).fit(x, y)
pickle.dump((m, q, truth, m.predict(q).ravel()), open(sys.argv[1] + "/m.pkl", "wb"))
P
cat > "$d/read.py" <<'P'
import pickle, sys, warnings, numpy as np, sklearn
warnings.simplefilter("ignore")
m, q, truth, old = pickle.load(open(sys.argv[1] + "/m.pkl", "rb"))
new = m.predict(q).ravel()
print("viscosity, truth %.2f to %.2f" % (truth.min(), truth.max()))
print("1.4.2: mean error %.3f" % np.abs(old - truth).mean())
print("%s: mean error %.3f, answers %.2f to %.2f, no exception" % (sklearn.__version__, np.abs(new - truth).mean(), new.min(), new.max()))
sys.exit(0 if np.abs(new - old).max() > 1 else 1)
P
"$d/old/bin/python" "$d/write.py" "$d"
"$d/new/bin/python" "$d/read.py" "$d" || { echo "behaviour changed"; exit 1; }
