# SPDX-License-Identifier: BSD-3-Clause
"""Work on the tree in place: what to install, and the link from a venv to it.

    develop.py requirements [EXTRA]...   print what pip has to install
    develop.py link EXTENSION            make the running Python's `mosbox` this tree

`link` lets Python run the files of the tree themselves, so that an edited
module needs no build, and puts the built extension beside them. Meson-python's
own editable install is not used: it would start a build at every import.
"""

import os
import re
import shutil
import sys
import sysconfig
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())

COMMAND = """\
#!{python}
import sys

from {module} import {function}

sys.exit({function}())
"""


def requirements(extras: list[str]) -> list[str]:
    project = PROJECT["project"]
    found = PROJECT["build-system"]["requires"] + project["dependencies"]
    for extra in extras:
        found += project["optional-dependencies"][extra]
    return sorted(set(found))


def write(path: Path, text: str) -> None:
    """Write a file, unless it is so already: others may be running from it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def link(extension: Path) -> None:
    if sys.prefix == sys.base_prefix:
        raise SystemExit("develop.py: run me with the Python of a venv")
    project = PROJECT["project"]
    name = project["name"]
    match = re.search(r"\bversion: '([^']+)'", (TOP / "meson.build").read_text())
    assert match, "meson.build has no version"
    version = match.group(1)

    beside = TOP / "mosbox" / extension.name
    target = os.path.relpath(extension.resolve(), beside.parent)
    if not beside.is_symlink() or os.readlink(beside) != target:
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)

    site = Path(sysconfig.get_path("purelib"))
    write(site / f"{name}.pth", f"{TOP}\n")
    info = site / f"{name}-{version}.dist-info"
    for other in set(site.glob(f"{name}-*.dist-info")) - {info}:
        shutil.rmtree(other)
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    write(info / "INSTALLER", "make\n")
    scripts = project["scripts"]
    points = "".join(f"{command} = {target}\n" for command, target in scripts.items())
    write(info / "entry_points.txt", f"[console_scripts]\n{points}")
    written = [info / "METADATA", info / "INSTALLER", info / "entry_points.txt"]
    for command, target in scripts.items():
        module, function = target.split(":")
        path = Path(sysconfig.get_path("scripts")) / command
        text = COMMAND.format(python=sys.executable, module=module, function=function)
        write(path, text)
        path.chmod(0o755)
        written.append(path)
    written += [site / f"{name}.pth", info / "RECORD"]
    write(info / "RECORD", "".join(f"{os.path.relpath(p, site)},,\n" for p in written))


def main() -> None:
    match sys.argv[1:]:
        case ["requirements", *extras]:
            print("\n".join(requirements(extras)))
        case ["link", extension]:
            link(Path(extension))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
