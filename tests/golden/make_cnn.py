#!/usr/bin/env python3
"""Convolutional networks as torchvision and PyTorch name them, and what they compute in double.

usage: make_cnn.py > cnn.json             (needs PyTorch; run by hand)

torchvision is not needed: its architectures are written out here, by its names. Weights, inputs and the vectors that
gradients are projected on come of a formula (Values below), so that the file holds names, shapes and results only. For
each network: its state dict in order (name, shape), logits in evaluation, and in training the loss (cross entropy) and
of the gradient of some parameters the length and the projection, which tells an order of dimensions from another; and how
far PyTorch is from that in float.
"""
import json
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def values(count, stream):
    """Uniform on [-1/2, 1/2): a hash of (stream, place)."""
    x = (np.arange(count, dtype=np.uint64) + np.uint64(stream) * np.uint64(0x9E3779B9)) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= x >> np.uint64(shift)
        x = (x * np.uint64(factor)) & np.uint64(0xFFFFFFFF)
    x ^= x >> np.uint64(16)
    # To a float and no further, as the weights are stored.
    return ((x >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24) - np.float32(0.5)).astype(np.float64)


def fill(net):
    """Every tensor of the state dict from its place in it. Spread so that activations keep their size."""
    state = net.state_dict()
    for place, (name, tensor) in enumerate(state.items()):
        if name.endswith("num_batches_tracked"):
            continue
        u = torch.tensor(values(tensor.numel(), place + 1)).reshape(tensor.shape)
        if tensor.dim() > 1:  # a power of two near sqrt(12 * 2 / fan in): exact in float
            fan_in = tensor[0].numel()
            u = u * 2.0**round(np.log2((24.0 / fan_in)**0.5))
        elif name.endswith(("running_var", "weight")):
            u = 1.0 + 0.5 * u
        else:
            u = 0.25 * u
        tensor.copy_(u.float())


def norm_of(kind, channels):
    if kind == "group":
        return nn.GroupNorm(8, channels)
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.Identity()


def conv(i, o, k, s, kind, groups=1):
    return nn.Conv2d(i, o, k, s, k // 2, bias=kind == "none", groups=groups)


class BasicBlock(nn.Module):
    def __init__(self, i, o, s, kind, skip):
        super().__init__()
        self.skip = skip
        self.conv1, self.bn1 = conv(i, o, 3, s, kind), norm_of(kind, o)
        self.conv2, self.bn2 = conv(o, o, 3, 1, kind), norm_of(kind, o)
        self.downsample = None
        if skip and (s != 1 or i != o):
            self.downsample = nn.Sequential(conv(i, o, 1, s, kind), norm_of(kind, o))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if not self.skip:
            return F.relu(y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    def __init__(self, i, width, s, kind, skip):
        super().__init__()
        o = 4 * width
        self.conv1, self.bn1 = conv(i, width, 1, 1, kind), norm_of(kind, width)
        self.conv2, self.bn2 = conv(width, width, 3, s, kind), norm_of(kind, width)
        self.conv3, self.bn3 = conv(width, o, 1, 1, kind), norm_of(kind, o)
        self.downsample = None
        if s != 1 or i != o:
            self.downsample = nn.Sequential(conv(i, o, 1, s, kind), norm_of(kind, o))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, stages, width, classes, cifar=False, bottleneck=False, kind="batch", skip=True):
        super().__init__()
        self.cifar, self.stages = cifar, len(stages)
        self.conv1, self.bn1 = conv(3, width, 3 if cifar else 7, 1 if cifar else 2, kind), norm_of(kind, width)
        i = width
        for stage, blocks in enumerate(stages):
            layer = []
            for b in range(blocks):
                make = Bottleneck if bottleneck else BasicBlock
                layer.append(make(i, width, 2 if stage > 0 and b == 0 else 1, kind, skip))
                i = width * 4 if bottleneck else width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
            width *= 2
        self.fc = nn.Linear(i, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.cifar:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def conv_norm_relu6(i, o, k, s, groups=1):
    return nn.Sequential(nn.Conv2d(i, o, k, s, k // 2, groups=groups, bias=False), nn.BatchNorm2d(o), nn.ReLU6())


class InvertedResidual(nn.Module):
    def __init__(self, i, o, s, expand):
        super().__init__()
        wide, layers = i * expand, []
        if expand != 1:
            layers.append(conv_norm_relu6(i, wide, 1, 1))
        layers += [conv_norm_relu6(wide, wide, 3, s, wide), nn.Conv2d(wide, o, 1, bias=False), nn.BatchNorm2d(o)]
        self.conv, self.skip = nn.Sequential(*layers), s == 1 and i == o

    def forward(self, x):
        return x + self.conv(x) if self.skip else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, width, classes):
        super().__init__()

        def channels(c):
            c *= width
            near = max(8, int(c + 4) // 8 * 8)
            return near + 8 if near < 0.9 * c else near

        i = channels(32)
        layers = [conv_norm_relu6(3, i, 3, 2)]
        for t, c, n, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
                           (6, 320, 1, 1)):
            for b in range(n):
                layers.append(InvertedResidual(i, channels(c), s if b == 0 else 1, t))
                i = channels(c)
        last = channels(1280) if width > 1.0 else 1280
        layers.append(conv_norm_relu6(i, last, 1, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(last, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def conv_block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())


def conv_net(c_in, average):
    stages = [nn.Sequential(conv_block(i, o), conv_block(o, o), nn.MaxPool2d(2)) for i, o in ((c_in, 6), (6, 10))]
    head = [nn.AdaptiveAvgPool2d(1)] if average else []
    return nn.Sequential(*stages, *head, nn.Flatten(), nn.LazyLinear(9), nn.ReLU(), nn.Linear(9, 5))


# name: (network, (height, width, channels))
NETS = {
    "resnet18": (lambda: ResNet((2, 2, 2, 2), 16, 7), (33, 40, 3)),
    "resnet34": (lambda: ResNet((3, 4, 6, 3), 8, 7), (33, 32, 3)),
    "resnet50": (lambda: ResNet((3, 4, 6, 3), 8, 7, bottleneck=True), (97, 96, 3)),
    "resnet18_group": (lambda: ResNet((2, 2, 2, 2), 16, 7, kind="group"), (32, 33, 3)),
    "resnet18_none": (lambda: ResNet((2, 2, 2, 2), 8, 7, kind="none"), (32, 33, 3)),
    "cifar20": (lambda: ResNet((3, 3, 3), 16, 10, cifar=True), (16, 17, 3)),
    "plain20": (lambda: ResNet((3, 3, 3), 8, 10, cifar=True, skip=False), (16, 17, 3)),
    "mobilenet_v2": (lambda: MobileNetV2(0.35, 7), (65, 64, 3)),
    "conv_net": (lambda: conv_net(1, True), (14, 15, 1)),
    "conv_net_flatten": (lambda: conv_net(3, False), (9, 14, 3)),
}
BATCH = 3


def run(net, x):
    """Logits in evaluation, and in training the loss and of some gradients length and projection."""
    fill(net)
    logits = net.eval()(x)
    net.train()
    net.zero_grad()
    loss = F.cross_entropy(net(x), torch.arange(BATCH) * 2 % logits.shape[1])
    loss.backward()
    parameters = dict(net.named_parameters())
    names = list(parameters)
    gradients = {}
    for n in (names[0], names[1], names[len(names) // 2], names[-2], names[-1]):
        g = parameters[n].grad.reshape(-1).double()
        gradients[n] = [g.norm().item(), (g * torch.tensor(values(g.numel(), 12345))).sum().item()]
    return logits.detach().double(), loss.item(), gradients


def main():
    made = {}
    for name, (make, (h, w, c)) in NETS.items():
        net = make()
        # NHWC from the formula, as Lockstep takes it.
        x = torch.tensor(values(BATCH * h * w * c, 0)).reshape(BATCH, h, w, c).permute(0, 3, 1, 2) * 4.0
        net(x)  # LazyLinear
        logits, loss, gradients = run(net, x)
        narrow_logits, narrow_loss, narrow_gradients = run(net.float(), x.float())
        # How far PyTorch itself is off in float: of the largest logit, and of the loss or a gradient's length.
        forward = ((narrow_logits - logits).abs().max() / logits.abs().max()).item()
        backward = abs(narrow_loss - loss) / loss
        for n, (length, projection) in gradients.items():
            size = dict(net.named_parameters())[n].numel()
            backward = max(backward, abs(narrow_gradients[n][0] - length) / length,
                           abs(narrow_gradients[n][1] - projection) / (length * (size / 12.0)**0.5))
        made[name] = {
            "input": [BATCH, h, w, c],
            "tensors": [[n, list(t.shape)] for n, t in net.state_dict().items()],
            "logits": logits.tolist(),
            "loss": loss,
            "gradients": gradients,
            "float_error": [forward, backward]
        }
    lines = [f'"{name}": {json.dumps(one)}' for name, one in made.items()]
    print('{"made_by": "PyTorch %s",\n%s}' % (torch.__version__, ",\n".join(lines)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
