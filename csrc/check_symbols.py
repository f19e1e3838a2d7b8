"""Fail unless a per-ISA object exports exactly one symbol, its table, and no weak one.

A weak symbol compiled with AVX flags could be chosen by the linker for the whole program and crash an old CPU.
Usage: check_symbols.py NM TABLE OBJECT...
"""

import subprocess
import sys


def main() -> int:
    nm, table, *objects = sys.argv[1:]
    exported = []
    for path in objects:
        listing = subprocess.run([nm, "-C", "--defined-only", path], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            _, kind, name = line.split(maxsplit=2)
            if kind.isupper() or kind in "uvw":
                exported.append((kind, name))
    names = [name for _, name in exported]
    if names != [f"fastnn::{table}"] or exported[0][0] in "WVuvw":
        print(f"check_symbols: expected only fastnn::{table}, got {exported}; see csrc/kernels/README.md, rule K2")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
