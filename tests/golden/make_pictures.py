#!/usr/bin/env python3
"""Writes pictures.txt: what other programs make of the pictures in a folder, as checksums of pixels.

usage: make_pictures.py FOLDER > pictures.txt

One line a picture: name, height, width, channels, white, CRC-32 of the pixels (rows from the top, channels last, 16-bit
values little-endian); or: name, refused. PNG is decoded here, from the standard and with zlib alone; where Pillow has the
same idea of the pixels (8 bits, no alpha), it must agree. JPEG is decoded by Pillow, which turns it upright and makes RGB
of CMYK.
"""
import struct
import sys
import zlib
from pathlib import Path

import PIL
from PIL import Image, ImageOps, features

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunks(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, name = 8, b""
    while name != b"IEND":
        length, name = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", data[at + 8 + length : at + 12 + length])
        assert len(body) == length and crc == zlib.crc32(name + body)
        yield name, body
        at += 12 + length


def unfiltered(raw, at, rows, row_bytes, step):
    """The rows of one pass, with the filters undone, and where the next pass begins."""
    result, above = [], bytearray(row_bytes)
    for _ in range(rows):
        kind, row = raw[at], bytearray(raw[at + 1 : at + 1 + row_bytes])
        assert kind <= 4 and len(row) == row_bytes
        at += 1 + row_bytes
        for i in range(row_bytes):
            a = row[i - step] if i >= step else 0
            b = above[i]
            c = above[i - step] if i >= step else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            row[i] = (row[i] + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
        result.append(row)
        above = row
    return result, at


def samples(row, count, depth):
    if depth == 8:
        return list(row[:count])
    if depth == 16:
        return [row[2 * i] << 8 | row[2 * i + 1] for i in range(count)]
    return [row[i * depth // 8] >> (8 - depth - i * depth % 8) & ((1 << depth) - 1) for i in range(count)]


def exif_orientation(tiff):
    order = {b"II": "<", b"MM": ">"}[tiff[:2]]
    (at,) = struct.unpack(order + "I", tiff[4:8])
    (count,) = struct.unpack(order + "H", tiff[at : at + 2])
    for i in range(count):
        tag, kind, n, value = struct.unpack(order + "HHIH", tiff[at + 2 + 12 * i : at + 12 + 12 * i])
        if tag == 0x0112:
            return value
    return 1


def png(data):
    """Height, width, channels, white, pixels: alpha composed on white."""
    body = {}
    for name, content in chunks(data):
        body[name] = body.get(name, b"") + content
    width, height, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", body[b"IHDR"])
    assert width > 0 and height > 0 and depth in {0: (1, 2, 4, 8, 16), 3: (1, 2, 4, 8)}.get(colours, (8, 16))
    if b"eXIf" in body:
        assert exif_orientation(body[b"eXIf"]) == 1, "not needed so far"
    count = CHANNELS[colours]
    raw = zlib.decompress(body[b"IDAT"])
    pixels, at = {}, 0
    for x0, y0, dx, dy in PASSES if interlaced else [(0, 0, 1, 1)]:
        columns, rows = range(x0, width, dx), range(y0, height, dy)
        if not columns or not rows:
            continue
        row_bytes = (len(columns) * count * depth + 7) // 8
        lines, at = unfiltered(raw, at, len(rows), row_bytes, max(1, count * depth // 8))
        for y, line in zip(rows, lines):
            values = samples(line, len(columns) * count, depth)
            for i, x in enumerate(columns):
                pixels[y, x] = tuple(values[count * i : count * i + count])
    assert at == len(raw)

    white = 65535 if depth == 16 else 255
    transparent = body.get(b"tRNS")
    if transparent is not None and colours != 3:
        transparent = struct.unpack(f">{count}H", transparent)
    out = []
    for y in range(height):
        for x in range(width):
            pixel, alpha = pixels[y, x], white
            if colours == 3:
                (i,) = pixel
                pixel = body[b"PLTE"][3 * i : 3 * i + 3]
                assert len(pixel) == 3
                if transparent is not None and i < len(transparent):
                    alpha = transparent[i]
            elif colours >= 4:
                pixel, alpha = pixel[:-1], pixel[-1]
            elif transparent == pixel:
                alpha = 0
            if colours == 0 and depth < 8:
                pixel = (pixel[0] * 255 // ((1 << depth) - 1),)
            out += [(2 * (alpha * v + (white - alpha) * white) + white) // (2 * white) for v in pixel]
    channels = 1 if colours in (0, 4) else 3
    return height, width, channels, white, struct.pack(f"<{len(out)}{'H' if white > 255 else 'B'}", *out)


def by_pillow(path):
    picture = Image.open(path)
    picture.load()
    picture = ImageOps.exif_transpose(picture)
    picture = picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    return picture.height, picture.width, len(picture.getbands()), 255, picture.tobytes()


def decoded(path):
    if path.suffix != ".png":
        return by_pillow(path)
    result = png(path.read_bytes())
    if result[3] == 255 and Image.open(path).mode in ("1", "L", "P", "RGB") and "transparency" not in Image.open(path).info:
        assert by_pillow(path) == result, path
    return result


def main():
    print(f"# Made by make_pictures.py with Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}")
    for path in sorted(Path(sys.argv[1]).iterdir()):
        if path.suffix not in (".png", ".jpg"):
            continue
        try:
            height, width, channels, white, pixels = decoded(path)
        except Exception as error:
            print(f"{path.name}: {type(error).__name__} {error}", file=sys.stderr)
            print(path.name, "refused")
            continue
        print(path.name, height, width, channels, white, f"{zlib.crc32(pixels):08x}")


main()
