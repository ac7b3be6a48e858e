"""What the scripts here share: inputs that both sides make for themselves (tests/golden.h reads what they write)."""
import torch


def values(stream, shape):
    """In [-1, 1), multiples of 2^-15: exact in fp32 on both sides."""
    n = 1
    for d in shape:
        n *= d
    out = []
    for i in range(n):
        h = (i * 2654435761 + stream * 40503 + 12345) & 0xFFFFFFFF
        h ^= h >> 15
        h = (h * 2246822519) & 0xFFFFFFFF
        h ^= h >> 13
        h = (h * 3266489917) & 0xFFFFFFFF
        out.append(((h >> 16) & 0xFFFF) / 32768.0 - 1.0)
    return torch.tensor(out, dtype=torch.float32).reshape(shape)
