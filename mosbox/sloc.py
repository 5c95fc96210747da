# SPDX-License-Identifier: BSD-3-Clause
"""sloc -- source lines of files and folders: no blank lines, no comments, no docstrings.

pygount finds the comments. It passes over lines of brackets alone, which the
programs we are set beside were counted with; they are counted here too.

In the tree the core is counted where it lies. A wheel has no C sources: the
build counts them and installs the figures as data/core-lines.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["core_lines", "folder_lines", "lines_of", "peers"]

PACKAGE = Path(__file__).parent
CORE = PACKAGE.parent / "core"
FIGURES = PACKAGE / "data" / "core-lines.json"
FOLDERS = ("base", "packet", "flow", "event", "match", "proto", "detect", "output", "io", "engine")


def lines_of(path: Path) -> int:
    """Source lines of a file; ValueError if it is no source text."""
    from pygount import SourceAnalysis

    text = path.read_text(encoding="utf-8", errors="replace")
    analysis = SourceAnalysis.from_file(str(path), "mosbox", encoding="utf-8")
    if not analysis.is_countable:
        raise ValueError(f"{path}: not a source file that can be counted")
    bare = sum(1 for line in text.splitlines() if _brackets_only(line.strip()))
    return int(analysis.code_count + analysis.string_count + bare)


def _brackets_only(line: str) -> bool:
    return bool(line) and line.strip("(),:;[]{}") in ("", "pass")


def folder_lines(folder: Path, pattern: str, deep: bool = False) -> int:
    """Source lines of the files of a folder."""
    paths = folder.rglob(pattern) if deep else folder.glob(pattern)
    return sum(lines_of(path) for path in sorted(paths))


def core_lines() -> dict[str, int]:
    """Source lines of each part of the C core."""
    if CORE.is_dir():
        return count_core(CORE)
    if FIGURES.is_file():
        figures: dict[str, int] = json.loads(FIGURES.read_text())
        return figures
    raise FileNotFoundError(f"{FIGURES}: the figures of the core were not installed")


def count_core(core: Path) -> dict[str, int]:
    """Counts the core's folders; "engine" is what lies beside them."""
    found = {}
    for name in FOLDERS:
        folder = core if name == "engine" else core / name
        found[name] = folder_lines(folder, "*.c") + folder_lines(folder, "*.h")
    found["include"] = folder_lines(core / "include", "*.h")
    return found


def peers() -> list[dict[str, Any]]:
    """The other programs, with where their figures come from."""
    import yaml

    text = (PACKAGE / "data" / "sloc-peers.yaml").read_text()
    programs: list[dict[str, Any]] = yaml.safe_load(text)["programs"]
    return programs


if __name__ == "__main__":  # the build: sloc.py CORE > core-lines.json
    json.dump(count_core(Path(sys.argv[1])), sys.stdout, indent=1)
