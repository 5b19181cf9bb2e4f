#!/usr/bin/env bash
# What is done: two IsolationForests are fitted on the same 400 rows of two sensors;
#   for the second a tenth of the first sensor is missing (NaN). Then it is counted
#   in their trees at how many splits missing values go to the side that had fewer
#   samples in training.
# Packages: scikit-learn 1.5.2, 1.6.1, 1.8.0, 1.9.1 (numpy 2.2.6)
# A good guess: a forest that was trained with missing values says so in its file
#   (each node has `missing_go_to_left`), as HistGradientBoosting and LightGBM do; one
#   that was trained without them either refuses a missing value or can be told apart.
# What is seen: 1.5 refuses to be fitted with them. From 1.6 on both forests score a
#   row with a gap without a word. In 1.6 and 1.8 missing values go to the larger side
#   at every split of both forests: the files do not show which of them has ever seen
#   a gap. In 1.9 a forest that saw gaps sends them to the smaller side at some splits,
#   and one that saw none never does.
# Output seen:
#   scikit-learn 1.5.2: fitted with gaps: ValueError
#   scikit-learn 1.6.1: 0 of 6477 splits without gaps in training, 0 with
#   scikit-learn 1.8.0: 0 of 6477 splits without gaps in training, 0 with
#   scikit-learn 1.9.1: 0 of 6477 splits without gaps in training, 200 with
# Why it matters: whoever hands a dead sensor's rows only to models that were trained
#   to bear gaps cannot know it from the file of a forest of 1.6 to 1.8; such a row
#   gets the score of the crowd's side, which is that of an ordinary row.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cat > "$tmp/try.py" <<'P'
import sys

import numpy as np
import sklearn
from sklearn.ensemble import IsolationForest

rows = np.random.default_rng(0).normal([20.0, 5.0], [1.0, 0.5], (400, 2))
gappy = rows.copy()
gappy[::10, 0] = np.nan


def count(forest):
    smaller = splits = 0
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        for node in range(tree.node_count):
            left, right = tree.children_left[node], tree.children_right[node]
            if left < 0:
                continue
            splits += 1
            is_left_larger = tree.n_node_samples[left] > tree.n_node_samples[right]
            is_equal = tree.n_node_samples[left] == tree.n_node_samples[right]
            goes_left = bool(tree.missing_go_to_left[node]) if hasattr(tree, "missing_go_to_left") else is_left_larger
            smaller += not is_equal and goes_left != is_left_larger
    return smaller, splits


smaller, splits = count(IsolationForest(random_state=0).fit(rows))
try:
    forest = IsolationForest(random_state=0).fit(gappy)
except ValueError:
    print(f"scikit-learn {sklearn.__version__}: fitted with gaps: ValueError")
    sys.exit()
assert np.isfinite(forest.decision_function([[np.nan, 5.0]])).all()
print(f"scikit-learn {sklearn.__version__}: {smaller} of {splits} splits without gaps in training, {count(forest)[0]} with")
P
result=0
for release in 1.5.2 1.6.1 1.8.0 1.9.1; do
  python3 -m venv "$tmp/v-$release"
  "$tmp/v-$release/bin/pip" install -q --disable-pip-version-check "scikit-learn==$release" numpy==2.2.6
  "$tmp/v-$release/bin/python" -W ignore "$tmp/try.py" | tee "$tmp/output"
  case $(cat "$tmp/output") in
    "scikit-learn 1.5.2: fitted with gaps: ValueError") ;;
    "scikit-learn 1.6.1: 0 of "*" without gaps in training, 0 with") ;;
    "scikit-learn 1.8.0: 0 of "*" without gaps in training, 0 with") ;;
    "scikit-learn 1.9.1: 0 of "*" without gaps in training, "[1-9]*" with") ;;
    *) result=1 ;;
  esac
done
exit "$result"
