#!/usr/bin/env bash
# What is done: two LightGBM random forests of 10 trees (boosting=rf) are trained, one on
#   readings around 100, one on a fault that is present in half of the rows; both predict
#   with and without raw_score=True, and with fewer trees by num_iteration.
# Packages: lightgbm 4.7.0 (numpy 2.4.6)
# A good guess: raw_score=True leaves out the objective's transform alone. So of a
#   regressor it changes nothing, and of a classifier it is the logit of the probability.
# What is seen: predict divides by the number of trees (`average_output` in the file says
#   so); raw_score=True does not. The raw score of the regressor is 1,000 where the
#   reading is 100, and the sigmoid of the classifier's raw score is 1 for each row. The
#   factor is the number of trees that were asked: with num_iteration=4 it is 4.
# Output seen:
#   regressor 10.0 times, with 4 trees 4.0 times; classifier 0.9 by predict, 1.0 by the sigmoid of its raw score
# Why it matters: a border for raw scores that was found on gbdt models, and margins for
#   calibration or SHAP, are off by the number of trees as soon as a device has a forest.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp/v"
"$tmp/v/bin/pip" install -q --disable-pip-version-check lightgbm==4.7.0 numpy==2.4.6
"$tmp/v/bin/python" - <<'P'
import sys

import lightgbm
import numpy as np

print("lightgbm", lightgbm.__version__)
random = np.random.default_rng(0)
rows = random.normal(size=(500, 3))
options = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5, "verbosity": -1, "num_threads": 1, "seed": 1}
reading = lightgbm.train({**options, "objective": "regression"}, lightgbm.Dataset(rows, 100 + rows[:, 0]), 10)
fault = lightgbm.train({**options, "objective": "binary"}, lightgbm.Dataset(rows, rows[:, 0] > 0), 10)
new = rows[:20]
times = reading.predict(new, raw_score=True) / reading.predict(new)
times_of_four = reading.predict(new, raw_score=True, num_iteration=4) / reading.predict(new, num_iteration=4)
raw = fault.predict(new, raw_score=True)
probability = fault.predict(new)
by_sigmoid, by_mean = 1 / (1 + np.exp(-raw)), 1 / (1 + np.exp(-raw / 10))
print(f"regressor {times.mean():.1f} times, with 4 trees {times_of_four.mean():.1f} times; classifier", end=" ")
print(f"{probability.max():.1f} by predict, {by_sigmoid.max():.1f} by the sigmoid of its raw score")
is_as_seen = np.allclose(times, 10) and np.allclose(times_of_four, 4)
is_as_seen = is_as_seen and np.allclose(probability, by_mean) and not np.allclose(probability, by_sigmoid, atol=0.05)
sys.exit(not is_as_seen)
P
