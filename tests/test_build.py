# SPDX-License-Identifier: BSD-3-Clause
"""The build says what the tree holds: lists, floors, the header, symbols."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

TOP = Path(__file__).resolve().parent.parent
CORE = TOP / "core"

# Which floor a folder of core/ is on: a file uses its own folder and lower floors.
FLOORS = {
    "base": 0,
    "packet": 1,
    "io": 1,
    "flow": 2,
    "event": 3,
    "match": 4,
    "proto": 4,
    "detect": 5,
    "output": 6,
    "engine": 7,
    "frames": 7,
    "conversation": 7,
    "delivery": 7,
    "related": 7,
    "workers": 7,
}
FOLDERS = [name for name in FLOORS if (CORE / name).is_dir()]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(meson: Path) -> list[str]:
    """The quoted names of a folder's list, comments left out."""
    text = re.sub(r"#.*", "", meson.read_text())
    match = re.search(r"(?:files\(|= \[)([^)\]]*)[)\]]", text)
    return re.findall(r"'([^']+)'", match.group(1)) if match else []


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_core_file_is_listed(folder: str) -> None:
    names = listed(CORE / folder / "meson.build")
    assert sorted(names) == sorted(path.name for path in (CORE / folder).glob("*.c"))


@pytest.mark.parametrize(
    ("folder", "prefix"), [("tests", "test_"), ("fuzz", "fuzz_"), ("bench", "bench_")]
)
def test_each_c_program_is_listed(folder: str, prefix: str) -> None:
    names = listed(CORE / folder / "meson.build")
    files = (path.stem.removeprefix(prefix) for path in (CORE / folder).glob(f"{prefix}*.c"))
    assert sorted(names) == sorted(files)


def core_files() -> list[Path]:
    return [
        path
        for path in sorted(CORE.rglob("*.[ch]"))
        if path.relative_to(CORE).parts[0] in FLOORS or path.parent == CORE
    ]


def test_floors_use_only_lower_floors() -> None:
    wrong = []
    for path in core_files():
        parts = path.relative_to(CORE).parts
        own = parts[0] if len(parts) > 1 else path.stem
        for name in re.findall(r'^#include "([^"/]+)/', path.read_text(), flags=re.M):
            if name != own and FLOORS[name] >= FLOORS[own]:
                wrong.append(f"{path.relative_to(TOP)} includes {name}/")
    assert wrong == []


def test_files_open_with_their_purpose() -> None:
    wrong = []
    for path in [*core_files(), CORE / "include" / "mosbox.h"]:
        lines = path.read_text().splitlines()
        if lines[0] != "/* SPDX-License-Identifier: BSD-3-Clause */" or not re.match(
            r"/\* [\w.-]+ -- \S", lines[1]
        ):
            wrong.append(str(path.relative_to(TOP)))
    assert wrong == []


def test_core_uses_no_forbidden_function() -> None:
    forbidden = re.compile(r"\b(sprintf|strcpy|strcat|gets|atoi|alloca|exit|abort)\s*\(")
    wrong = []
    for path in core_files():
        text = re.sub(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"", "", path.read_text(), flags=re.S)
        wrong += [f"{path.relative_to(TOP)}: {name}" for name in forbidden.findall(text)]
    assert wrong == []


@pytest.fixture(scope="module")
def build_core() -> ModuleType:
    return load(CORE / "ffi" / "build_core.py")


def test_cffi_reads_the_public_header(build_core: ModuleType) -> None:
    header = CORE / "include" / "mosbox.h"
    ffi = build_core.builder(header, CORE / "ffi" / "callbacks.h")
    assert ffi.typeof("struct mb_packet").kind == "struct"
    assert ffi.typeof("enum mb_error").elements[0] == "MB_OK"


def test_header_region_keeps_to_what_cffi_knows(build_core: ModuleType, tmp_path: Path) -> None:
    header = tmp_path / "x.h"
    header.write_text(
        "#if 0\n/* cffi: begin */\n"
        "#define X_PLAIN 3 /* a comment */\n"
        "#define X_SHIFT (1u << 4)\n"
        "#define X_MAX(a, b) ((a) > (b))\n"
        "int x_print(const char *f, ...) __attribute__((format(printf, 1, 2)));\n"
        "/* cffi: end */\n#endif\n"
    )
    text = build_core.cdef_of(header)
    assert "#define X_PLAIN 3\n" in text
    assert "#define X_SHIFT ...\n" in text
    assert "X_MAX" not in text
    assert "__attribute__" not in text and "int x_print(const char *f, ...) ;" in text

    header.write_text("/* cffi: begin */\n#ifdef X\n/* cffi: end */\n")
    with pytest.raises(SystemExit, match=r"x\.h:2: only #define"):
        build_core.cdef_of(header)
    header.write_text("int x;\n")
    with pytest.raises(SystemExit, match="nothing between"):
        build_core.cdef_of(header)


def extension() -> Path:
    found = importlib.util.find_spec("mosbox._core")
    assert found is not None and found.origin is not None, "run make build"
    return Path(found.origin)


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_extension_exports_only_the_public_interface() -> None:
    table = subprocess.run(
        ["nm", "--dynamic", "--defined-only", extension()],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = [line.split()[-1] for line in table.splitlines()]
    assert "PyInit__core" in names
    others = {"PyInit__core", "_init", "_fini", "__bss_start", "_edata", "_end"}
    public = re.compile(r"mb_[^_]|__(asan|ubsan|odr)")
    wrong = [name for name in names if name not in others and not public.match(name)]
    assert wrong == []


def test_extension_matches_the_header(build_core: ModuleType) -> None:
    """Every function the header declares is there (a stale build lacks some)."""
    from mosbox._core import lib

    text = build_core.cdef_of(CORE / "include" / "mosbox.h")
    functions = re.findall(r"\b(mb_\w+)\s*\([^;{}]*\)\s*;", text)
    assert len(functions) > 50
    assert [name for name in functions if not hasattr(lib, name)] == []


def test_version_is_the_same_everywhere() -> None:
    from importlib.metadata import version

    from mosbox._core import ffi, lib

    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert project["dynamic"] == ["version"]
    match = re.search(r"\bversion: '([^']+)'", (TOP / "meson.build").read_text())
    assert match is not None
    assert version("mosbox") == match.group(1) == ffi.string(lib.mb_version()).decode()
    assert f"## {match.group(1)}" in (TOP / "CHANGELOG.md").read_text()


def test_package_files_are_whole_and_hold_no_litter() -> None:
    files = load(TOP / "tools" / "package_files.py").package_files("mosbox")
    tracked = subprocess.run(
        ["git", "-C", TOP, "ls-files", "mosbox"], capture_output=True, text=True
    )
    if tracked.returncode == 0:
        wanted = {
            name.removeprefix("mosbox/")
            for name in tracked.stdout.splitlines()
            if not name.endswith("meson.build")
        }
        assert sorted(wanted - set(files)) == []
    assert not [name for name in files if "__pycache__" in name or name.endswith(".so")]


def test_makefile_help_names_every_public_command() -> None:
    text = subprocess.run(
        ["make", "-s", "-C", TOP, "help"], capture_output=True, text=True, check=True
    ).stdout
    for command in "setup build demo test lint asan hostile fuzz bench man install clean".split():
        assert f"make {command} " in text


def bare_machine(folder: Path, **programs: str) -> dict[str, str]:
    """A PATH with hardly a tool on it, and some programs of our own."""
    for tool in ("bash", "mktemp", "rm", "cut", "env"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    for name, body in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!{folder}/bash\n{body}\n")
        path.chmod(0o755)
    return {"PATH": str(folder), "PYTHON": sys.executable, "LOG": str(folder / "log")}


def run_setup(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [f"{env['PATH']}/bash", TOP / "tools" / "setup.sh", "build"]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_setup_names_what_is_missing(tmp_path: Path) -> None:
    """On a machine without apt: the packages by name, and a plain sentence."""
    run = run_setup(bare_machine(tmp_path))
    assert run.returncode == 1
    for package in ("gcc", "pkg-config", "ninja-build", "libpcap-dev", "libvectorscan-dev"):
        assert package in run.stderr
    assert "could not be installed from here" in run.stderr


def test_setup_installs_what_is_missing(tmp_path: Path) -> None:
    """With apt, as a user who has sudo; the release has the other libhs."""
    env = bare_machine(
        tmp_path,
        id="echo 1000",
        sudo='exec "$@"',
        apt_get='echo "$@" >>"$LOG"',
        apt_cache="exit 1",
    )
    run = run_setup(env)
    update, install = (tmp_path / "log").read_text().splitlines()
    assert update.startswith("update")
    assert "install -y" in install
    for package in ("gcc", "libpcap-dev", "libhyperscan-dev", "libpcre2-dev", "zlib1g-dev"):
        assert package in install.split()
    assert "libvectorscan-dev" not in install
    assert run.returncode == 1  # this apt installs nothing, and that is noticed
