#!/usr/bin/env python3
"""PyTorch's numbers for every layer and loss, and for twenty training steps of the clinical MLP.

usage: make_layers.py > layers.json               (needs PyTorch; run by hand when a case is added)
       make_layers.py conv > conv_layers.json     the convolutions, which the first leaves out
Inputs, upstream gradients and parameters are not stored: both sides make them from golden_values.py. Tensors with channels are
channels last here, as in the engine; PyTorch sees them permuted.
"""
import json
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

from golden_values import values


def set_parameters(module):
    for k, (name, p) in enumerate(module.named_parameters()):
        with torch.no_grad():
            p.copy_(weight_first(values(100 + k, tuple(weight_last(p).shape))) * 0.5 + (1.0 if norm_weight(module, name) else 0.0))


# A convolution's weight has its second extent last in the engine.
def weight_last(w):
    return w.movedim(1, -1) if w.dim() > 2 else w


def weight_first(w):
    return w.movedim(-1, 1) if w.dim() > 2 else w


def norm_weight(module, name):
    if not name.endswith("weight"):
        return False
    owner = module.get_submodule(name[: -len(".weight")]) if "." in name else module
    return not isinstance(owner, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d))


def flat(t):
    return [float(f"{v:.9g}") for v in t.detach().reshape(-1).tolist()]


def first(x):  # channels last -> channels first
    return x.movedim(-1, 1) if x.dim() > 2 else x


def last(x):
    return x.movedim(1, -1) if x.dim() > 2 else x


CASES = {}


def layer(name, module, shape, channels=False, train=True, steps=1, shift=0.0, scale=1.0):
    set_parameters(module)
    module.train(train)
    to, back = (first, last) if channels else ((lambda t: t), (lambda t: t))
    for s in range(steps):
        x = (values(1 + 10 * s, shape) * scale + shift).requires_grad_()
        module.zero_grad()
        y = back(module(to(x)))
        y.backward(values(2 + 10 * s, tuple(y.shape)))
    case = {"shape": list(shape), "y": flat(y), "dx": flat(x.grad)}
    case["gradients"] = {n: flat(weight_last(p.grad)) for n, p in module.named_parameters()}
    case["states"] = {n: flat(b.float()) for n, b in module.named_buffers()}
    CASES[name] = case


layer("linear", nn.Linear(7, 4), (5, 7))
layer("linear_no_bias", nn.Linear(7, 4, bias=False), (5, 7))
layer("linear_3d", nn.Linear(7, 4), (2, 3, 7))
layer("batch_norm", nn.BatchNorm1d(5), (6, 5))
layer("batch_norm_two_steps", nn.BatchNorm1d(5), (6, 5), steps=2)
layer("batch_norm_offset", nn.BatchNorm1d(5), (64, 5), shift=100.0)
layer("batch_norm_momentum", nn.BatchNorm1d(5, momentum=0.3, eps=1e-3), (6, 5), steps=2)
layer("batch_norm_cumulative", nn.BatchNorm1d(5, momentum=None), (6, 5), steps=3)
layer("batch_norm_plain", nn.BatchNorm1d(5, affine=False), (6, 5))
layer("batch_norm_2d", nn.BatchNorm2d(5), (2, 3, 4, 5), channels=True)
layer("batch_norm_3d", nn.BatchNorm3d(3), (2, 2, 3, 4, 3), channels=True)
layer("batch_norm_sequence", nn.BatchNorm1d(5), (3, 7, 5), channels=True)
layer("batch_norm_evaluate", nn.BatchNorm1d(5), (6, 5), train=False)
layer("batch_norm_untracked_evaluate", nn.BatchNorm1d(5, track_running_stats=False), (6, 5), train=False)
layer("layer_norm", nn.LayerNorm(10), (4, 10))
layer("layer_norm_3d", nn.LayerNorm(10, eps=1e-3), (4, 3, 10))
layer("layer_norm_plain", nn.LayerNorm(10, elementwise_affine=False), (4, 10))
layer("layer_norm_one_sample", nn.LayerNorm(10), (1, 10))
layer("rms_norm", nn.RMSNorm(10), (4, 10))
layer("rms_norm_3d", nn.RMSNorm(10, eps=1e-3), (4, 3, 10))
layer("group_norm", nn.GroupNorm(2, 6), (4, 6))
layer("group_norm_4d", nn.GroupNorm(2, 6), (2, 3, 4, 6), channels=True)
layer("group_norm_plain", nn.GroupNorm(6, 6, affine=False), (2, 3, 4, 6), channels=True)
layer("instance_norm", nn.InstanceNorm2d(6), (2, 3, 4, 6), channels=True)
layer("instance_norm_affine", nn.InstanceNorm1d(6, affine=True), (2, 5, 6), channels=True)
layer("relu", nn.ReLU(), (5, 7), scale=4.0)
layer("leaky_relu", nn.LeakyReLU(0.2), (5, 7), scale=4.0)
layer("gelu", nn.GELU(), (5, 7), scale=4.0)
layer("gelu_tanh", nn.GELU(approximate="tanh"), (5, 7), scale=4.0)
layer("silu", nn.SiLU(), (5, 7), scale=4.0)
layer("sigmoid", nn.Sigmoid(), (5, 7), scale=4.0)
layer("tanh", nn.Tanh(), (5, 7), scale=4.0)
layer("softplus", nn.Softplus(beta=2.0, threshold=5.0), (5, 7), scale=4.0)
layer("flatten", nn.Flatten(), (3, 2, 5))
layer("conv2d", nn.Conv2d(3, 5, 3, padding=1), (2, 6, 7, 3), channels=True)
layer("conv2d_no_bias", nn.Conv2d(5, 18, 3, bias=False), (2, 5, 4, 5), channels=True)
layer("conv2d_stride", nn.Conv2d(4, 6, 3, stride=2, padding=1), (2, 7, 6, 4), channels=True)
layer("conv2d_stride_that_does_not_divide", nn.Conv2d(2, 3, 3, stride=2), (2, 6, 6, 2), channels=True)
layer("conv2d_unread_edge", nn.Conv2d(2, 3, 5, stride=3, padding=1), (2, 11, 10, 2), channels=True)
layer("conv2d_one_by_one_stride", nn.Conv2d(3, 4, 1, stride=2, padding=1), (2, 5, 4, 3), channels=True)
layer("conv2d_padding_beyond_kernel", nn.Conv2d(3, 2, 3, padding=3), (2, 3, 4, 3), channels=True)
layer("conv2d_dilation", nn.Conv2d(3, 4, (3, 2), dilation=2, padding=(2, 1)), (2, 6, 5, 3), channels=True)
layer("conv2d_uneven", nn.Conv2d(3, 4, (2, 4), stride=(1, 3), padding=(0, 2), dilation=(3, 1)), (2, 7, 8, 3), channels=True)
layer("conv2d_groups", nn.Conv2d(4, 16, 3, padding=1, groups=2), (2, 4, 5, 4), channels=True)
layer("conv2d_groups_of_odd", nn.Conv2d(6, 9, 3, padding=1, stride=2, groups=3), (2, 5, 5, 6), channels=True)
layer("conv2d_depthwise", nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6), (2, 7, 6, 6), channels=True)
layer("conv2d_depthwise_multiplier", nn.Conv2d(4, 12, 3, padding=2, groups=4), (2, 4, 5, 4), channels=True)
layer("conv2d_same_even", nn.Conv2d(3, 4, (4, 2), padding="same"), (2, 5, 6, 3), channels=True)
layer("conv2d_same_dilation", nn.Conv2d(3, 4, (4, 3), padding="same", dilation=(1, 2)), (2, 5, 6, 3), channels=True)
layer("conv2d_block", nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 1)), (3, 6, 5, 3), channels=True)
layer("conv1d", nn.Conv1d(3, 5, 4, padding=2), (2, 9, 3), channels=True)
layer("conv1d_stride_dilation", nn.Conv1d(4, 6, 3, stride=2, dilation=2, groups=2, bias=False), (2, 11, 4), channels=True)
layer("conv1d_same_even", nn.Conv1d(3, 4, 4, padding="same"), (2, 7, 3), channels=True)
layer("conv1d_depthwise", nn.Conv1d(4, 8, 5, padding=2, groups=4), (2, 7, 4), channels=True)
layer("conv_transpose2d", nn.ConvTranspose2d(3, 5, 3), (2, 4, 5, 3), channels=True)
layer("conv_transpose2d_stride", nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1, bias=False), (2, 3, 4, 4), channels=True)
layer("conv_transpose2d_output_padding", nn.ConvTranspose2d(3, 2, 3, stride=(2, 3), padding=1, output_padding=(1, 2)), (2, 3, 4, 3), channels=True)
layer("conv_transpose2d_gaps", nn.ConvTranspose2d(3, 2, 2, stride=3), (2, 3, 4, 3), channels=True)
layer("conv_transpose2d_groups", nn.ConvTranspose2d(4, 6, 3, stride=2, dilation=2, groups=2), (2, 3, 3, 4), channels=True)
layer("conv_transpose2d_depthwise", nn.ConvTranspose2d(4, 4, 3, stride=2, groups=4), (2, 3, 3, 4), channels=True)
layer("conv_transpose2d_output_padding_of_dilation", nn.ConvTranspose2d(3, 2, 3, dilation=3, output_padding=2), (2, 3, 4, 3), channels=True)


class Skip(nn.Module):
    def __init__(self, body, shortcut=None):
        super().__init__()
        self.body = body
        if shortcut is not None:
            self.shortcut = shortcut

    def forward(self, x):
        return self.body(x) + (self.shortcut(x) if hasattr(self, "shortcut") else x)


def block(width):
    return nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width), nn.BatchNorm1d(width))


layer("residual", nn.Sequential(Skip(block(6)), nn.ReLU()), (9, 6))
layer("residual_shortcut", nn.Sequential(Skip(block(5), nn.Sequential(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5))), nn.ReLU()), (9, 6))
layer("residual_plain", nn.Sequential(nn.Linear(6, 6), Skip(nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6), nn.GELU())), nn.Linear(6, 2)), (9, 6))
layer("mlp", nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)), (10, 3, 4))


def loss(name, function, shape, target):
    y = (values(1, shape) * 4.0).requires_grad_()
    value = function(y, target)
    value.backward()
    CASES[name] = {"shape": list(shape), "loss": flat(value), "dy": flat(y.grad)}


def classes(n, k):
    return torch.tensor([(7 * i + 3) % k for i in range(n)])


def probabilities(shape):
    return (values(3, shape) + 1.0) / 2.0


ignoring = classes(9, 5)
ignoring[2] = ignoring[7] = -100
weights = values(4, (5,)) * 0.5 + 1.0
loss("cross_entropy", lambda y, t: F.cross_entropy(y, t), (9, 5), classes(9, 5))
loss("cross_entropy_smoothing", lambda y, t: F.cross_entropy(y, t, label_smoothing=0.1), (9, 5), classes(9, 5))
loss("cross_entropy_weights", lambda y, t: F.cross_entropy(y, t, weight=weights), (9, 5), classes(9, 5))
loss("cross_entropy_ignored", lambda y, t: F.cross_entropy(y, t), (9, 5), ignoring)
loss("cross_entropy_all", lambda y, t: F.cross_entropy(y, t, weight=weights, label_smoothing=0.2), (9, 5), ignoring)
loss("cross_entropy_3d", lambda y, t: F.cross_entropy(y.reshape(-1, 5), t), (3, 3, 5), classes(9, 5))
loss("bce", lambda y, t: F.binary_cross_entropy_with_logits(y, t), (9, 2), probabilities((9, 2)))
loss("bce_weights", lambda y, t: F.binary_cross_entropy_with_logits(y, t, weight=torch.tensor([0.5, 2.0]), pos_weight=torch.tensor([3.0, 0.25])), (9, 2), probabilities((9, 2)))
loss("mse", lambda y, t: F.mse_loss(y, t), (9, 2), probabilities((9, 2)))
loss("huber", lambda y, t: F.huber_loss(y, t, delta=0.7), (9, 2), probabilities((9, 2)))


def train(name, make_optimizer, bias):
    net = nn.Sequential(nn.Linear(20, 64, bias=bias), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32, bias=bias), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
    set_parameters(net)
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() == 2:
                p.mul_(0.25)
    optimizer = make_optimizer(net.parameters())
    losses = []
    for s in range(20):
        x = values(1000 + s, (32, 20))
        t = (x[:, :1] + x[:, 1:2] * x[:, 2:3] > 0.1).float()
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(net(x), t)
        value.backward()
        optimizer.step()
        losses.append(value)
    net.eval()
    case = {"losses": flat(torch.stack(losses)), "y": flat(net(values(999, (32, 20))))}
    case["parameters"] = {n: flat(p.reshape(-1)[:40]) for n, p in net.named_parameters()}
    case["states"] = {n: flat(b.float()) for n, b in net.named_buffers()}
    CASES[name] = case


train("clinical_sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3), bias=True)
# Without the biases in front of the batch norms: their true gradient is zero, and AdamW would scale rounding noise up to steps.
train("clinical_adamw", lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.01), bias=False)

CASES = {n: c for n, c in CASES.items() if n.startswith("conv") == (sys.argv[1:] == ["conv"])}
json.dump({"torch": torch.__version__, "cases": CASES}, sys.stdout, indent=None, separators=(",", ":"))
sys.stdout.write("\n")
