#!/usr/bin/env python3
"""PyTorch's numbers for features of which some are embedded, and for the loss of quantiles.

usage: make_features.py > features.json     (needs PyTorch; run by hand when a case is added)
Inputs, upstream gradients and parameters are not stored: both sides make them from golden_values.py.
"""
import json
import sys

import torch
import torch.nn as nn

from golden_values import values


def flat(t):
    return [float(f"{v:.9g}") for v in t.detach().reshape(-1).tolist()]


def embedded(rows, dense, tables):
    """The first `dense` features pass, each further one is looked up: ids[r] = (r r + e) % values."""
    x = values(1, (rows, dense)).requires_grad_()
    ids = [torch.tensor([(r * r + e) % count for r in range(rows)]) for e, (count, _) in enumerate(tables)]
    net = nn.ModuleList(nn.Embedding(count, width) for count, width in tables)
    for k, p in enumerate(net.parameters()):
        with torch.no_grad():
            p.copy_(values(100 + k, tuple(p.shape)))
    y = torch.cat([x] + [table(i) for table, i in zip(net, ids)], dim=-1)
    y.backward(values(2, tuple(y.shape)))
    return {"rows": rows, "dense": dense, "tables": tables, "y": flat(y), "dx": flat(x.grad),
            "gradients": {name: flat(p.grad) for name, p in net.named_parameters()}}


def pinball(rows, targets, quantiles):
    """max(q e, (q - 1) e) of e = t - y, the mean over all."""
    q = torch.tensor(quantiles, dtype=torch.float32)
    y = (values(1, (rows, targets, len(quantiles))) * 4.0).requires_grad_()
    e = values(3, (rows, targets, 1)) - y
    loss = torch.maximum(q * e, (q - 1.0) * e).mean()
    loss.backward()
    return {"rows": rows, "targets": targets, "quantiles": quantiles, "loss": flat(loss), "dy": flat(y.grad)}


cases = {
    "embedded": embedded(13, 3, [[5, 2], [7, 131], [1, 1]]),
    "embedded_alone": embedded(9, 0, [[4, 3]]),
    "pinball": pinball(17, 1, [0.05, 0.5, 0.95]),
    "pinball_of_two": pinball(9, 2, [0.1, 0.25, 0.5, 0.75, 0.9]),
}
json.dump({"torch": torch.__version__, "cases": cases}, sys.stdout, indent=None, separators=(",", ":"))
sys.stdout.write("\n")
