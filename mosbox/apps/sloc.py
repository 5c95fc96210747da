# SPDX-License-Identifier: BSD-3-Clause
"""sloc: how small the apps are."""

import ast
from pathlib import Path
from typing import Any

from mosbox import INTERFACE, Command, argument
from mosbox.registry import BUILTIN
from mosbox.sloc import PACKAGE, core_lines, folder_lines, lines_of, peers

Row = dict[str, Any]
JOBS = {"stats": "stats", "ids": "ids", "l7fw": "firewall", "nat-monitor": "nat"}


class Sloc(Command):
    """Count the source lines of the apps and of what they stand on, beside other programs.

    Without a file: each app, the code several of them share, the Python interface
    and each part of the C core, and programs of others that do the same job. With
    files: these, an app of your own say.

    Blank lines, comments and docstrings are not counted. The figures of other
    programs were counted by cloc; `-o json` has the source of each.
    """

    table_columns = ("job", "program", "lines", "on")

    files: list[Path] = argument([], help="source files to count instead", metavar="FILE")

    def main(self) -> list[Row]:
        if self.files:
            return [_row("file", str(path), lines_of(path)) for path in self.files]
        core = core_lines()
        rows = [row for job in JOBS.values() for row in self._job(job)]
        rows += self._interface()
        rows.append(_row("stack", "mosbox core", sum(core.values())))
        rest = [peer for peer in peers() if peer["does"] not in JOBS.values()]
        rows += map(_peer, sorted(rest, key=lambda peer: peer["does"] != "stack"))
        return rows + [_row("part of the core", f"core/{name}", n) for name, n in core.items()]

    def _job(self, job: str) -> list[Row]:
        """Our app for a job, then the others'."""
        rows = []
        for name, entry in self.registry.entries.items():
            if JOBS.get(name) == job and entry.path is not None and entry.path.parent == BUILTIN:
                on = ", ".join(_shared(entry.path)) or "the interface and the core"
                rows.append(_row(job, f"mosbox {name}", lines_of(entry.path), on))
        return rows + [_peer(peer) for peer in peers() if peer["does"] == job]

    def _interface(self) -> list[Row]:
        """What our apps stand on, in Python."""
        shared = [path for path in sorted(PACKAGE.iterdir()) if (path / "__init__.py").is_file()]
        rows = [
            _row("shared code", f"mosbox/{path.name}", folder_lines(path, "*.py", deep=True))
            for path in shared
            if path.name != "apps"
        ]
        return [*rows, _row("interface", "mosbox in Python", folder_lines(PACKAGE, "*.py"))]


def _row(job: str, program: str, lines: int, stands_on: str = "", source: str = "") -> Row:
    return {"job": job, "program": program, "lines": lines, "on": stands_on, "source": source}


def _peer(peer: Row) -> Row:
    return _row(peer["does"], peer["name"], peer["lines"], peer.get("shared", ""), peer["source"])


def _shared(path: Path) -> list[str]:
    """The modules of mosbox beyond the interface that an app imports, with their lines."""
    found = {}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mosbox."):
            name = (node.module or "").split(".")[1]
            folder, file = PACKAGE / name, PACKAGE / f"{name}.py"
            if folder.is_dir():
                found[name] = folder_lines(folder, "*.py", deep=True)
            elif name not in INTERFACE:
                found[name] = lines_of(file)
    return [f"mosbox/{name} ({lines})" for name, lines in sorted(found.items())]
