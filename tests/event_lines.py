# SPDX-License-Identifier: BSD-3-Clause
"""Runs frames through the core and gives what it raised as lines of text.

A test then compares two short lists that can be read aloud:

    assert lines(talk.handshake()) == [
        "flow_start client 10.0.0.1:40000 server 192.0.2.80:80",
        "snd client CLOSED -> SYN_SENT", ...
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from wire import Frame, write_pcap

from mosbox import App, Flow, _core, hook, run
from mosbox._core import ffi, lib


class Lines(App):
    """Tells every event as a line."""

    history = 4096

    def start(self) -> None:
        self.lines: list[str] = []

    def _say(self, event: str, text: str) -> None:
        self.lines.append(f"{event} {text}")

    def _shown(self, text: str) -> str:
        return repr(text) if len(text) <= 40 else f"{len(text)} bytes"

    def on_flow_start(self, flow: Flow) -> None:
        self._say("flow_start", f"client {flow.client} server {flow.server}")

    def on_state_change(self, flow: Flow, change: Any) -> None:
        self._say("state", f"{change.side} {change.old} -> {change.new}")

    def on_data(self, flow: Flow, data: Any) -> None:
        self._say("data", f"{data.side} {data.offset} {self._shown(data.bytes.decode('latin-1'))}")

    def on_retransmit(self, flow: Flow, data: Any) -> None:
        peeks = (flow.peek(data.side, data.offset + i, 1) for i in range(len(data)))
        old = b"".join(byte or b"." for byte in peeks).decode("latin-1") if data.conflict else ""
        text = data.bytes.decode("latin-1")
        conflict = f" conflicts with {old!r}" if data.conflict else ""
        self._say("retransmit", f"{data.side} {data.offset} {text!r}{conflict}")

    def on_urgent(self, flow: Flow, data: Any) -> None:
        self._say("urgent", f"{data.side} {data.offset} {data.bytes.decode('latin-1')!r}")

    def on_gap(self, flow: Flow, gap: Any) -> None:
        self._say("gap", f"{gap.side} {gap.offset} {gap.length} bytes")

    def on_icmp_error(self, flow: Flow, error: Any) -> None:
        more = f" mtu {error.mtu}" if error.mtu else ""
        more += "" if error.credible else " not credible"
        self._say("icmp_error", f"{error.side} {error.reporter} {error.type} {error.code}{more}")

    def on_anomaly(self, flow: Flow | None, anomaly: Any) -> None:
        self._say("anomaly", anomaly.reason)

    def on_orphan(self, packet: Any) -> None:
        self._say("orphan", f"{packet.src}:{packet.sport} -> {packet.dst}:{packet.dport}")

    def on_flow_end(self, flow: Flow) -> None:
        self._say("flow_end", f"{flow.end_reason} {flow.client.packets}+{flow.server.packets}")


class Steps(Lines):
    """Notes at which frame each event was raised, and answers questions on the way.

    Set before the run: `asked`, frame -> "look WHAT..." or "stop SIDE".
    """

    asked: ClassVar[dict[int, str]] = {}
    drops: ClassVar[dict[int, str]] = {}  # frame -> hook, "snd" or "rcv"

    def start(self) -> None:
        super().start()
        self.told: list[tuple[int, str]] = []
        self.frame = 0
        self.flow: Flow | None = None

    def _say(self, event: str, text: str, flow: Flow | None = None) -> None:
        self.told.append((self.frame, f"{event} {text}"))

    def on_flow_start(self, flow: Flow) -> None:
        self.flow = flow
        super().on_flow_start(flow)

    def _shown(self, text: str) -> str:
        """Long data as its runs: 'a'*16 'b'*24."""
        if len(text) <= 40:
            return repr(text)
        runs = [(byte, len(list(same))) for byte, same in groupby(text)]
        return (
            " ".join(f"{byte!r}*{n}" for byte, n in runs) if len(runs) < 8 else super()._shown(text)
        )

    def on_raw(self, packet: Any) -> None:
        self.frame = packet.number
        if self.frame in self.asked:
            verb, *words = self.asked[self.frame].split()
            if verb == "look":
                self._say("look", " ".join(f"{word} {self._look(word)}" for word in words))
            elif self.flow is not None:
                self.flow.stop_stream(words[0])

    def _look(self, path: str) -> object:
        """flow.x, client.x, stats.x; pending:SIDE; peek:SIDE:OFFSET:LENGTH."""
        flow = self.flow
        if path.startswith("stats."):
            found: Any = self.engine.stats()
            for part in path.split(".")[1:]:
                found = found.get(part, 0)
            return found
        assert flow is not None, f"no flow to look at for {path}"
        if path.startswith("peek:"):
            _, side, offset, length = path.split(":")
            return repr(flow.peek(side, int(offset), int(length)).decode("latin-1"))
        if path.startswith("pending:"):
            pieces = ffi.new("struct mb_fragment[64]")
            side = 0 if path.endswith("client") else 1
            count = lib.mb_stream_fragments(flow._alive(), side, pieces, 64)
            return " ".join(f"{pieces[i].offset}+{pieces[i].len}" for i in range(count)) or "none"
        about, name = path.split(".")
        view: Any = flow if about == "flow" else getattr(flow, about)
        return getattr(view, name) if hasattr(view, name) else getattr(view._c, name)


class PacketSteps(Steps):
    """The same for who listens to every packet and drops some before they are received."""

    def on_packet(self, flow: Flow, packet: Any) -> None:
        if self.frame in self.drops:
            packet.drop()


class ReceivedPacketSteps(Steps):
    """The same for who drops them afterwards."""

    @hook("rcv")
    def on_packet(self, flow: Flow, packet: Any) -> None:
        if self.frame in self.drops:
            packet.drop()


def steps(
    frames: Iterable[Frame],
    settings: dict[str, Any],
    asked: dict[int, str],
    drops: dict[int, str],
    scope: str = "",
    every_packet: bool = False,
) -> list[tuple[int, str]]:
    """The lines of a run, each with the number of the frame it came at, from 1."""
    base = PacketSteps if drops or every_packet else Steps
    if "rcv" in drops.values():
        base = ReceivedPacketSteps
    kind = type(base.__name__, (base,), {"asked": asked, "drops": drops, "scope": scope})
    with tempfile.TemporaryDirectory() as folder:
        pcap = write_pcap(Path(folder) / "frames.pcap", frames, nanoseconds=True)
        return run(kind, read=str(pcap), settings=settings).told


def core_program() -> Path | None:
    """play_case, a C program on the core: that of the build which this Python's core is from."""
    above = Path(_core.__file__).resolve().parents
    found = (folder / "core" / "tests" / "play_case" for folder in above)
    return next((path for path in found if path.is_file()), None)


def core_steps(
    frames: Iterable[Frame],
    settings: dict[str, Any],
    asked: dict[int, str],
    drops: dict[int, str],
    scope: str = "",
) -> list[tuple[int, str]]:
    """The same by core_program(): nothing of the lines is made in Python."""
    program = core_program()
    assert program is not None
    words = [f"set {key} {value}" for key, value in settings.items()]
    words += [f"scope {scope}"] if scope else []
    words += [f"{frame} {word}" for frame, word in asked.items()]
    words += [f"{frame} drop {where}" for frame, where in drops.items()]
    with tempfile.TemporaryDirectory() as folder:
        pcap = write_pcap(Path(folder) / "frames.pcap", frames, nanoseconds=True)
        ran = subprocess.run([program, pcap, *words], capture_output=True, encoding="utf-8")
    assert ran.returncode == 0, f"{ran.stderr}\n{ran.stdout}"
    told = (line.split(" ", 1) for line in ran.stdout.splitlines())
    return [(int(frame), line) for frame, line in told]


def lines(
    frames: Iterable[Frame | bytes], only: str = "", app: type[Lines] = Lines, **settings: Any
) -> list[str]:
    """The lines of a run over the frames; `only` keeps the events named in it."""
    with tempfile.TemporaryDirectory() as folder:
        pcap = write_pcap(Path(folder) / "frames.pcap", frames)
        told = run(app, read=str(pcap), **settings)
    keep = only.split()
    return [line for line in told.lines if not keep or line.split()[0] in keep]
