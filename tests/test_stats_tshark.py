# SPDX-License-Identifier: BSD-3-Clause
"""Conversations of `mosbox stats` beside those of tshark, on captures of ours and of a corpus.

The corpus is the folder MOSBOX_CORPUS, or shared/corpus beside the tree.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import defaultdict
from ipaddress import ip_address
from pathlib import Path

import pytest
from wire import ACK, Frame, Talk, ethernet, fragments, ip, merge, udp, write_pcap

import mosbox
from mosbox.apps.stats import Stats

TOP = Path(__file__).resolve().parent.parent
CORPUS = Path(os.environ.get("MOSBOX_CORPUS", TOP.parent / "shared" / "corpus"))
CAPTURES = sorted(CORPUS.rglob("*.pcap*")) if CORPUS.is_dir() else []

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
needs_corpus = pytest.mark.skipif(not CAPTURES, reason=f"no captures in {CORPUS}")

End = tuple[str, int]
Conversations = dict[tuple[str, End, End], dict[End, list[int]]]
OTHERWISE = (
    "_ws.malformed",  # it gives up before the conversation is counted
    "(_ws.short and not (tcp.payload or udp.payload))",  # the same, in a header that is cut
    "ip.opt.type in {131, 137}",  # source routes: the last address is its destination
)
UNITS = {"bytes": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}


def conversations_of_mosbox(path: Path, folder: Path) -> Conversations:
    """Packets and bytes that each end sent, the flows of a pair of ends taken together."""
    out = folder / "flows.json"
    mosbox.run(Stats, read=path, output=f"json:{out}")
    found: Conversations = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for flow in map(json.loads, out.read_text().splitlines()):
        if flow["proto"] not in ("TCP", "UDP"):
            continue
        client = flow["src_ip"], flow["src_port"]
        server = flow["dest_ip"], flow["dest_port"]
        talk = found[flow["proto"], *sorted((client, server))]
        for end, side in ((client, "client"), (server, "server")):
            talk[end][0] += flow[side]["packets"]
            talk[end][1] += flow[side]["bytes"]
    return found


def tshark(*words: str | Path) -> str:
    run = subprocess.run(["tshark", "-n", *words], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


def conversations_of_tshark(path: Path) -> tuple[Conversations, int]:
    """The same by tshark, and how many bytes it rounds to."""
    found: Conversations = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    proto, unit = "", 1
    for line in tshark("-r", path, "-q", "-z", "conv,tcp", "-z", "conv,udp").splitlines():
        words = line.replace(",", "").split()
        if line.endswith("Conversations"):
            proto = words[0]
        elif "<->" in words:
            a, b = end_of(words[0]), end_of(words[2])
            talk = found[proto, *sorted((a, b))]
            # packets, bytes, their unit: those of b, then those of a
            for end, (packets, size, name) in ((b, words[3:6]), (a, words[6:9])):
                talk[end][0] += int(packets)
                talk[end][1] += int(size) * UNITS[name]
                unit = max(unit, UNITS[name])
    return found, unit


def end_of(text: str) -> End:
    host, _, port = text.rpartition(":")
    address = ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return f"::ffff:{mapped}" if mapped else str(address), int(port)


def differences(path: Path, folder: Path) -> list[str]:
    ours = conversations_of_mosbox(path, folder)
    theirs, unit = conversations_of_tshark(path)
    wrong = []
    for key in sorted({*ours, *theirs}):
        for end in key[1:]:
            (packets, size), (p, s) = (
                found.get(key, {}).get(end, [0, 0]) for found in (ours, theirs)
            )
            if packets != p or abs(size - s) >= unit:
                wrong.append(f"{key}: {end} sent {packets}, {size} bytes; tshark: {p}, {s}")
    return wrong


def check(path: Path, folder: Path) -> None:
    """If there is any difference, frames that tshark looks at in its own way are left out,
    and the rest is compared once more."""
    wrong = differences(path, folder)
    if wrong:
        rest = folder / "readable.pcapng"
        tshark("-r", path, "-Y", f"not ({' or '.join(OTHERWISE)})", "-w", rest)
        wrong = differences(rest, folder)
    assert wrong == []


# ---- captures of ours


def datagram(src: str, dst: str, sport: int, dport: int, size: int) -> bytes:
    return ip(src, dst, 17, udp(src, dst, sport, dport, b"x" * size))


def plain() -> list[bytes]:
    one = Talk(sport=1).exchange(b"?" * 100, b"!" * 30000)
    two = Talk(sport=2, src="2001:db8::1", dst="2001:db8::2").exchange(b"?", b"!")
    three = Talk(sport=3, vlans=(7, 8))
    reset = [*three.handshake(), three.client(b"x"), three.reset()]
    asked = [ethernet(datagram("10.0.0.1", "10.0.0.2", 53, 53, n)) for n in range(40)]
    return list(merge(one, two, reset, asked))


def in_pieces() -> list[bytes]:
    """Datagrams in fragments, in and out of order; one that is never whole."""
    whole = datagram("10.0.0.1", "10.0.0.2", 1000, 2000, 4000)
    other = datagram("10.0.0.3", "10.0.0.2", 1000, 2000, 3000)
    lost = datagram("10.0.0.4", "10.0.0.2", 1000, 2000, 3000)
    pieces = [
        *fragments(whole, 1400),
        *reversed(fragments(other, 1400)),
        *fragments(lost, 1400)[:2],
    ]
    return [ethernet(piece) for piece in pieces]


def tunnelled() -> list[bytes]:
    """VXLAN (RFC 7348): the inner conversation and the outer one both count."""
    inner = Talk(src="172.16.0.1", dst="172.16.0.2").exchange(b"?" * 10, b"!" * 10)
    head = b"\x08\0\0\0\0\0\x2a\0"
    return [
        ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp("10.0.0.1", "10.0.0.2", 50000, 4789, head + f)))
        for f in inner
    ]


def reused() -> list[bytes | Frame]:
    """The same ports again: one line of a conversation, several flows."""
    first = Talk()
    again = Talk(client_seq=900_000, server_seq=70_000)
    late = Frame(again.segment("client", ACK), 1_700_001_000.0)
    return [*first.exchange(b"?", b"!"), *again.exchange(b"?", b"!"), late]


@needs_tshark
@pytest.mark.parametrize("make", [plain, in_pieces, tunnelled, reused])
def test_conversations_of_our_captures(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write_pcap(tmp_path / "x.pcap", make())
    assert conversations_of_mosbox(path, tmp_path)
    check(path, tmp_path)


def test_a_difference_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pcap(tmp_path / "x.pcap", plain())
    known = conversations_of_mosbox(path, tmp_path)
    monkeypatch.setitem(globals(), "conversations_of_tshark", lambda _: (known, 1))
    assert differences(path, tmp_path) == []
    next(iter(next(iter(known.values())).values()))[1] += 1
    assert len(differences(path, tmp_path)) == 1


# ---- the corpus


@needs_tshark
@needs_corpus
@pytest.mark.slow
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_conversations_of_the_corpus(path: Path, tmp_path: Path) -> None:
    check(path, tmp_path)
