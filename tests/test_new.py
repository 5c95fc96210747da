# SPDX-License-Identifier: BSD-3-Clause
"""`mosbox new` writes an app that runs, with a test that passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from program import MOSBOX, environment, mosbox, records, scan


def test_the_commands_it_tells_work(tmp_path: Path) -> None:
    scan(tmp_path / "capture.pcap")
    run = mosbox("new", "port-watch", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (0, "")
    wrote, run_it, test_it = run.stderr.splitlines()
    assert wrote == "wrote port_watch.py and test_port_watch.py"

    command = run_it.removeprefix("run it:  mosbox ").split()
    told = subprocess.run(
        [*MOSBOX, *command, "--limit", "3"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert records(told.stdout)[0]["alert"] == "many flows"

    command = test_it.removeprefix("test it: python ").split()
    passed = subprocess.run(
        [sys.executable, *command, "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert passed.returncode == 0, passed.stdout
    assert "1 passed" in passed.stdout


def test_it_writes_to_the_users_folder_of_apps(tmp_path: Path) -> None:
    env = {"MOSBOX_APP_DIR": str(tmp_path)}
    run = mosbox("new", "mine", env=env)
    assert f"wrote {tmp_path}/mine.py" in run.stderr
    assert "run it:  mosbox mine -r capture.pcap" in run.stderr
    assert mosbox("mine", "--help", env=env).returncode == 0


def test_it_writes_where_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert mosbox("new", "mine", "--folder", tmp_path / "here").returncode == 0
    assert (tmp_path / "here" / "mine.py").is_file()


def test_what_it_writes_is_clean(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    mosbox("new", "mine", cwd=tmp_path)
    for tool in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy", "--strict"]):
        if tool[0] == "ruff" and subprocess.run([sys.executable, "-m", "ruff", "-V"]).returncode:
            continue
        run = subprocess.run(
            [sys.executable, "-m", *tool, "mine.py", "test_mine.py"],
            cwd=tmp_path,
            env=environment(MYPYPATH=environment()["PYTHONPATH"].split(":")[0]),
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    "name", ["Port", "port watch", "9lives", "-x", "a_b", "a--b", "class", "é"]
)
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    run = mosbox("new", "--", name, cwd=tmp_path)
    assert run.returncode == 2
    assert "is no name for an app" in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "why"), [("sloc", "already"), ("json", "module of Python")])
def test_names_that_are_taken_are_refused(tmp_path: Path, name: str, why: str) -> None:
    run = mosbox("new", name, cwd=tmp_path)
    assert run.returncode == 2
    assert why in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    run = mosbox("new", "mine", cwd=tmp_path)
    assert run.returncode == 1
    assert f"{there}: is there already" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"
