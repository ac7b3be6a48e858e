"""The baselines of tools/tables.md: cross-validated scores of scikit-learn's models on the tables of
LOCKSTEP_DATA (else ../shared/data).  usage: table_baselines.py [SEEDS=3]

Logistic (ridge for a regression) on standardised numbers and one-hot words, and gradient-boosted
trees on ordinal words: scikit-learn's defaults, 5 folds, several seeds. Needs Debian's
python3-sklearn and python3-pandas. Beside them:
  lockstep train models/recipes/table.toml data.path=FILE --folds 5 --seeds 3
"""
import os
import sys
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

warnings.filterwarnings("ignore")
SEEDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
DATA = os.environ.get("LOCKSTEP_DATA") or "../shared/data"
TABLES = [  # name, file, column to predict, columns left out
    ("wdbc", "wdbc/wdbc.data", 1, [0]),
    ("german", "tables/german.csv", -1, []),
    ("horse-colic", "tables/horse-colic.csv", 23, [2]),
    ("breast-cancer", "tables/breast-cancer.csv", -1, []),
    ("auto_imports", "tables/auto_imports.csv", -1, []),
]


def read(file, label, left_out):
    table = pd.read_csv(os.path.join(DATA, file), header=None, na_values=["?"],
                        quotechar="'", skipinitialspace=True)
    place = label % table.shape[1]
    table = table[table[place].notna()]
    y = table[place]
    x = table.drop(columns=[place] + left_out)
    x.columns = ["c%d" % c for c in x.columns]
    words = [c for c in x.columns if x[c].dtype == object]
    x[words] = x[words].fillna("(missing)")
    return x, y, words


for name, file, label, left_out in TABLES:
    x, y, words = read(file, label, left_out)
    numbers = [c for c in x.columns if c not in words]
    classes = y.dtype == object or y.nunique() <= 2
    if classes:
        y = (y == sorted(y.unique())[-1]).astype(int)
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    linear = make_pipeline(
        make_column_transformer((scaled, numbers), (OneHotEncoder(handle_unknown="ignore"), words)),
        LogisticRegression(max_iter=5000) if classes else RidgeCV(np.logspace(-2, 3, 11)))
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = make_pipeline(
        make_column_transformer(("passthrough", numbers), (ordinal, words)),
        HistGradientBoostingClassifier() if classes else HistGradientBoostingRegressor())
    scores = ["roc_auc", "accuracy", "neg_log_loss"] if classes else ["r2", "neg_mean_absolute_error"]
    for kind, model in ("linear", linear), ("boosted trees", trees):
        values = {s: [] for s in scores}
        for seed in range(1, SEEDS + 1):
            split = (StratifiedKFold if classes else KFold)(5, shuffle=True, random_state=seed)
            got = cross_validate(model, x, y, cv=split, scoring=scores)
            for s in scores:
                values[s].append(got["test_" + s].mean())
        print(name, kind, "  ".join("%s %.4f (%.4f)" % (s, np.mean(v), np.std(v)) for s, v in
                                    values.items()), flush=True)
