#!/usr/bin/env python3
"""A state dict as PyTorch has it, in a safetensors file, and what its network predicts.

usage: make_state_dict.py > state_dict.json             (needs PyTorch; run by hand)
       make_state_dict.py --check < OUR_FILE.json       loads our file strictly and compares the predictions
Both files: {"file": the safetensors file in hexadecimal, "x": rows of inputs, "y": rows of outputs}.
There is no safetensors package on Debian, so the format is written and read here.
"""
import json
import struct
import sys

import torch
import torch.nn as nn

TYPES = {"F32": torch.float32, "I64": torch.int64}


def network():
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4), nn.LayerNorm(4), nn.GELU(),
                         nn.Linear(4, 3))


def to_bytes(state):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in state.items():
        kind = next(k for k, v in TYPES.items() if v == tensor.dtype)
        raw = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def from_bytes(file):
    length = struct.unpack("<Q", file[:8])[0]
    header, data = json.loads(file[8:8 + length]), file[8 + length:]
    state = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = torch.frombuffer(bytearray(data[begin:end]), dtype=TYPES[entry["dtype"]])
            state[name] = flat.reshape(entry["shape"])
    return state


def check():
    ours = json.load(sys.stdin)
    net = network()
    state = from_bytes(bytes.fromhex(ours["file"]))
    for name, tensor in net.state_dict().items():
        assert (state[name].dtype, state[name].shape) == (tensor.dtype, tensor.shape), name
    net.load_state_dict(state, strict=True)
    net.eval()
    y, want = net(torch.tensor(ours["x"])), torch.tensor(ours["y"])
    error = ((y - want).abs().max() / want.abs().max()).item()
    print(f"{len(state)} tensors loaded strictly, largest difference {error:.1e} of the largest value")
    return 0 if error <= 1e-5 else 1


def make():
    torch.manual_seed(1)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05)
    for _ in range(12):
        loss = nn.functional.mse_loss(net(torch.randn(16, 5)), torch.randn(16, 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    x = torch.randn(6, 5)
    json.dump({"file": to_bytes(net.state_dict()).hex(), "x": x.tolist(), "y": net(x).tolist()}, sys.stdout, indent=0)
    print()


if "--check" in sys.argv:
    sys.exit(check())
make()
