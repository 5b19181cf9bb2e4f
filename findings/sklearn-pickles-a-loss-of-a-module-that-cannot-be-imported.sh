#!/usr/bin/env bash
# What is done: a GradientBoostingRegressor, a HistGradientBoostingRegressor and a
#   PoissonRegressor are pickled by scikit-learn 1.8.0 and by 1.9.1, and the modules that
#   the pickles name are looked for in a fresh interpreter.
# Packages: scikit-learn 1.8.0 and 1.9.1 (numpy 2.4.6)
# A good guess: every class of a scikit-learn pickle is of a module below `sklearn.` (or
#   of NumPy and SciPy), so a reader that imports these alone, by name, reads it.
# What is seen: 1.8.0 names `_loss`, a module at the top, which no package has: a fresh
#   interpreter cannot find it, and pickle.load works only because scikit-learn, imported
#   by an earlier name of the same file, has put its compiled module there. 1.9.1 names
#   `sklearn._loss._loss`.
# Output seen:
#   1.8.0 GradientBoostingRegressor ['_loss'] HistGradientBoostingRegressor ['_loss'] PoissonRegressor ['_loss']
#   1.9.1 GradientBoostingRegressor [] HistGradientBoostingRegressor [] PoissonRegressor []
# Why it matters: an allow-list by the prefix `sklearn.` refuses each boosted model of a
#   fleet as foreign code.
set -euo pipefail
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cat > "$tmp/p.py" <<'P'
import importlib.util
import pickle
import sys

found_before = {name: importlib.util.find_spec(name) is not None for name in ("_loss", "sklearn")}
import numpy as np
import sklearn
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.linear_model import PoissonRegressor


class Names(pickle.Unpickler):
    def __init__(self, file):
        super().__init__(file)
        self.modules = set()

    def find_class(self, module, name):
        self.modules.add(module)
        return super().find_class(module, name)


import io

X = np.random.default_rng(0).normal(size=(60, 3))
y = np.abs(X.sum(axis=1))
seen = {}
for model in (GradientBoostingRegressor(n_estimators=2), HistGradientBoostingRegressor(max_iter=2), PoissonRegressor()):
    reader = Names(io.BytesIO(pickle.dumps(model.fit(X, y))))
    same = np.array_equal(reader.load().predict(X), model.predict(X))
    tops = sorted({module for module in reader.modules if "." not in module} - {"builtins", "numpy"})
    seen[type(model).__name__] = tops, same
print(sklearn.__version__, *(f"{name} {tops}" for name, (tops, _) in seen.items()), found_before)
expected = ["_loss"] if sys.argv[1] == "1.8.0" else []
wanted = all(tops == expected and same for tops, same in seen.values())
sys.exit(not (wanted and found_before == {"_loss": False, "sklearn": True}))
P
for version in 1.8.0 1.9.1; do
  python3 -m venv "$tmp/$version"
  "$tmp/$version/bin/pip" install -q --disable-pip-version-check "scikit-learn==$version" numpy==2.4.6
  "$tmp/$version/bin/python" "$tmp/p.py" "$version"
done
