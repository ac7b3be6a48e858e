#!/usr/bin/env python3
"""PyTorch's numbers for every loss with a weight for each sample.

usage: make_weighted_losses.py > weighted_losses.json       (needs PyTorch; run by hand when a case is added)
The mean is sum_i w_i l_i / sum_i w_i over all targets that count, w_i being the weight of their sample; class weights
multiply both. Inputs are not stored: both sides make them from golden_values.py.
"""
import json

import torch
import torch.nn.functional as F

from golden_values import values

SAMPLES = 9


def weights():
    w = (values(2, (SAMPLES,)) + 1.0) * 2.0
    w[4] = 0.0
    return w


def case(shape, loss):
    """`loss` gives (losses of all targets, what each counts for without its sample's weight), both (samples, ...)."""
    y = (values(1, shape) * 4.0).requires_grad_(True)
    losses, counts = loss(y)
    w = weights().reshape([SAMPLES] + [1] * (losses.dim() - 1))
    mean = (losses * w).sum() / (counts * w).sum()
    mean.backward()
    return {"shape": list(shape), "loss": [mean.item()], "dy": y.grad.flatten().tolist()}


def classes(shape, ignored=False):
    n = 1
    for d in shape:
        n *= d
    c = torch.tensor([(7 * i + 3) % 5 for i in range(n)])
    if ignored:
        c[2] = c[7] = -100
    return c.reshape(shape)


def probabilities(shape):
    return (values(3, shape) + 1.0) / 2.0


def cross_entropy(shape, ignored=False, class_weights=None, smoothing=0.0):
    def loss(y):
        target = classes(shape[:-1], ignored)
        rows = F.cross_entropy(y.reshape(-1, shape[-1]), target.flatten(), weight=class_weights, reduction="none",
                               label_smoothing=smoothing).reshape(shape[:-1])
        counts = (target != -100).float()
        if class_weights is not None:
            counts = counts * class_weights[target.clamp(min=0)]
        return rows, counts
    return case(shape, loss)


def soft_cross_entropy(shape):
    def loss(y):
        p = probabilities(shape)
        return F.cross_entropy(y, p, reduction="none"), torch.ones(shape[:-1])
    return case(shape, loss)


def pinball(shape, quantiles):
    """y holds the quantiles of each target beside one another; a target counts once, its quantiles as their mean."""
    def loss(y):
        e = probabilities((shape[0], shape[1] // len(quantiles))).unsqueeze(-1) - y.reshape(shape[0], -1, len(quantiles))
        q = torch.tensor(quantiles)
        losses = torch.maximum(q * e, (q - 1.0) * e).mean(-1)
        return losses, torch.ones_like(losses)
    return case(shape, loss)


def elementwise(shape, of):
    def loss(y):
        losses = of(y, probabilities(shape))
        return losses, torch.ones(shape)
    return case(shape, loss)


def main():
    class_weights = values(4, (5,)) * 0.5 + 1.0
    cases = {
        "mse": elementwise((SAMPLES, 3), lambda y, t: F.mse_loss(y, t, reduction="none")),
        "mse_one": elementwise((SAMPLES, 1), lambda y, t: F.mse_loss(y, t, reduction="none")),
        "huber": elementwise((SAMPLES, 3), lambda y, t: F.huber_loss(y, t, reduction="none", delta=0.7)),
        "pinball": pinball((SAMPLES, 6), [0.1, 0.5, 0.9]),
        "bce": elementwise((SAMPLES, 1), lambda y, t: F.binary_cross_entropy_with_logits(y, t, reduction="none")),
        "bce_weights": elementwise((SAMPLES, 2), lambda y, t: F.binary_cross_entropy_with_logits(
            y, t, weight=torch.tensor([0.5, 2.0]), pos_weight=torch.tensor([3.0, 0.25]), reduction="none")),
        "cross_entropy": cross_entropy((SAMPLES, 5)),
        "cross_entropy_all": cross_entropy((SAMPLES, 5), True, class_weights, 0.2),
        "cross_entropy_3d": cross_entropy((SAMPLES, 4, 5), True),
        "cross_entropy_soft": soft_cross_entropy((SAMPLES, 5)),
    }
    print(json.dumps({"torch": torch.__version__, "cases": cases}, separators=(",", ":")))


if __name__ == "__main__":
    main()
