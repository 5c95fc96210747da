# SPDX-License-Identifier: BSD-3-Clause
"""new: the first minute of an app."""

import keyword
import os
import re
import shlex
import sys
from pathlib import Path

from mosbox import Command, argument, option
from mosbox.registry import app_folders

APP = '''\
"""{name}: what it is for, in a few words."""

from collections import Counter
from typing import Any

from mosbox import App, Flow, option


class {cls}(App):
    """Report clients that open many flows."""

    limit: int = option(100, help="flows before a client is reported")

    def start(self) -> None:
        self.flows: Counter[str] = Counter()

    def on_flow_start(self, flow: Flow) -> None:
        client = flow.client.ip
        self.flows[client] += 1
        if self.flows[client] == self.limit:
            self.alert("many flows", flow, flows=self.limit)

    def table(self) -> list[dict[str, Any]]:
        return [{{"client": ip, "flows": n}} for ip, n in self.flows.most_common(10)]
'''

TEST = '''\
"""What {name} reports on traffic made here."""

from pathlib import Path

import mosbox
from mosbox.testing import Capture

from {module} import {cls}


def test_many_flows_are_reported(tmp_path: Path) -> None:
    with Capture(tmp_path / "x.pcap") as capture:
        for port in range(1, 6):
            capture.tcp("10.0.0.1", "10.0.0.2", port, b"hello", b"hello yourself")

    app = mosbox.run({cls}, read=tmp_path / "x.pcap", limit=3)

    assert [record["alert"] for record in app.records] == ["many flows"]
    assert app.table() == [{{"client": "10.0.0.1", "flows": 5}}]
'''


class New(Command):
    """Write a new app that works, and a test of it.

    NAME is what it will be called on the command line: small letters, digits and
    dashes. NAME.py and test_NAME.py are written to the first folder of
    MOSBOX_APP_DIR, or to the current one; nothing is overwritten.
    """

    app: str = argument(help="name of the app, port-watch say", metavar="NAME")
    folder: Path | None = option(None, help="write to this folder", metavar="DIR")

    def main(self) -> None:
        name = self.app
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or keyword.iskeyword(name):
            raise ValueError(f"{name!r} is no name for an app: small letters, digits, dashes")
        taken = self.registry.entries.get(name)
        if taken is not None:
            raise ValueError(f"there is an app {name} already: {taken.where}")
        module = name.replace("-", "_")
        if module in sys.stdlib_module_names:
            raise ValueError(f"{name!r} is a module of Python: a test would find that one")
        folder = self.folder or next(iter(app_folders([])), Path())
        paths = [folder / f"{module}.py", folder / f"test_{module}.py"]
        for path in paths:
            if path.exists():
                raise FileExistsError(17, "is there already, nothing was written", str(path))
        words = {"name": name, "module": module, "cls": name.title().replace("-", "")}
        for path, text in zip(paths, (APP, TEST), strict=True):
            path.write_text(text.format(**words))
        print(f"wrote {paths[0]} and {paths[1]}", file=sys.stderr)
        print(f"run it:  {self._call(folder, name)} -r capture.pcap", file=sys.stderr)
        print(f"test it: python -m pytest {shlex.quote(str(paths[1]))}", file=sys.stderr)

    def _call(self, folder: Path, name: str) -> str:
        known = {path.resolve() for path in app_folders([])}
        if folder.resolve() in known:
            return f"mosbox {name}"
        return f"mosbox --app-dir {shlex.quote(os.path.normpath(folder))} {name}"
