#!/usr/bin/env python3
"""Writes the first inputs of the targets png, jpeg, cifar and folder (Pillow makes the JPEG files).

usage: make_picture_corpus.py FOLDER
"""
import gzip
import io
import struct
import sys
import zlib
from pathlib import Path

from PIL import Image


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, depth, colours, rows, interlaced=0, before=b"", after=b""):
    """An even last byte, so that the target makes checksums right."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(rows)) + after
            + chunk(b"IEND", b""))


def tiff(orientation, order=">"):
    return ({">": b"MM\0*", "<": b"II*\0"}[order] + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0))


def lines(width_bytes, height):
    return b"".join(bytes([y % 5]) + bytes((7 * x + 13 * y) % 256 for x in range(width_bytes)) for y in range(height))


def adam7(width, height, bits):
    rows = b""
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        columns, count = len(range(x0, width, dx)), len(range(y0, height, dy))
        if columns:
            rows += lines((columns * bits + 7) // 8, count)
    return rows


PNG = {
    "grey_1": png(3, 2, 1, 0, lines(1, 2)),
    "grey_4_trns": png(3, 2, 4, 0, lines(2, 2), before=chunk(b"tRNS", b"\0\1")),
    "grey_16": png(3, 2, 16, 0, lines(6, 2)),
    "rgb_8": png(3, 2, 8, 2, lines(9, 2), before=chunk(b"bKGD", bytes(6))),
    "rgb_16_trns": png(2, 2, 16, 2, lines(12, 2), before=chunk(b"tRNS", bytes(6))),
    "palette_2": png(5, 2, 2, 3, lines(2, 2), before=chunk(b"PLTE", bytes(range(12))) + chunk(b"tRNS", b"\0\x80")),
    "grey_alpha_8": png(3, 2, 8, 4, lines(6, 2), after=chunk(b"eXIf", tiff(6))),
    "rgba_16": png(2, 2, 16, 6, lines(16, 2), before=chunk(b"eXIf", tiff(3, "<"))),
    "interlaced": png(9, 9, 8, 2, adam7(9, 9, 24), interlaced=1),
    "bomb": png(60000, 60000, 16, 6, b"\0"),
}


def jpeg(mode="RGB", size=(17, 9), **options):
    picture = Image.new(mode, size)
    bands = len(picture.getbands())
    picture.putdata([tuple((31 * i + 50 * c) % 256 for c in range(bands)) if bands > 1 else 31 * i % 256
                     for i in range(size[0] * size[1])])
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


JPEG = {
    "grey": jpeg("L"),
    "rgb_420": jpeg(subsampling=2),
    "rgb_422": jpeg(subsampling=1),
    "rgb_444_exif": jpeg(subsampling=0, exif=b"Exif\0\0" + tiff(5)),
    "progressive": jpeg(progressive=True),
    "restarts": jpeg(restart_marker_blocks=1),
    "cmyk": jpeg("CMYK"),
    "one_pixel": jpeg(size=(1, 1)),
    "cut": jpeg()[:-40],
}

CIFAR = {
    "ten": b"\0\1" + bytes([9]) + bytes(range(256)) * 12,
    "hundred": b"\1\3" + bytes([19, 99]) + bytes(range(256)) * 12,
    "label": b"\0\1" + bytes([10]) + bytes(3072),
    "cut": b"\0\2" + bytes(3000),
    "twice.gz": b"\x80\1" + gzip.compress(bytes([3]) + bytes(3072), mtime=0),
    "bomb.gz": b"\0\1" + gzip.compress(bytes(3073 * 40), mtime=0),
}

# Two bytes an entry: the folder it lies in, by number; name + 16 * (0 folder, 2 file, 3 link).
FOLDER = {
    "classes": bytes([0, 4, 0, 5, 1, 38, 2, 39, 2, 44]),
    "split": bytes([0, 0, 0, 1, 1, 4, 1, 5, 2, 4, 2, 5, 3, 38, 4, 39, 5, 38, 6, 39]),
    "one_class": bytes([0, 4, 1, 38]),
    "loop": bytes([0, 4, 0, 5, 1, 38, 2, 39, 2, 48]),
    "beside": bytes([0, 4, 0, 38]),
    "ignored": bytes([0, 4, 0, 5, 1, 38, 2, 39, 2, 41, 2, 42, 1, 43, 1, 44]),
}

for target, inputs in {"png": PNG, "jpeg": JPEG, "cifar": CIFAR, "folder": FOLDER}.items():
    folder = Path(sys.argv[1]) / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in inputs.items():
        (folder / name).write_bytes(content)
