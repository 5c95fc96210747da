# SPDX-License-Identifier: BSD-3-Clause
"""List what a folder of the tree installs, one path a line, relative to it.

Meson asks at configure time, so that a new module or data file is in the
wheel without being named a second time. Usage: package_files.py mosbox|man
"""

import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
WANTED = {
    "mosbox": {".py", ".pyi", ".typed", ".rules", ".yaml", ".yml", ".config", ".json", ".txt"},
    "man": {".1", ".5", ".7"},
}


def package_files(folder: str) -> list[str]:
    root = TOP / folder
    prefix = "" if folder == "mosbox" else f"{folder}/"
    return sorted(
        prefix + path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and (path.suffix in WANTED[folder] or path.name == "py.typed")
    )


if __name__ == "__main__":
    sys.stdout.write("".join(f"{name}\n" for name in package_files(sys.argv[1])))
