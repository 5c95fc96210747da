# SPDX-License-Identifier: BSD-3-Clause
"""The manual says what the program does, all of it, and the README's app runs."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from program import mosbox, records, scan

from mosbox import events
from mosbox.config import OVERLAPS, core_keys
from mosbox.dispatch import Session
from mosbox.engine import Engine
from mosbox.options import COMMON
from mosbox.registry import Registry

TOP = Path(__file__).resolve().parent.parent
MAN = TOP / "man"
BUILT_IN = sorted(Registry().entries)

pytestmark = pytest.mark.skipif(not MAN.is_dir(), reason="needs the tree")


@pytest.fixture(scope="module")
def man() -> ModuleType:
    spec = importlib.util.spec_from_file_location("man", TOP / "tools" / "man.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["man"] = module
    spec.loader.exec_module(module)
    return module


def text(name: str) -> str:
    """A page as its reader sees it, but for line ends."""
    source = (MAN / name).read_text().replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")
    return " ".join(source.split())


def test_the_manual_tells_keys_and_other_pages_to_who_reads_no_c(man: ModuleType) -> None:
    page = man.pages()["mosbox.1"]
    keys = page.partition(".SH CONFIGURATION")[2].partition(".SH SIGNALS")[0]
    assert not re.search(r"mosbox\.h|\benum\b|mb_", keys)
    assert re.search(r"\.B timeouts\.udp\n[^.]*\(default: 60s\)", keys)
    see = page.partition(".SH SEE ALSO")[2].replace("\\-", "-")
    for other in MAN.glob("mosbox-*.[57]"):
        assert f"{other.stem}({other.suffix[1:]})" in see


def test_the_manual_is_current(man: ModuleType) -> None:
    assert man.stale() == [], "run `make man`"


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="needs mandoc")
def test_mandoc_finds_no_fault() -> None:
    for path in sorted(MAN.glob("*.[1-8]")):
        run = subprocess.run(["mandoc", "-T", "lint", path], capture_output=True, text=True)
        faults = [
            line
            for line in run.stdout.splitlines()
            if "STYLE: input text line longer" not in line and "missing date" not in line
        ]
        assert faults == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_command_has_a_page_with_all_its_options(name: str) -> None:
    command = Registry().entries[name].load()
    page = text(f"mosbox-{name}.1")
    for option in command.options().values():
        assert option.help, f"{name}: option {option.name} needs help"
        assert (option.metavar if option.positional else option.flag) in page
        assert option.help in page
    assert f"mosbox-{name}(1)" in text("mosbox.1")


def test_every_common_option_and_key_is_described() -> None:
    page = text("mosbox.1")
    for option in COMMON:
        assert option.flag in page
        assert option.help in page
    for key in core_keys():
        assert f".B {key} " in page
    for policy in OVERLAPS:
        assert policy in page.split(".B hosts.POLICY ")[1]


def test_every_event_and_view_is_described() -> None:
    page = text("mosbox-app.7")
    for name, kind in events.EVENTS.items():
        assert f".B on_{name}({', '.join(kind.arguments)}) {kind.help}" in page
    for view in (events.Flow, events.Endpoint, *(k.record for k in events.EVENTS.values())):
        if view is not None:
            assert f".SS {view.__name__} " in page
            assert view.__doc__


def test_every_function_of_the_header_is_described() -> None:
    header = (TOP / "core" / "include" / "mosbox.h").read_text()
    page = text("mosbox-api.7")
    functions = re.findall(r"^\w[^(\n]*\b(mb_\w+)\(", header, re.M)
    assert len(functions) > 80
    for function in functions:
        assert f"{function}(" in page


def test_the_expressions_of_the_manual_compile(man: ModuleType) -> None:
    with_data = Session(Engine(), "docs")
    for line in man.FILTERS.split("\n"):
        if line.strip():
            kind = events.EVENTS["data"]
            assert with_data.define(kind.id, kind, where=line.strip()) >= 4096
    table = (TOP / "core" / "match" / "field.c").read_text()
    for name in re.findall(r'^    \{"([\w.]+)", MB__F_', table, re.M):
        assert re.search(rf"\b{re.escape(name)}\b", text("mosbox-filter.7"))


def test_the_app_of_the_readme_runs(tmp_path: Path) -> None:
    readme = (TOP / "README.md").read_text()
    [source] = [code for code in re.findall(r"```python\n(.*?)```", readme, re.S) if "App)" in code]
    lines = [line for line in source.splitlines() if line.strip()]
    assert len(lines) <= 20
    (tmp_path / "portwatch.py").write_text(source)
    [told] = re.findall(r"`mosbox (--app-dir \. portwatch -r capture\.pcap[^`]*)`", readme)
    scan(tmp_path / "capture.pcap", ports=30)
    run = mosbox(*told.split(), cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert [alert["src_ip"] for alert in records(run.stdout)] == ["10.0.0.1"]
