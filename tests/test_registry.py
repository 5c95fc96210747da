# SPDX-License-Identifier: BSD-3-Clause
"""Apps are found wherever they may lie, and a broken one breaks nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import mosbox, portwatch, records, scan

from mosbox.registry import AppError, Registry, app_folders

OTHER = 'from mosbox import App\n\n\nclass Other(App):\n    """Do something else."""\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return portwatch(tmp_path / "apps")


def package(site: Path, name: str, text: str, target: str) -> Path:
    """Another project that is installed and brings an app."""
    (site / f"{name}_package").mkdir(parents=True)
    (site / f"{name}_package" / "__init__.py").write_text("raise SystemExit('imported')\n")
    (site / f"{name}_module.py").write_text(text)
    info = site / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[mosbox.apps]\n{name} = {target}\n")
    return site


def test_the_apps_of_mosbox_are_there() -> None:
    registry = Registry()
    assert {"apps", "new", "sloc"} <= set(registry.entries)
    assert registry.problems == []
    for entry in registry.entries.values():
        assert entry.origin == "mosbox"
        assert entry.summary, f"{entry.name} needs a docstring"
        assert entry.load().name == entry.name


def test_a_file_in_a_folder_is_an_app(folder: Path) -> None:
    entry = Registry([folder]).entries["portwatch"]
    assert entry.summary == "Report clients that try many server ports."
    assert entry.load().__name__ == "PortWatch"


def test_names_of_files_become_names_of_commands(folder: Path) -> None:
    (folder / "some_thing.py").write_text(OTHER)
    assert Registry([folder]).entries["some-thing"].load().name == "some-thing"


def test_tests_and_helpers_are_no_apps(folder: Path) -> None:
    for name in ("test_portwatch.py", "_private.py", "conftest.py"):
        (folder / name).write_text(OTHER)
    (folder / "helper.py").write_text("VALUE = 3\n")
    registry = Registry([folder])
    assert not {"test-portwatch", "-private", "conftest", "helper"} & set(registry.entries)
    assert registry.problems == []


def test_an_app_may_import_a_helper_beside_it(folder: Path) -> None:
    (folder / "value_of_helper.py").write_text("VALUE = 3\n")
    (folder / "other.py").write_text("from value_of_helper import VALUE\n" + OTHER)
    assert Registry([folder]).entries["other"].load().__name__ == "Other"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("class Broken(App:\n", "line 1"),
        ("import nothing_of_this_name\n" + OTHER, "line 1: ModuleNotFoundError"),
        (OTHER + "\n\n1 / 0\n", "ZeroDivisionError"),
        (OTHER + "    def on_flw_end(self, flow): ...\n", "did you mean on_flow_end"),
        (OTHER + "\n\nclass Second(App):\n    pass\n", "found: Other, Second"),
    ],
)
def test_a_broken_app_is_told_and_breaks_nothing(folder: Path, text: str, complaint: str) -> None:
    (folder / "broken.py").write_text(text)
    assert mosbox("--app-dir", folder, "--help").returncode == 0
    pcap = scan(folder / "x.pcap")
    run = mosbox("--app-dir", folder, "portwatch", "-r", pcap, "--limit", "2")
    assert (run.returncode, len(records(run.stdout))) == (0, 1)
    run = mosbox("--app-dir", folder, "broken", "-r", pcap)
    assert run.returncode == 2
    [line] = run.stderr.splitlines()
    assert f"{folder}/broken.py" in line
    assert complaint in line


def test_an_app_may_build_on_another_of_its_file(folder: Path) -> None:
    (folder / "other.py").write_text(OTHER + "\n\nclass Better(Other):\n    pass\n")
    assert Registry([folder]).entries["other"].load().__name__ == "Better"


def test_a_package_brings_apps(tmp_path: Path, folder: Path) -> None:
    site = package(tmp_path / "site", "other", OTHER, "other_module:Other")
    run = mosbox("apps", "-o", "json", env={"PYTHONPATH": str(site)})
    rows = {row["name"]: row for row in records(run.stdout)}
    assert set(rows["other"]) == {"name", "from", "what"}
    assert rows["other"]["from"] == "package other 1.2"
    assert rows["other"]["what"] == "Do something else."
    run = mosbox("other", "-r", scan(tmp_path / "x.pcap"), env={"PYTHONPATH": str(site)})
    assert (run.returncode, run.stderr) == (0, "")


def test_a_broken_package_breaks_nothing(tmp_path: Path) -> None:
    site = package(tmp_path / "site", "bomb", "", "bomb_package.app:App")
    run = mosbox("--help", env={"PYTHONPATH": str(site)})
    assert run.returncode == 0
    assert "bomb" in run.stdout


def test_the_first_of_a_name_stays(folder: Path) -> None:
    (folder / "sloc.py").write_text(OTHER)
    registry = Registry([folder])
    assert registry.entries["sloc"].origin == "mosbox"
    [problem] = registry.problems
    assert problem.startswith(f"{folder}/sloc.py: the name sloc is taken by ")


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert Registry([tmp_path / "none"]).problems == [f"{tmp_path}/none: no such folder of apps"]


def test_folders_come_from_the_command_line_and_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOSBOX_APP_DIR", "/b:/a::/c")
    assert app_folders(["/a"]) == [Path("/a"), Path("/b"), Path("/c")]


def test_a_file_without_an_app_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("VALUE = 1\n")
    entry = Registry().find(str(tmp_path / "x.py"))
    assert entry is not None
    with pytest.raises(AppError, match="found: none"):
        entry.load()


def test_apps_lists_them_with_where_they_come_from(folder: Path) -> None:
    run = mosbox("--app-dir", folder, "apps", "-o", "table")
    assert run.returncode == 0
    [line] = [line for line in run.stdout.splitlines() if line.startswith("portwatch")]
    assert str(folder) in line
    assert "Report clients that try many server ports." in line
