#!/usr/bin/env python3
"""PyTorch's numbers for LSTM and GRU.

usage: make_recurrent.py > recurrent.json         (needs PyTorch; run by hand when a case is added)
Inputs, upstream gradients and parameters are not stored: both sides make them from values() of make_layers.py. Texts within
a row (`segments`, as RecurrentOptions has them) are computed one by one. Layer norm in the recurrence, which PyTorch has no
layer for, is written out here, of the tensor operations of Ba, Kiros, Hinton, 2016.
"""
import json

import torch
import torch.nn as nn
import torch.nn.functional as F

from golden_values import values

torch.set_num_threads(1)
CASES = {}


def flat(tensor):
    return [float(f"{v:.9g}") for v in tensor.detach().reshape(-1).tolist()]


class LayerNormNet(nn.Module):
    """One direction or both of one layer, with the parameters that the engine names."""

    def __init__(self, cell, inputs, hidden, directions):
        super().__init__()
        self.cell, self.hidden = cell, hidden
        columns = (4 if cell == "lstm" else 3) * hidden
        self.suffixes = ["_l0", "_l0_reverse"][:directions]
        for suffix in self.suffixes:
            self.register_parameter("weight_ih" + suffix, nn.Parameter(torch.zeros(columns, inputs)))
            self.register_parameter("weight_hh" + suffix, nn.Parameter(torch.zeros(columns, hidden)))
            self.add_module("norm_ih" + suffix, nn.LayerNorm(columns))
            self.add_module("norm_hh" + suffix, nn.LayerNorm(columns))
            if cell == "lstm":
                self.add_module("norm_cell" + suffix, nn.LayerNorm(hidden))

    def forward(self, x):
        both = []
        for suffix in self.suffixes:
            reverse = suffix.endswith("reverse")
            get = lambda name: getattr(self, name + suffix)
            h = c = torch.zeros(x.shape[0], self.hidden)
            out = [None] * x.shape[1]
            for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
                a = get("norm_ih")(F.linear(x[:, t], get("weight_ih")))
                b = get("norm_hh")(F.linear(h, get("weight_hh")))
                if self.cell == "lstm":
                    i, f, g, o = (a + b).chunk(4, 1)
                    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                    h = torch.sigmoid(o) * torch.tanh(get("norm_cell")(c))
                else:
                    (ar, az, an), (br, bz, bn) = a.chunk(3, 1), b.chunk(3, 1)
                    z = torch.sigmoid(az + bz)
                    h = (1 - z) * torch.tanh(an + torch.sigmoid(ar + br) * bn) + z * h
                out[t] = h
            both.append(torch.stack(out, 1))
        return torch.cat(both, 2)


def by_text(module, x, segments):
    """Each text of each row alone; zeros at padding."""
    rows = []
    for row, ids in zip(x, segments):
        out = None
        for text in sorted({s for s in ids if s >= 0}):
            places = torch.tensor([t for t, s in enumerate(ids) if s == text])
            y = module(row[places][None])
            y = (y[0] if isinstance(y, tuple) else y)[0]
            out = torch.zeros(len(ids), y.shape[1]) if out is None else out
            out = out.index_copy(0, places, y)
        rows.append(out)
    width = next(r for r in rows if r is not None).shape[1]
    return torch.stack([torch.zeros(x.shape[1], width) if r is None else r for r in rows])


def case(name, cell, shape, hidden, layers=1, bidirectional=False, bias=True, norm="none", segments=None):
    if norm == "layer":
        module = LayerNormNet(cell, shape[2], hidden, 2 if bidirectional else 1)
    else:
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        module = kind(shape[2], hidden, layers, bias=bias, batch_first=True, bidirectional=bidirectional)
    for k, (parameter, p) in enumerate(module.named_parameters()):
        gamma = parameter.startswith("norm") and parameter.endswith(".weight")
        with torch.no_grad():
            p.copy_(values(100 + k, tuple(p.shape)) * 0.5 + (1.0 if gamma else 0.0))
    x = values(1, shape).requires_grad_()
    if segments is not None:
        y = by_text(module, x, segments)
    else:
        y = module(x)
        y = y[0] if isinstance(y, tuple) else y
    y.backward(values(2, tuple(y.shape)))
    CASES[name] = {
        "cell": cell, "shape": list(shape), "hidden": hidden, "layers": layers, "bidirectional": bidirectional,
        "bias": bias, "norm": norm, "segments": [] if segments is None else sum(segments, []),
        "parameters": {n: list(p.shape) for n, p in module.named_parameters()},
        "y": flat(y), "dx": flat(x.grad), "gradients": {n: flat(p.grad) for n, p in module.named_parameters()}}


P = -1
MIXED = [[P, P, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, P, P], [P, P, P, P, P], [0, P, P, 1, P]]
for cell in ("lstm", "gru"):
    case(cell, cell, (3, 6, 4), 5)
    case(cell + "_no_bias", cell, (3, 6, 4), 5, bias=False)
    case(cell + "_two_layers", cell, (2, 5, 3), 4, layers=2)
    case(cell + "_bidirectional", cell, (2, 5, 3), 4, layers=2, bidirectional=True)
    case(cell + "_wide", cell, (5, 3, 2), 17)
    case(cell + "_segments", cell, (5, 5, 3), 4, layers=1, bidirectional=True, segments=MIXED)
    case(cell + "_layer_norm", cell, (3, 5, 4), 16, norm="layer", bidirectional=True)
    case(cell + "_layer_norm_segments", cell, (5, 5, 3), 4, norm="layer", segments=MIXED)

print(json.dumps({"torch": torch.__version__, "cases": CASES}, separators=(",", ":")))
