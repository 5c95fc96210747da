# SPDX-License-Identifier: BSD-3-Clause
"""registry -- which apps there are, found without importing them.

They come from the package's own apps/ folder, from other packages (entry points
of the group "mosbox.apps") and from folders the user names (--app-dir,
MOSBOX_APP_DIR). To list them, each file is parsed for its class and docstring;
only the one that is asked for is imported, so a broken one breaks nothing else.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from mosbox.app import Command

__all__ = ["AppError", "Entry", "Registry", "app_folders"]

GROUP = "mosbox.apps"
BUILTIN = Path(__file__).parent / "apps"
_BASES = {"App", "Command"}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class AppError(Exception):
    """An app cannot be loaded; the sentence says which file and why."""


@dataclass
class Entry:
    """An app that was found."""

    name: str
    origin: str  # "mosbox", "package foo 1.2" or a folder
    summary: str  # first line of its docstring
    path: Path | None = None
    entry_point: EntryPoint | None = None
    problem: str = ""  # why it cannot be used, if so

    def load(self) -> type[Command]:
        """Imports it. AppError if that fails or there is no app in it."""
        try:
            found = self._import()
        except AppError:
            raise
        except Exception as error:
            raise AppError(f"{self.where}: {_describe(error)}") from error
        found.name = self.name
        return found

    @property
    def where(self) -> str:
        return str(self.path or (self.entry_point and self.entry_point.value) or self.name)

    def _import(self) -> type[Command]:
        import importlib

        if self.entry_point is not None:
            from mosbox.app import Command

            loaded = self.entry_point.load()
            if isinstance(loaded, type) and issubclass(loaded, Command):
                return loaded
            return _app_of(loaded, self.where)
        if self.path is None:
            raise AppError(f"{self.name}: no file")
        if self.path.parent == BUILTIN:
            return _app_of(importlib.import_module(f"mosbox.apps.{self.path.stem}"), self.where)
        return _app_of(_module_from(self.path), self.where)


class Registry:
    """All apps by name. Own apps come first, then packages, then folders."""

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        self.entries: dict[str, Entry] = {}
        self.problems: list[str] = []
        self._scan_folder(BUILTIN, "mosbox")
        self._scan_packages()
        for folder in folders:
            if folder.is_dir():
                self._scan_folder(folder, str(folder))
            else:
                self.problems.append(f"{folder}: no such folder of apps")

    def find(self, name: str) -> Entry | None:
        """The app of that name; a path that ends in .py is an app too."""
        if name in self.entries:
            return self.entries[name]
        path = Path(name)
        if name.endswith(".py") and path.is_file():
            return _read(path, str(path.parent))
        return None

    def _add(self, entry: Entry) -> None:
        taken = self.entries.get(entry.name)
        if taken is not None:
            message = f"{entry.where}: the name {entry.name} is taken by {taken.where}"
            self.problems.append(message)
            return
        self.entries[entry.name] = entry
        if entry.problem:
            self.problems.append(f"{entry.where}: {entry.problem}")

    def _scan_folder(self, folder: Path, origin: str) -> None:
        for path in sorted(folder.glob("*.py")):
            if path.stem.startswith(("_", "test_")) or path.stem == "conftest":
                continue
            entry = _read(path, origin)
            if origin == "mosbox" or entry.summary or entry.problem:
                self._add(entry)

    def _scan_packages(self) -> None:
        from importlib.metadata import entry_points

        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
            package = f"{point.dist.name} {point.dist.version}" if point.dist else "?"
            entry = Entry(point.name, f"package {package}", "", entry_point=point)
            if point.dist is not None:
                file = Path(str(point.dist.locate_file(point.module.replace(".", "/") + ".py")))
                if file.is_file():
                    read = _read(file, "", point.attr or "")
                    entry.summary, entry.problem = read.summary, read.problem
            if not _NAME.fullmatch(point.name):
                entry.problem = f"{point.name!r} is not a name for an app"
            self._add(entry)


def app_folders(given: Iterable[str]) -> list[Path]:
    """The folders of --app-dir and MOSBOX_APP_DIR, each once."""
    named = [*given, *os.environ.get("MOSBOX_APP_DIR", "").split(os.pathsep)]
    return [Path(folder).expanduser() for folder in dict.fromkeys(named) if folder]


def _read(path: Path, origin: str, class_name: str = "") -> Entry:
    """What a file says about itself, without running it."""
    entry = Entry(path.stem.replace("_", "-"), origin, "", path=path)
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        entry.problem = f"line {error.lineno}: {error.msg}"
        return entry
    except (OSError, ValueError) as error:
        entry.problem = str(error)
        return entry
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        bases = {b.id if isinstance(b, ast.Name) else getattr(b, "attr", "") for b in node.bases}
        if node.name == class_name or (not class_name and bases & _BASES):
            text = ast.get_docstring(node) or ast.get_docstring(tree) or ""
            entry.summary = text.partition("\n")[0] or f"class {node.name}"
    return entry


def _module_from(path: Path) -> object:
    import importlib.util

    name = f"mosbox_app_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise AppError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # annotations are looked up there
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.append(folder)  # an app may have a helper beside it
    spec.loader.exec_module(module)
    return module


def _app_of(module: object, where: str) -> type[Command]:
    """The one app class that a module defines."""
    from mosbox.app import Command

    own = getattr(module, "__name__", "")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Command)
        and value.__module__ == own
        and not value.__name__.startswith("_")
    ]
    # an app may be built on another class of the same file
    leaves = [c for c in found if not any(c in other.__mro__[1:] for other in found)]
    if len(leaves) != 1:
        names = ", ".join(c.__name__ for c in leaves) or "none"
        raise AppError(f"{where}: one class derived from App is wanted, found: {names}")
    return leaves[0]


def _describe(error: Exception) -> str:
    """Kind, sentence and the last line of the app that was running."""
    import traceback

    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename[0] != "<"]
    mine = [f for f in frames if "/mosbox/" not in f.filename and "importlib" not in f.filename]
    place = f"line {mine[-1].lineno}: " if mine else ""
    return f"{place}{type(error).__name__}: {error}"
