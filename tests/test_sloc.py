# SPDX-License-Identifier: BSD-3-Clause
"""`mosbox sloc` counts what is code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from program import mosbox, records

from mosbox import sloc

C = """\
/* SPDX-License-Identifier: BSD-3-Clause */
/* a comment
 * of three lines

 */
#include <stdio.h>

int main(void) /* beside code */
{
    // a line
    puts("/* no comment */");

    return 0;
}
"""
PYTHON = '''\
# a comment
"""A docstring
of two lines."""

import sys


def main() -> None:
    """Says it."""
    text = """
    a string
    """
    pass
    print(text, file=sys.stderr)  # beside code
'''


def test_lines_of_c(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text(C)
    assert sloc.lines_of(tmp_path / "x.c") == 6


def test_lines_of_python(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(PYTHON)
    assert sloc.lines_of(tmp_path / "x.py") == 7


def test_files_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(PYTHON)
    (tmp_path / "x.c").write_text(C)
    run = mosbox("sloc", tmp_path / "x.py", tmp_path / "x.c", "-o", "json")
    assert [row["lines"] for row in records(run.stdout)] == [7, 6]


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(range(256)))
    assert mosbox("sloc", tmp_path / "x.bin").returncode == 2
    assert mosbox("sloc", tmp_path / "none.py").returncode == 1


def test_our_apps_beside_the_others() -> None:
    run = mosbox("sloc", "-o", "json")
    rows = records(run.stdout)
    by_program = {row["program"]: row for row in rows}
    for name in ("Suricata", "Snort 3", "mOS nat", "nfstream"):
        assert by_program[name]["lines"] > 0
        assert by_program[name]["source"]
    for job in ("stats", "ids", "firewall", "nat"):
        assert any(row["job"] == job for row in rows)
    parts = [row["lines"] for row in rows if row["job"] == "part of the core"]
    assert by_program["mosbox core"]["lines"] == sum(parts) > 5000
    assert by_program["mosbox in Python"]["lines"] > 1000


@pytest.mark.parametrize("name", ["stats", "ids", "l7fw", "nat-monitor"])
def test_the_apps_are_small(name: str) -> None:
    path = sloc.PACKAGE / "apps" / f"{name.replace('-', '_')}.py"
    if not path.exists():
        pytest.skip(f"there is no {name} yet")
    assert sloc.lines_of(path) < 150


def test_without_c_sources_the_figures_of_the_build_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sloc, "CORE", tmp_path / "none")
    monkeypatch.setattr(sloc, "FIGURES", tmp_path / "core-lines.json")
    with pytest.raises(FileNotFoundError, match="not installed"):
        sloc.core_lines()
    sloc.FIGURES.write_text(json.dumps({"base": 3}))
    assert sloc.core_lines() == {"base": 3}


def test_every_folder_of_the_core_is_counted() -> None:
    if not sloc.CORE.is_dir():
        pytest.skip("the C sources are not here")
    folders = {path.parent.name for path in sloc.CORE.glob("*/*.c")}
    assert folders - {"tests", "fuzz", "bench"} <= set(sloc.FOLDERS)
