# SPDX-License-Identifier: BSD-3-Clause
"""Write the C source of mosbox._core from the public header.

The header is the only declaration: what stands in it between the two marker
lines is given to cffi. Usage: build_core.py HEADER CALLBACKS OUTPUT.c
"""

import re
import sys
from pathlib import Path

import cffi

BEGIN = "/* cffi: begin */"
END = "/* cffi: end */"
PLAIN_INT = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|\d+)")


def region(path: Path) -> str:
    """The lines between the markers (there may be several such regions)."""
    taken: list[str] = []
    inside = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        mark = line.strip()
        if mark in (BEGIN, END):
            if inside == (mark == BEGIN):
                raise SystemExit(f"{path}:{number}: {mark} out of order")
            inside = not inside
            line = ""
        taken.append(line if inside else "")
    if inside:
        raise SystemExit(f"{path}: {BEGIN} is never ended")
    if not any(taken):
        raise SystemExit(f"{path}: nothing between {BEGIN} and {END}")
    return "\n".join(taken)


def blank_comment(match: re.Match[str]) -> str:
    return "\n" * match.group().count("\n") or " "


def strip_attributes(text: str) -> str:
    """Drop __attribute__((...)), which cffi does not know."""
    while (start := text.find("__attribute__")) >= 0:
        end = text.index("(", start)
        depth = 0
        while True:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
            if depth == 0:
                break
        text = text[:start] + text[end:]
    return re.sub(r"\bMB_API\b", "", text)


def define(line: str) -> str:
    """A constant: its value if plain, else `...` (the compiler fills it in)."""
    parts = line.split(None, 2)
    if len(parts) < 3 or "(" in parts[1] or parts[2].startswith('"'):
        return ""  # a guard, a function-like macro, a string
    value = parts[2].strip()
    plain = PLAIN_INT.fullmatch(value.rstrip("uUlL"))
    return f"#define {parts[1]} {plain.group() if plain else '...'}"


def cdef_of(path: Path) -> str:
    """The declarations of a header as cffi takes them, line numbers kept."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", blank_comment, region(path), flags=re.S)
    text = strip_attributes(text)
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.lstrip().startswith("#"):
            continue
        directive = line.strip()
        if not directive.startswith("#define"):
            raise SystemExit(f"{path}:{i + 1}: only #define may stand in the cffi region")
        while directive.endswith("\\"):
            lines[i], i = "", i + 1
            directive = directive[:-1] + " " + lines[i].strip()
        lines[i] = define(directive)
    return "\n".join(lines)


def builder(header: Path, callbacks: Path) -> cffi.FFI:
    ffi = cffi.FFI()
    for path in (header, callbacks):
        try:
            ffi.cdef(cdef_of(path))
        except (cffi.CDefError, cffi.FFIError) as error:
            raise SystemExit(f"{path}: cffi: {error}") from error
    ffi.set_source("mosbox._core", f'#include "{header.name}"\n')
    return ffi


def main() -> None:
    header, callbacks, output = map(Path, sys.argv[1:])
    builder(header, callbacks).emit_c_code(str(output))


if __name__ == "__main__":
    main()
