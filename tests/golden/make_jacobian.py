#!/usr/bin/env python3
"""PyTorch's Jacobians of small networks in evaluation mode, by torch.autograd.functional.jacobian in double.

usage: make_jacobian.py > jacobian.json     (needs PyTorch; run by hand when a case is added)
Inputs, parameters and running statistics are not stored: both sides make them from values(stream, shape), in our order
of extents (channels last). "streams" says which stream each is of.
"""
import json

import torch
import torch.nn as nn

from golden_values import values

CASES = {}


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class ChannelsFirst(nn.Module):
    def forward(self, x):
        return x.permute(0, 3, 1, 2)


class Flatten(nn.Module):
    """Of pictures with the channels last."""

    def forward(self, x):
        return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).flatten(1)


def number(stream, name, shape):
    v = values(stream, shape)
    if name.endswith("running_var"):
        return v + 1.5
    return v * 0.5 + (1.0 if name.endswith("weight") and len(shape) == 1 else 0.0)


def case(name, shape, net, skipped=0):
    """`skipped`: modules in front that our network has not, so that its names count from behind them."""
    streams = {}
    for k, (key, p) in enumerate(net.state_dict(keep_vars=True).items()):
        if key.endswith("num_batches_tracked"):
            continue
        head, rest = key.split(".", 1)
        streams[f"{int(head) - skipped}.{rest}"] = 100 + k
        ours = tuple(p.shape) if p.dim() != 4 else (p.shape[0], p.shape[2], p.shape[3], p.shape[1])
        v = number(100 + k, key, ours)
        with torch.no_grad():
            p.copy_(v if p.dim() != 4 else v.permute(0, 3, 1, 2))
    net = net.double().eval()
    x = values(1, shape).double()
    y = net(x)
    rows = []
    for s in range(shape[0]):
        j = torch.autograd.functional.jacobian(lambda one: net(one)[0].flatten(), x[s:s + 1])
        rows.append(j.reshape(y[s].numel(), x[s].numel()))
    CASES[name] = {"shape": list(shape), "streams": streams, "y": y.flatten().tolist(),
                   "jacobian": torch.stack(rows).flatten().tolist()}


case("mlp", (4, 6), nn.Sequential(
    nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(),
    Residual(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 9), nn.SiLU(), nn.Linear(9, 8))),
    nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)))
case("cnn", (2, 6, 5, 2), nn.Sequential(
    ChannelsFirst(), nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(4, 5, 2), nn.SiLU(), Flatten(), nn.Linear(10, 2)), skipped=1)
case("attention", (2, 4, 8), nn.Sequential(
    nn.TransformerEncoderLayer(8, 2, 12, 0.1, nn.functional.gelu, batch_first=True, norm_first=True),
    Flatten(), nn.Linear(32, 2)))
print(json.dumps({"torch": torch.__version__, "cases": CASES}, separators=(",", ":")))
