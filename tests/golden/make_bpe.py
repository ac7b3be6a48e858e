#!/usr/bin/env python3
"""Tokens of GPT-2's encoder, written once more as plainly as it can be, with the splitting pattern in the module `regex`.

usage: make_bpe.py DATA > bpe.json      (DATA holds gpt2_bpe and tinyshakespeare; run by hand when a case is added)
Bytes that are no UTF-8 are lone surrogates in the pattern's eyes: neither letters, numbers nor space.
"""
import gzip
import json
import random
import sys

import regex

PATTERN = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
data = sys.argv[1]
vocab = json.load(gzip.open(data + "/gpt2_bpe/vocab.json.gz", "rt", encoding="utf-8"))
lines = gzip.open(data + "/gpt2_bpe/merges.txt.gz", "rt", encoding="utf-8").read().split("\n")[1:-1]
ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(lines)}
printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
character, others = {}, 256
for byte in range(256):
    if byte in printable:
        character[byte] = chr(byte)
    else:
        character[byte] = chr(others)
        others += 1


def merged(word):
    parts = [character[byte] for byte in word]
    while len(parts) > 1:
        rank, pair = min((ranks.get(pair, len(ranks)), pair) for pair in set(zip(parts, parts[1:])))
        if rank == len(ranks):
            break
        joined, i = [], 0
        while i < len(parts):
            if tuple(parts[i:i + 2]) == pair:
                joined.append(parts[i] + parts[i + 1])
                i += 2
            else:
                joined.append(parts[i])
                i += 1
        parts = joined
    return [vocab[part] for part in parts]


known = {}


def encode(text):
    tokens = []
    for word in PATTERN.findall(text.decode("utf-8", "surrogateescape")):
        if word not in known:
            known[word] = merged(word.encode("utf-8", "surrogateescape"))
        tokens += known[word]
    return tokens


def digest(tokens):
    value = 0xCBF29CE484222325
    for token in tokens:
        for byte in token.to_bytes(4, "little"):
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


texts = [
    "Hello, world!", " leading", "trailing ", "two  spaces", "a   b    c", "\n\n\nx\n", "   ", "\t\tx \t y", "don't I'm we'll they've he'd you're 'tis 'S",
    "!'s ''s '", "x 123abc 4 5.67 1,000", "naïve café Ünïcödé", "日本語のテキスト", "Привет, мир", "שלום עולם", "हिन्दी देवनागरी", "e\u0301a\u0300 combining",
    "👩‍👩‍👧‍👦 family 🇩🇪 flag 🙂", "½ ² Ⅷ ٣ numbers", "\u00a0nbsp\u2003em\u3000wide\u2028line\u0085nel", "\x1c\x1d\x1e\x1f separators", "\x00 NUL \x00\x00", "zero\u200bwidth\ufeffbom",
    "<|endoftext|>", " <|endoftext|> in the middle<|endoftext|>", "for (int i = 0; i < n; ++i) {\n    x[i] += 1;\n}\n", "\r\n\r\n dos\r\n", "ǅ titlecase ʰ modifier ª",
    "\ud7ff\ue000\U0010ffff\ufffe", "ﷺ ligature", "𝒜𝓁𝓅𝒽𝒶 𝟘𝟙",
]
cases = [text.encode("utf-8") for text in texts]
cases += [bytes(range(256)), b"\xff\xfe", b"a\xc3", b"\xc3 a", b"\xed\xa0\x80\xed\xb0\x80", b"\xc0\xaf \xe0\x80\xaf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
          b" \x80\x80 \xbf", b"caf\xc3\xa9\xc3 ", b"\xe2\x82", b"\xe2\x82A", b"\xf0\x9f\x99\x82\xf0\x9f\x99", b""]
random.seed(1)
pieces = [b"a", b"B", b"7", b" ", b"  ", b"\n", b"'", b"'s", b"\xc3\xa9", b"\xe3\x80\x80", b"\xff", b"\x80", b"\xf0\x9f\x99\x82", b"\xcc\x81", b"\xd9\xa3", b".", b"\x00", b"the", b" and"]
for _ in range(200):
    cases.append(b"".join(random.choice(pieces) for _ in range(random.randint(1, 30))))

text = open(data + "/tinyshakespeare/input.txt", "rb").read()
by_line = [token for line in text.splitlines(keepends=True) for token in encode(line)]
whole = encode(text)
print("{")
print(f'"shakespeare": {{"count": {len(whole)}, "hash": "{digest(whole)}", "count_by_line": {len(by_line)}, "hash_by_line": "{digest(by_line)}"}},')
print('"long": [')
print(",\n".join(json.dumps({"unit": unit.hex(), "times": times, "count": len(tokens), "hash": digest(tokens)})
                 for unit, times in [(b"a", 1000000), (b" ", 100000), (b"\n", 100000), (b"ab", 300000), (b"\xff", 100000), ("é".encode(), 100000), (b" '", 50000)]
                 for tokens in [encode(unit * times)]))
print('],\n"cases": [')
print(",\n".join(json.dumps({"text": case.hex(), "tokens": encode(case)}, separators=(",", ":")) for case in cases))
print("]}")
