# SPDX-License-Identifier: BSD-3-Clause
"""Runs frames through the core and gives what it raised as lines of text.

A test then compares two short lists that can be read aloud:

    assert lines(talk.handshake()) == [
        "flow_start client 10.0.0.1:40000 server 192.0.2.80:80",
        "snd client CLOSED -> SYN_SENT", ...
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wire import Frame, write_pcap

from mosbox import App, Flow, run


class Lines(App):
    """Tells every event as a line."""

    history = 4096
    wanted: frozenset[str] = frozenset()

    def start(self) -> None:
        self.lines: list[str] = []

    def _say(self, event: str, text: str) -> None:
        self.lines.append(f"{event} {text}")

    def on_flow_start(self, flow: Flow) -> None:
        self._say("flow_start", f"client {flow.client} server {flow.server}")

    def on_state_change(self, flow: Flow, change: Any) -> None:
        self._say("state", f"{change.side} {change.old} -> {change.new}")

    def on_data(self, flow: Flow, data: Any) -> None:
        text = data.bytes.decode("latin-1")
        shown = repr(text) if len(text) <= 40 else f"{len(text)} bytes"
        self._say("data", f"{data.side} {data.offset} {shown}")

    def on_retransmit(self, flow: Flow, data: Any) -> None:
        old = flow.peek(data.side, data.offset, len(data)).decode("latin-1")
        text = data.bytes.decode("latin-1")
        conflict = f" conflicts with {old!r}" if data.conflict else ""
        self._say("retransmit", f"{data.side} {data.offset} {text!r}{conflict}")

    def on_gap(self, flow: Flow, gap: Any) -> None:
        self._say("gap", f"{gap.side} {gap.offset} {gap.length} bytes")

    def on_anomaly(self, flow: Flow | None, anomaly: Any) -> None:
        self._say("anomaly", anomaly.reason)

    def on_orphan(self, packet: Any) -> None:
        self._say("orphan", f"{packet.src}:{packet.sport} -> {packet.dst}:{packet.dport}")

    def on_flow_end(self, flow: Flow) -> None:
        self._say("flow_end", f"{flow.end_reason} {flow.client.packets}+{flow.server.packets}")


def lines(frames: Iterable[Frame | bytes], only: str = "", **settings: Any) -> list[str]:
    """The lines of a run over the frames; `only` keeps the events named in it."""
    with tempfile.TemporaryDirectory() as folder:
        pcap = write_pcap(Path(folder) / "frames.pcap", frames)
        app = run(Lines, read=str(pcap), **settings)
    keep = only.split()
    return [line for line in app.lines if not keep or line.split()[0] in keep]
