# SPDX-License-Identifier: BSD-3-Clause
"""Memory under attack: the program stays under its limit, real connections stay whole, and what
made room is counted.

`make flood` is the same with ten million packets and ten thousand connections.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from flood import FLOODS, client_of, said
from program import MOSBOX, environment

FULL = int(os.environ.get("MOSBOX_FLOOD", "0"))  # flood packets
PACKETS, CONNECTIONS, MEGABYTES = (FULL, 10_000, 256) if FULL else (100_000, 100, 80)
UNDER_ASAN = "MOSBOX_ASAN" in os.environ  # shadow memory and quarantine count too

REASONS = {
    "syn": {"flow_limit"},
    "syn_answered": {"flow_limit"},
    "syn_data": {"flow_limit", "stream_limit"},
    "syn_changed": {"flow_limit", "stream_limit"},
    "contested": {"flow_limit", "stream_limit"},
    "behind_fin": {"stream_limit"},
    "fragments": {"frag_limit"},
    "holes": {"stream_limit"},
    "tiny": {"stream_limit"},
    "headers": {"memory_refused"},
}

WHOLE = '''\
"""whole: tell what each real client and its server said."""

from hashlib import sha256

from mosbox import App


class Whole(App):
    """Tell what each real client and its server said, and what was let go."""

    def start(self) -> None:
        self.said = {}

    def on_flow_start(self, flow) -> None:
        if flow.client.ip.startswith("10."):
            self.said[flow.id] = {"client": sha256(), "server": sha256()}

    def on_data(self, flow, data) -> None:
        if flow.id in self.said:
            self.said[flow.id][data.side].update(data.bytes)

    def on_http_request(self, flow, request) -> None:
        """Has requests read."""

    def on_flow_end(self, flow) -> None:
        if digests := self.said.pop(flow.id, None):
            told = {side: digest.hexdigest() for side, digest in digests.items()}
            self.alert("end", flow, said=told, end=flow.end_reason)

    def finish(self) -> None:
        self.alert("limits", stats=self.engine.stats())
'''

# Runs a program and tells the most memory it ever had, in KiB, at the end of its errors.
MEASURED = [
    sys.executable,
    "-c",
    "import os, subprocess, sys\n"
    "process = subprocess.Popen(sys.argv[1:])\n"
    "_, status, usage = os.wait4(process.pid, 0)\n"
    "print(usage.ru_maxrss, file=sys.stderr)\n"
    "sys.exit(os.waitstatus_to_exitcode(status))\n",
]


def under(kind: str, *words: str | Path) -> tuple[list[dict[str, object]], list[str]]:
    """Runs the program under a flood within its limit: records about real clients, and errors."""
    maker = [sys.executable, Path(__file__).parent / "flood.py", kind, str(PACKETS)]
    flood = subprocess.Popen(
        [*maker, f"--connections={CONNECTIONS}"], stdout=subprocess.PIPE, env=environment()
    )
    limit = f"--max-memory={MEGABYTES}MB"
    program = subprocess.Popen(
        [*MEASURED, *MOSBOX, *words, "-r", "-", limit, "-o", "json"],
        stdin=flood.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert flood.stdout is not None
    flood.stdout.close()  # it is the program's now: should that die, the flood ends too
    assert program.stdout is not None
    assert program.stderr is not None
    told = [json.loads(line) for line in program.stdout if b'"10.' in line or b'"limits"' in line]
    *errors, most = program.stderr.read().decode().splitlines()
    assert (program.wait(), flood.wait()) == (0, 0), errors
    if FULL:
        print(f"{kind}: {int(most) * 1024 / 1e6:.0f} MB resident; {' '.join(errors)}")
    assert UNDER_ASAN or int(most) * 1024 < MEGABYTES * 10**6
    return told, errors


@pytest.mark.parametrize("kind", FLOODS)
def test_real_connections_stay_whole_in_a_flood(kind: str, tmp_path: Path) -> None:
    app = tmp_path / "whole.py"
    app.write_text(WHOLE)
    told, errors = under(kind, app)
    stats = told.pop()["stats"]
    expected = {client_of(number): said(number) for number in range(CONNECTIONS)}
    whole = {r["src_ip"]: (r["said"]["client"], r["said"]["server"]) for r in told}
    assert whole == expected
    assert Counter(r["end"] for r in told) == {"fin": CONNECTIONS}
    reached = {name: n for name, n in stats["anomalies"].items() if name.endswith("_limit")}
    if stats["memory_refused"]:
        reached["memory_refused"] = stats["memory_refused"]
    assert set(reached) == REASONS[kind]
    assert all(f"{n} " in errors[-1] and f"({name})" in errors[-1] for name, n in reached.items())
    assert stats["flows_ended"].get("evicted", 0) == reached.get("flow_limit", 0)


def test_tables_stay_small_and_say_what_is_not_in_them() -> None:
    """Each SYN is of a host of its own: more than the table of hosts has room for."""
    maker = [sys.executable, Path(__file__).parent / "flood.py", "syn", "100000"]
    flood = subprocess.run(maker, capture_output=True, env=environment(), check=True)
    words = [*MOSBOX, "stats", "-r", "-", "--max-memory=80MB", "-o", "table"]
    run = subprocess.run(
        [*MEASURED, *words], input=flood.stdout, capture_output=True, env=environment()
    )
    assert run.returncode == 0, run.stderr
    assert UNDER_ASAN or int(run.stderr.split()[-1]) * 1024 < 80 * 10**6
    assert b"hosts that made room for larger ones" in run.stdout
    assert b"anomaly: flow limit" in run.stdout


def test_every_flow_is_told_once_though_most_make_room() -> None:
    told, errors = under("syn", "stats")
    ends = Counter((r["src_ip"], r["end_reason"]) for r in told)
    assert ends == {(client_of(number), "fin"): 1 for number in range(CONNECTIONS)}
    assert "flow_limit" in errors[-1]
