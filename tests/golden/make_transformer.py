#!/usr/bin/env python3
"""PyTorch's numbers for embeddings, attention, transformer blocks, and ten training steps of the nano GPT.

usage: make_transformer.py > transformer.json     (needs PyTorch; run by hand when a case is added)
Inputs, upstream gradients and parameters are not stored: both sides make them from values() below.
"""
import functools
import json
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F


def values(stream, shape):
    """In [-1, 1), multiples of 2^-15: exact in fp32 on both sides."""
    n = 1
    for d in shape:
        n *= d
    h = torch.arange(n, dtype=torch.int64)
    mask = 0xFFFFFFFF
    h = (h * 2654435761 + stream * 40503 + 12345) & mask
    h ^= h >> 15
    h = (h * 2246822519) & mask
    h ^= h >> 13
    h = (h * (3266489917 - (1 << 32))) & mask  # the same modulo 2^32, without leaving 64 bits
    return ((((h >> 16) & 0xFFFF).double() / 32768.0) - 1.0).float().reshape(shape)


def set_parameters(module, scale=0.5):
    for k, (name, p) in enumerate(module.named_parameters()):
        with torch.no_grad():
            p.copy_(values(100 + k, tuple(p.shape)) * scale + (1.0 if name.endswith("weight") and p.dim() == 1 else 0.0))


def flat(t):
    return [float(f"{v:.9g}") for v in t.detach().reshape(-1).tolist()]


CASES = {}
BATCH, TOKENS, WIDTH, HEADS = 3, 5, 8, 2
# Padding behind, in front, and two texts in a row.
SEGMENTS = torch.tensor([[0, 0, 0, -1, -1], [-1, 0, 0, 0, 0], [0, 0, 1, 1, 1]])


def layer(name, module, shape=(BATCH, TOKENS, WIDTH)):
    set_parameters(module)
    x = values(1, shape).requires_grad_()
    y = module(x)
    y.backward(values(2, tuple(y.shape)))
    CASES[name] = {"shape": list(shape), "y": flat(y), "dx": flat(x.grad),
                   "gradients": {n: flat(p.grad) for n, p in module.named_parameters()}}


def turn(x, positions, theta=10000.0):
    """x (B, T, H, D), first half of each head against the second."""
    half = x.shape[-1] // 2
    angle = positions[..., None].double() * theta ** (-torch.arange(half).double() / half)
    cos, sin = angle.cos().float()[..., None, :], angle.sin().float()[..., None, :]
    low, high = x[..., :half], x[..., half:]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], -1)


class Attention(nn.Module):
    """nn.MultiheadAttention's parameters, with what it does not know."""

    def __init__(self, key_heads=HEADS, causal=False, segments=None, rotary=None, bias=True):
        super().__init__()
        self.key_heads, self.causal, self.segments, self.rotary = key_heads, causal, segments, rotary
        rows = (HEADS + 2 * key_heads) * WIDTH // HEADS
        self.in_proj_weight = nn.Parameter(torch.empty(rows, WIDTH))
        if bias:
            self.in_proj_bias = nn.Parameter(torch.empty(rows))
        self.out_proj = nn.Linear(WIDTH, WIDTH, bias=bias)

    def forward(self, x):
        size, b, t = WIDTH // HEADS, x.shape[0], x.shape[1]
        packed = F.linear(x, self.in_proj_weight, getattr(self, "in_proj_bias", None))
        q, k, v = packed.split([WIDTH, self.key_heads * size, self.key_heads * size], -1)
        q, k, v = (p.reshape(b, t, -1, size) for p in (q, k, v))
        if self.rotary is not None:
            q, k = turn(q, self.rotary), turn(k, self.rotary)
        k, v = (p.repeat_interleave(HEADS // self.key_heads, 2) for p in (k, v))
        scores = torch.einsum("bihd,bjhd->bhij", q, k) / size**0.5
        seen = torch.ones(b, t, t, dtype=torch.bool)
        if self.causal:
            seen = seen & torch.ones(t, t).tril().bool()
        if self.segments is not None:
            seen = seen & (self.segments[:, :, None] == self.segments[:, None, :]) & (self.segments[:, None, :] >= 0)
        p = scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1).nan_to_num(0.0)
        return self.out_proj(torch.einsum("bhij,bjhd->bihd", p, v).reshape(b, t, WIDTH))


class Torchs(nn.MultiheadAttention):
    """PyTorch's own, of one value."""

    def __init__(self, causal=False, **options):
        super().__init__(WIDTH, HEADS, batch_first=True, **options)
        self.causal = causal

    def forward(self, x):
        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool() if self.causal else None
        return super().forward(x, x, x, attn_mask=mask, need_weights=False)[0]


layer("attention", Torchs())
layer("attention_no_bias", Torchs(bias=False))
layer("attention_causal", Torchs(causal=True))
layer("attention_shared_keys", Attention(key_heads=1, causal=True))
layer("attention_segments", Attention(segments=SEGMENTS))
layer("attention_causal_segments", Attention(segments=SEGMENTS, causal=True))
layer("attention_rotary", Attention(rotary=torch.arange(TOKENS).expand(BATCH, -1)))
layer("attention_rotary_shared_keys", Attention(key_heads=1, rotary=torch.arange(TOKENS).expand(BATCH, -1)))


def encoder(norm_first, activation):
    return nn.TransformerEncoderLayer(WIDTH, HEADS, 12, 0.0, activation, batch_first=True, norm_first=norm_first)


class Memory(nn.Module):
    """A decoder whose memory is made of its input."""

    def __init__(self):
        super().__init__()
        self.memory = nn.Linear(WIDTH, WIDTH)
        self.block = nn.TransformerDecoderLayer(WIDTH, HEADS, 12, 0.0, F.gelu, batch_first=True, norm_first=True)

    def forward(self, x):
        mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        return self.block(x, self.memory(x[:, :]), tgt_mask=mask)


class Llama(nn.Module):
    """RMSNorm and SwiGLU, without biases."""

    def __init__(self):
        super().__init__()
        self.self_attn = Torchs(bias=False)
        self.linear1 = nn.Linear(WIDTH, 24, bias=False)
        self.linear2 = nn.Linear(12, WIDTH, bias=False)
        self.norm1 = nn.RMSNorm(WIDTH, eps=1e-5)
        self.norm2 = nn.RMSNorm(WIDTH, eps=1e-5)

    def forward(self, x):
        x = x + self.self_attn(self.norm1(x))
        gate, up = self.linear1(self.norm2(x)).chunk(2, -1)
        return x + self.linear2(F.silu(gate) * up)


layer("block", encoder(True, F.gelu))
layer("block_post_norm", encoder(False, F.relu))
layer("block_gelu_tanh", encoder(True, functools.partial(F.gelu, approximate="tanh")))
layer("block_with_memory", Memory())
layer("block_swiglu", Llama())


class Gpt(nn.Module):
    def __init__(self, vocabulary=65, context=64, layers=4, heads=4, width=128):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(context, width)
        gelu = functools.partial(F.gelu, approximate="tanh")
        self.h = nn.ModuleList(nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, gelu, batch_first=True, norm_first=True)
                               for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        mask = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
        for block in self.h:
            x = block(x, src_mask=mask, is_causal=True)
        return F.linear(self.ln_f(x), self.wte.weight)


def tokens(stream, shape):
    return ((values(stream, shape) + 1.0) * 32.5).long()


def train_gpt():
    net = Gpt()
    set_parameters(net, scale=0.0625)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    losses = []
    for s in range(10):
        text = tokens(1000 + s, (12, 65))
        optimizer.zero_grad()
        loss = F.cross_entropy(net(text[:, :-1]).reshape(-1, 65), text[:, 1:].reshape(-1))
        loss.backward()
        optimizer.step()
        losses.append(loss)
    y = net(tokens(999, (12, 64)))
    CASES["gpt_nano"] = {"losses": flat(torch.stack(losses)), "y": flat(y[:, ::13, ::8]),
                         "names": [n for n, _ in net.named_parameters()], "wte": flat(net.wte.weight[:, ::16])}


train_gpt()
json.dump({"torch": torch.__version__, "cases": CASES}, sys.stdout, indent=None, separators=(",", ":"))
sys.stdout.write("\n")
