#!/usr/bin/env python3
"""Makes the table of engine/data/text/character_class.cc: which code points are letters, numbers and
white space, as the Python module `regex` says (whose \\p{L}, \\p{N} and \\s GPT-2's encoder splits
texts by).
usage: make_character_classes.py            prints the table
       make_character_classes.py --figures  prints what the test expects"""
import sys

import regex

CLASSES = [("Letter", regex.compile(r"\p{L}")), ("Number", regex.compile(r"\p{N}")),
           ("Space", regex.compile(r"\s"))]


def class_of(point):
    if 0xD800 <= point < 0xE000:
        return 0
    for number, (_, pattern) in enumerate(CLASSES, 1):
        if pattern.fullmatch(chr(point)):
            return number
    return 0


classes = [class_of(point) for point in range(0x110000)]
if "--figures" in sys.argv:
    digest = 0xCBF29CE484222325
    for one in classes:
        digest = (digest ^ one) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    print([classes.count(i) for i in range(4)], hex(digest))
    sys.exit()
runs = []
for point, one in enumerate(classes):
    if runs and runs[-1][1] == point - 1 and runs[-1][2] == one:
        runs[-1][1] = point
    elif one:
        runs.append([point, point, one])
for number, (name, _) in enumerate(CLASSES, 1):
    print(f"constexpr Range k{name}s[] = {{")
    line = "   "
    for first, last, one in runs:
        if one != number:
            continue
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(item) > 99:
            print(line)
            line = "   "
        line += item
    print(line + "\n};")
