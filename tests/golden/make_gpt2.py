#!/usr/bin/env python3
"""What GPT-2 computes with weights that are a pure function of their names and places.

usage: make_gpt2.py > gpt2.json             (needs PyTorch; run by hand)
The network is written as in transformers' modeling_gpt2: matrices are (in, out), y = x W + b. The weights are whole
numbers of 1/1024 (of 1/128 for the norms' scales) of 8 bits, so they are the same in f32, f16 and bf16; models/
gpt2_weights_test.cc makes them again. Computed in double.
"""
import json
import math

import torch

VOCABULARY, CONTEXT, LAYERS, HEADS, WIDTH = 61, 16, 2, 2, 128
TOKENS = [(7 * i + 3) % VOCABULARY for i in range(12)]


def weights(name, *shape):
    seed = 2166136261
    for c in name.encode():
        seed = (seed ^ c) * 16777619 % 2**32
    count = math.prod(shape)
    h = (torch.arange(count, dtype=torch.int64) * 2654435761 + seed) % 2**32
    h = h ^ (h >> 15)
    h = h * 2246822519 % 2**32
    h = h ^ (h >> 13)
    scale = name.startswith("ln_f.w") or ".ln_1.w" in name or ".ln_2.w" in name
    v = ((h >> 25) + 64).double() / 128 if scale else ((h >> 24) - 128).double() / 1024
    return v.reshape(shape)


def norm(x, name):
    return torch.nn.functional.layer_norm(x, (WIDTH,), weights(name + ".weight", WIDTH), weights(name + ".bias", WIDTH),
                                          1e-5)


def conv1d(x, name, into):
    return x @ weights(name + ".weight", x.shape[-1], into) + weights(name + ".bias", into)


def gpt2(tokens):
    wte = weights("wte.weight", VOCABULARY, WIDTH)
    x = wte[tokens] + weights("wpe.weight", CONTEXT, WIDTH)[:len(tokens)]
    for i in range(LAYERS):
        h = f"h.{i}."
        q, k, v = (part.reshape(-1, HEADS, WIDTH // HEADS).transpose(0, 1)
                   for part in conv1d(norm(x, h + "ln_1"), h + "attn.c_attn", 3 * WIDTH).split(WIDTH, dim=-1))
        seen = torch.ones(len(tokens), len(tokens)).tril().bool()
        p = (q @ k.transpose(1, 2) / math.sqrt(WIDTH // HEADS)).masked_fill(~seen, -math.inf).softmax(-1)
        x = x + conv1d((p @ v).transpose(0, 1).reshape(-1, WIDTH), h + "attn.c_proj", WIDTH)
        inner = torch.nn.functional.gelu(conv1d(norm(x, h + "ln_2"), h + "mlp.c_fc", 4 * WIDTH), approximate="tanh")
        x = x + conv1d(inner, h + "mlp.c_proj", WIDTH)
    return norm(x, "ln_f") @ wte.T


rows = [[round(v, 9) for v in row] for row in gpt2(torch.tensor(TOKENS)).tolist()]
print(json.dumps({"vocabulary": VOCABULARY, "context": CONTEXT, "layers": LAYERS, "heads": HEADS, "width": WIDTH,
                  "tokens": TOKENS, "scores": rows}))
