#!/usr/bin/env python3
"""PyTorch's numbers for pooling, resizing and padding.

usage: make_picture_layers.py > pictures.json    (needs PyTorch; run by hand when a case is added)
As make_layers.py: inputs and upstream gradients come from golden_values.py on both sides; channels last here, as in the engine.
"""
import json
import sys

import torch
import torch.nn as nn

from golden_values import values


CASES = {}


def layer(name, module, shape, steps=0):
    """`steps`: x is rounded down to multiples of 1 / steps, so that many are equal."""
    x = values(1, shape)
    if steps:
        x = (x * steps).floor() / steps
    x.requires_grad_()
    y = module(x.movedim(-1, 1)).movedim(1, -1)
    y.backward(values(2, tuple(y.shape)))
    flat = lambda t: [float(f"{v:.9g}") for v in t.detach().reshape(-1).tolist()]
    CASES[name] = {"shape": list(shape), "out": list(y.shape), "y": flat(y), "dx": flat(x.grad)}


layer("max_pool", nn.MaxPool2d(2), (2, 5, 6, 3))
layer("max_pool_stem", nn.MaxPool2d(3, 2, 1), (1, 9, 8, 5), steps=3)
layer("max_pool_ceil", nn.MaxPool2d((3, 2), (2, 3), (1, 1), ceil_mode=True), (1, 6, 7, 3), steps=3)
layer("max_pool_dilated", nn.MaxPool2d(2, (1, 2), padding=1, dilation=(2, 3)), (1, 6, 7, 3), steps=3)
layer("max_pool_1d", nn.MaxPool1d(3, 2, 1, ceil_mode=True), (2, 8, 4), steps=3)
layer("avg_pool", nn.AvgPool2d(3, 2, 1), (1, 7, 8, 3))
layer("avg_pool_ceil", nn.AvgPool2d((3, 2), (2, 3), (1, 0), ceil_mode=True), (1, 6, 6, 3))
layer("avg_pool_inside", nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (1, 6, 8, 3))
layer("avg_pool_divisor", nn.AvgPool2d(2, 1, 1, divisor_override=3), (1, 4, 5, 3))
layer("avg_pool_1d", nn.AvgPool1d(3, 2, 1, ceil_mode=True), (2, 8, 4))
layer("adaptive", nn.AdaptiveAvgPool2d((3, 5)), (1, 7, 7, 3))
layer("adaptive_more", nn.AdaptiveAvgPool2d((None, 7)), (1, 3, 4, 3))
layer("adaptive_global", nn.AdaptiveAvgPool2d(1), (2, 5, 4, 3))
layer("adaptive_1d", nn.AdaptiveAvgPool1d(3), (2, 7, 3))
layer("nearest", nn.Upsample(scale_factor=2), (1, 3, 4, 3))
layer("nearest_factor", nn.Upsample(scale_factor=(1.7, 0.6)), (1, 7, 9, 2))
layer("nearest_size", nn.Upsample(size=(7, 4)), (1, 3, 9, 2))
layer("nearest_1d", nn.Upsample(scale_factor=2.5), (2, 5, 3))
layer("bilinear", nn.Upsample(scale_factor=2, mode="bilinear"), (1, 3, 4, 3))
layer("bilinear_factor", nn.Upsample(scale_factor=(1.7, 0.6), mode="bilinear"), (1, 7, 9, 2))
layer("bilinear_size", nn.Upsample(size=(7, 4), mode="bilinear"), (1, 3, 9, 2))
layer("bilinear_corners", nn.Upsample(size=(7, 1), mode="bilinear", align_corners=True), (1, 3, 9, 2))
layer("bilinear_corners_factor", nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True), (1, 5, 3, 2))
layer("linear_1d", nn.Upsample(scale_factor=2.5, mode="linear"), (2, 5, 3))
layer("zero_pad", nn.ZeroPad2d((1, 2, 3, 0)), (1, 3, 4, 3))
layer("zero_pad_cut", nn.ZeroPad2d((-1, 2, 1, -2)), (1, 4, 4, 3))
layer("reflection_pad", nn.ReflectionPad2d((1, 3, 2, 0)), (1, 3, 4, 3))
layer("replication_pad", nn.ReplicationPad2d((1, 5, 4, 0)), (1, 3, 4, 3))

json.dump({"torch": torch.__version__, "cases": CASES}, sys.stdout, indent=None, separators=(",", ":"))
sys.stdout.write("\n")
