"""Writes assessment.json: what scikit-learn, SciPy and NumPy say of some predictions.

Run it by hand where they are installed (Debian: python3-sklearn), and commit what it writes:
    python3 make_assessment.py > assessment.json
engine/train/assess must say the same (tests/engine/train/assess/golden_test.cc).
"""
import json

import numpy
import scipy
import scipy.optimize
import scipy.stats
import sklearn
import sklearn.calibration
import sklearn.metrics as metrics


def floats(values):
    return [float(f"{v:.9g}") for v in numpy.asarray(values).ravel().tolist()]


def weighted_ece(p, happened, w):
    """In ten bins of equal width, which hold their upper ends."""
    place = numpy.maximum(numpy.ceil(p * 10), 1).astype(int)
    return sum(abs(numpy.sum((w * (p - happened))[place == b])) for b in range(1, 11)) / numpy.sum(w)


def weights_of(samples):
    """Some of them 0."""
    w = numpy.float32(weigh.gamma(2.0, 1.5, samples))
    w[weigh.random(samples) < 0.05] = 0.0
    return w.astype(float)


def least(loss):
    """The temperature with the least loss."""
    found = scipy.optimize.minimize_scalar(
        lambda log_t: loss(numpy.exp(log_t)), bounds=(-4, 4), method="bounded", options={"xatol": 1e-9}
    )
    return float(numpy.exp(found.x))


def binary(random, samples, levels):
    """`levels`: how many different logits there are, so that some are equal."""
    labels = (random.random(samples) < 0.35).astype(int)
    logits = numpy.float32(numpy.round(random.normal(1.6 * labels - 1.0, 1.8) * levels) / levels)
    z = logits.astype(numpy.float64)
    p = 1.0 / (1.0 + numpy.exp(-z))
    said = (p > 0.5).astype(int)
    so, predicted = sklearn.calibration.calibration_curve(labels, p, n_bins=10)
    fpr, tpr, _ = metrics.roc_curve(labels, z)
    w = weights_of(samples)
    counts = numpy.histogram(numpy.ceil(p * 10), bins=numpy.arange(0.5, 11.5))[0]
    counts = counts[counts > 0]
    return {
        "logits": floats(logits),
        "labels": labels.tolist(),
        "scores": {
            "auc": metrics.roc_auc_score(labels, z),
            "average_precision": metrics.average_precision_score(labels, z),
            "accuracy": metrics.accuracy_score(labels, said),
            "recall": metrics.recall_score(labels, said),
            "specificity": metrics.recall_score(labels, said, pos_label=0),
            "precision": metrics.precision_score(labels, said),
            "negative_precision": metrics.precision_score(labels, said, pos_label=0),
            "f1": metrics.f1_score(labels, said),
            "brier": metrics.brier_score_loss(labels, p),
        },
        "log_loss": metrics.log_loss(labels, p),
        "weights": floats(w),
        "weighted": {
            "auc": metrics.roc_auc_score(labels, z, sample_weight=w),
            "average_precision": metrics.average_precision_score(labels, z, sample_weight=w),
            "accuracy": metrics.accuracy_score(labels, said, sample_weight=w),
            "recall": metrics.recall_score(labels, said, sample_weight=w),
            "specificity": metrics.recall_score(labels, said, pos_label=0, sample_weight=w),
            "precision": metrics.precision_score(labels, said, sample_weight=w),
            "negative_precision": metrics.precision_score(labels, said, pos_label=0, sample_weight=w),
            "f1": metrics.f1_score(labels, said, sample_weight=w),
            "brier": metrics.brier_score_loss(labels, p, sample_weight=w),
        },
        "weighted_log_loss": metrics.log_loss(labels, p, sample_weight=w),
        "weighted_ece": weighted_ece(p, labels, w),
        "so": floats(so),
        "said": floats(predicted),
        "ece": float(numpy.sum(counts * numpy.abs(so - predicted)) / samples),
        "youden": float(numpy.max(tpr - fpr)),
        "temperature": least(lambda t: metrics.log_loss(labels, 1.0 / (1.0 + numpy.exp(-z / t)))),
    }


def classes(random, samples, count):
    truths = random.integers(0, count, samples)
    logits = random.normal(0.0, 2.0, (samples, count))
    logits[numpy.arange(samples), truths] += 1.5
    logits = numpy.float32(logits)
    p = scipy.special.softmax(logits.astype(numpy.float64), axis=1)
    said = p.argmax(axis=1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truths, said, zero_division=0)
    areas = [metrics.roc_auc_score(truths == c, p[:, c]) for c in range(count)]
    w = weights_of(samples)
    square = numpy.sum((p - numpy.eye(count)[truths]) ** 2, axis=1)
    return {
        "columns": count,
        "logits": floats(logits),
        "truths": truths.tolist(),
        "scores": {
            "accuracy": metrics.accuracy_score(truths, said),
            "macro_auc": metrics.roc_auc_score(truths, p, multi_class="ovr", average="macro"),
            "macro_recall": metrics.recall_score(truths, said, average="macro"),
            "macro_precision": metrics.precision_score(truths, said, average="macro", zero_division=0),
            "macro_f1": metrics.f1_score(truths, said, average="macro"),
            "brier": float(numpy.mean(square)),
        },
        "log_loss": metrics.log_loss(truths, p),
        "weights": floats(w),
        "weighted": {
            "accuracy": metrics.accuracy_score(truths, said, sample_weight=w),
            "macro_auc": float(
                numpy.mean([metrics.roc_auc_score(truths == c, p[:, c], sample_weight=w) for c in range(count)])
            ),
            "macro_recall": metrics.recall_score(truths, said, average="macro", sample_weight=w),
            "macro_precision": metrics.precision_score(
                truths, said, average="macro", zero_division=0, sample_weight=w
            ),
            "macro_f1": metrics.f1_score(truths, said, average="macro", sample_weight=w),
            "brier": float(numpy.average(square, weights=w)),
        },
        "weighted_log_loss": metrics.log_loss(truths, p, sample_weight=w),
        "weighted_ece": weighted_ece(p.max(axis=1), said == truths, w),
        "precision": floats(precision),
        "recall": floats(recall),
        "f1": floats(f1),
        "support": support.tolist(),
        "auc": floats(areas),
        "temperature": least(lambda t: metrics.log_loss(truths, scipy.special.softmax(logits.astype(float) / t, axis=1))),
    }


def values(random, samples):
    truths = numpy.float32(random.gamma(2.0, 50.0, samples))
    outputs = numpy.float32(truths * 0.9 + random.normal(3.0, 20.0, samples))
    t, y = truths.astype(float), outputs.astype(float)
    w = weights_of(samples)
    return {
        "outputs": floats(outputs),
        "truths": floats(truths),
        "scores": {
            "r2": metrics.r2_score(t, y),
            "mae": metrics.mean_absolute_error(t, y),
            "rmse": float(numpy.sqrt(metrics.mean_squared_error(t, y))),
            "bias": float(numpy.mean(y - t)),
        },
        "weights": floats(w),
        "weighted": {
            "r2": metrics.r2_score(t, y, sample_weight=w),
            "mae": metrics.mean_absolute_error(t, y, sample_weight=w),
            "rmse": float(numpy.sqrt(metrics.mean_squared_error(t, y, sample_weight=w))),
            "bias": float(numpy.average(y - t, weights=w)),
        },
        "quantiles": floats(numpy.quantile(y - t, [0.0, 0.05, 0.5, 0.95, 1.0])),
        "largest": int(numpy.argmax(numpy.abs(y - t))),
    }


def bootstrap(random, samples):
    x = numpy.float32(random.gamma(2.0, 1.0, samples))
    interval = scipy.stats.bootstrap(
        (x.astype(float),), numpy.mean, n_resamples=100000, method="percentile", random_state=random
    ).confidence_interval
    return {"x": floats(x), "low": float(interval.low), "high": float(interval.high)}


random, weigh = numpy.random.default_rng(12), numpy.random.default_rng(13)
wilson = []
for part, whole in ((0, 1), (1, 1), (3, 7), (0, 40), (40, 40), (17, 331), (999, 1000)):
    ci = scipy.stats.binomtest(part, whole).proportion_ci(confidence_level=0.95, method="wilson")
    wilson.append([part, whole, float(ci.low), float(ci.high)])
print(
    json.dumps(
        {
            "sklearn": sklearn.__version__,
            "scipy": scipy.__version__,
            "numpy": numpy.__version__,
            "binary": [binary(random, 211, 1e6), binary(random, 157, 2.0)],
            "classes": [classes(random, 151, 4), classes(random, 97, 3)],
            "values": values(random, 127),
            "wilson": wilson,
            "bootstrap": bootstrap(random, 101),
        }
    )
)
