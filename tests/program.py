# SPDX-License-Identifier: BSD-3-Clause
"""The program as its users meet it: a process with two outputs and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mosbox.testing import Capture

MOSBOX = [sys.executable, "-m", "mosbox.cli"]

PORTWATCH = '''\
"""portwatch: report clients that try many server ports."""

from collections import defaultdict

from mosbox import App, Flow, option


class PortWatch(App):
    """Report clients that try many server ports."""

    limit: int = option(100, help="ports before a client is reported")

    def start(self) -> None:
        self.ports: dict[str, set[int]] = defaultdict(set)

    def on_flow_start(self, flow: Flow) -> None:
        seen = self.ports[flow.client.ip]
        seen.add(flow.server.port)
        if len(seen) == self.limit:
            self.alert("port scan", flow, ports=len(seen))
'''


def environment(**more: str) -> dict[str, str]:
    """Runs find this package wherever they are started."""
    import mosbox

    package = str(Path(mosbox.__file__).parent.parent)
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **more}


def mosbox(
    *words: str | Path, env: dict[str, str] | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end; one that hangs is not waited for."""
    return subprocess.run(
        [*MOSBOX, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(**(env or {})),
        **more,
    )


def records(text: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def scan(path: Path, ports: int = 5) -> Path:
    """A capture of a client that tries some ports of a server, and of one that does not."""
    with Capture(path) as capture:
        capture.tcp(
            "10.0.0.9", "10.0.0.2", 80, b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"
        )
        for port in range(1, ports + 1):
            capture.tcp("10.0.0.1", "10.0.0.2", port, refused=True)
    return path


def portwatch(folder: Path) -> Path:
    """A folder of apps with one in it."""
    folder.mkdir(exist_ok=True)
    (folder / "portwatch.py").write_text(PORTWATCH)
    return folder
