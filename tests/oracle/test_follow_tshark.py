# SPDX-License-Identifier: BSD-3-Clause
"""Streams beside those of tshark's follow-stream, on captures of ours and of a corpus.

    MOSBOX_CORPUS=folder      the corpus; shared/corpus beside the tree if there is none
    MOSBOX_ORACLE=1           all captures of it, not only some

The streams of a pair of ends are compared joined: tshark ends a stream where ports are used
again, mosbox also where one is idle for long or refused. What else differs on purpose is told by
`explained()`; any other difference is a fault of one of the two.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from streams import difference
from wire import ACK, PSH, Frame, Talk, write_pcap

from mosbox import App, Flow, run

TOP = Path(__file__).resolve().parents[2]
CORPUS = Path(os.environ.get("MOSBOX_CORPUS", TOP.parent / "shared" / "corpus"))
FOUND = sorted(CORPUS.rglob("*.pcap*")) if CORPUS.is_dir() else []
CAPTURES = FOUND if os.environ.get("MOSBOX_ORACLE") else FOUND[::16]
AT_ONCE = 50  # streams that one run of tshark follows
MISSING = re.compile(rb"\[(\d+) bytes missing in capture file\]\0?")
GAP_AT_END = re.compile(rb"<\d+ missing>\Z")

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

End = tuple[str, int]
Streams = dict[tuple[End, ...], dict[End, bytes]]  # ends -> what each of them sent


class Follower(App):
    """The bytes of all streams; where some are missing, how many."""

    def start(self) -> None:
        self.sent: Streams = defaultdict(lambda: defaultdict(bytes))

    def on_flow_start(self, flow: Flow) -> None:
        if flow.proto == "TCP":
            ends = {side: (flow.end(side).ip, flow.end(side).port) for side in ("client", "server")}
            flow.data = ends, self.sent[tuple(sorted(ends.values()))]

    def on_data(self, flow: Flow, data: Any) -> None:
        if flow.data is not None:
            ends, sent = flow.data
            sent[ends[data.side]] += data.bytes

    def on_gap(self, flow: Flow, gap: Any) -> None:
        ends, sent = flow.data
        sent[ends[gap.side]] += b"<%d missing>" % gap.length

    def finish(self) -> None:
        self.withheld: int = self.engine.stats()["stream_discarded"]


def streams_of_tshark(path: Path) -> Streams:
    sent: Streams = defaultdict(lambda: defaultdict(bytes))
    first, more = 0, True
    while more:
        more = False
        for nodes, streams in follow(path, range(first, first + AT_ONCE)):
            more = True
            for end, data in zip(nodes, streams, strict=True):
                known = MISSING.sub(rb"<\1 missing>", data)
                sent[tuple(sorted(nodes))][end] += known
        first += AT_ONCE
    return sent


def follow(path: Path, numbers: range) -> Iterator[tuple[list[End], list[bytes]]]:
    """The two ends of each stream there is, and what they sent."""
    wanted = [word for n in numbers for word in ("-z", f"follow,tcp,raw,{n}")]
    done = subprocess.run(
        ["tshark", "-n", "-q", "-r", path, *wanted], capture_output=True, text=True, timeout=120
    )
    for block in done.stdout.split("Follow: tcp,raw\n")[1:]:
        _, node0, node1, *lines = block.splitlines()
        if node0 == "Node 0: :0":  # there is no such stream, or it has no addresses
            continue
        data = [bytearray(), bytearray()]
        for line in lines:
            if re.fullmatch(r"\t?[0-9a-f]+", line):
                data[line.startswith("\t")] += bytes.fromhex(line)
        yield [end_of(node0[8:]), end_of(node1[8:])], [bytes(one) for one in data]


def end_of(text: str) -> End:
    host, _, port = text.rpartition(":")
    address = ip_address(host.strip("[]"))
    return str(getattr(address, "ipv4_mapped", None) or address), int(port)


def explained(ours: bytes, theirs: bytes, withheld: int) -> bool:
    """Whether the difference is one that is meant."""
    # Acknowledged, but not in the capture, and nothing came behind it: tshark tells of a hole
    # only when something does.
    if GAP_AT_END.sub(b"", ours) == theirs:
        return True
    # Never acknowledged, as far as the capture goes: tshark shows it, mosbox counts it and does
    # not deliver what no host is known to have taken (the payload of a SYN, say).
    return theirs.startswith(ours) and len(theirs) - len(ours) <= withheld


def differences(path: Path) -> list[str]:
    """Those nobody can explain. Where segments overlap behind a hole, tshark has the bytes of the
    one that fills it, as a host whose policy is "last"; mosbox the first, if not told otherwise."""
    theirs = streams_of_tshark(path)
    first = compared(streams_of_mosbox(path, "first"), theirs)
    if not first:
        return []
    last = compared(streams_of_mosbox(path, "last"), theirs)
    return [told for end, told in first.items() if end in last]


def streams_of_mosbox(path: Path, overlap: str) -> Follower:
    # An idle connection goes on: tshark knows no time.
    timeouts = dict.fromkeys(("timeouts.tcp", "timeouts.tcp_half", "timeouts.tcp_syn"), "365d")
    return run(Follower, read=str(path), settings={**timeouts, "overlap": overlap})


def compared(follower: Follower, theirs: Streams) -> dict[tuple[End, ...], str]:
    """The ends whose bytes are not the same, and how they differ."""
    wrong = {}
    for ends in {*follower.sent, *theirs}:
        for end in ends:
            a, b = (found.get(ends, {}).get(end, b"") for found in (follower.sent, theirs))
            if a == b or explained(a, b, follower.withheld):
                continue
            wrong[(*ends, end)] = f"{end} of {ends}: {difference('tshark', b, a)}"
    return wrong


# ---- captures of ours


def in_disorder() -> list[Frame]:
    talk = Talk()
    frames = [*talk.handshake(), *(talk.client(bytes([65 + n]) * 10) for n in range(9))]
    frames[4:9] = [frames[n] for n in (8, 5, 5, 7, 4, 6)]
    return [*frames, *talk.close()]


def overlapping() -> list[Frame]:
    """Bytes that were in order, and bytes behind a hole, sent again with another content."""
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"a" * 20)]
    start = talk.client_seq
    for at, length, letter in ((-10, 20, b"b"), (30, 20, b"c"), (20, 20, b"d"), (10, 40, b"e")):
        frames.append(talk.segment("client", PSH | ACK, letter * length, seq=start + at))
    return frames


def with_a_hole() -> list[Frame]:
    talk = Talk()
    frames = [*talk.handshake(), talk.server(b"first")]
    talk.server(b"lost on the way to the file")
    return [*frames, talk.server(b"last"), talk.client(flags=ACK), *talk.close()]


def in_midstream() -> list[Frame]:
    talk = Talk()
    return [*talk.handshake(), talk.client(b"one"), talk.server(b"two"), talk.client(b"three")][4:]


@pytest.mark.parametrize("frames", [in_disorder, overlapping, with_a_hole, in_midstream])
def test_117_own_captures(frames: Any, tmp_path: Path) -> None:
    assert differences(write_pcap(tmp_path / "x.pcap", frames())) == []


@pytest.mark.skipif(not FOUND, reason=f"no captures in {CORPUS}")
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_117_corpus(path: Path) -> None:
    assert differences(path) == []
