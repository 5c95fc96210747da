# SPDX-License-Identifier: BSD-3-Clause
"""Evasions, made with scapy: what a monitor reads must be what the host reads.

T. Ptacek, T. Newsham, "Insertion, Evasion, and Denial of Service" (1998): a packet that the
host throws away must not be read (insertion), one that it takes must be (evasion). Every family
below sends ATTACK past decoys; what the server reads, and what is found odd, stands beside it.

U. Shankar, V. Paxson, "Active Mapping" (2003), J. Novak, "Target-Based Fragmentation Reassembly"
(2005), J. Novak, S. Sturges, "Target-Based TCP Stream Reassembly" (2007): where bytes come twice,
systems choose differently. TABLE has what each must read.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own use of cryptography
    from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_RR
    from scapy.layers.inet6 import (
        IPv6,
        IPv6ExtHdrDestOpt,
        IPv6ExtHdrFragment,
        IPv6ExtHdrHopByHop,
    )
    from scapy.packet import Packet, Raw

from test_stream_model import Heard, play
from wire import Frame, checksum, ethernet

CLIENT, SERVER = 1000, 0xFFFFFFF0  # initial sequence numbers; the server's wraps round
PORTS = (40000, 80)
ENDS = {4: ("10.0.0.1", "192.0.2.80"), 6: ("2001:db8::1", "2001:db8::2")}


@dataclass
class Wire:
    """One connection, packet by packet, to a server that reads ATTACK."""

    version: int
    stamps: bool = False  # both use timestamps
    ports: tuple[int, int] = PORTS
    server: int = SERVER
    sent: list[bytes] = field(default_factory=list)
    clock: int = 100

    # -- packets of the true client and server

    def open(self) -> Wire:
        self.put(self.tcp("S", CLIENT, ack=0, options=[("MSS", 1460)]))
        self.put(self.tcp("SA", self.server, ack=CLIENT + 1, options=[("MSS", 1460)], back=True))
        return self.put(self.tcp("A", CLIENT + 1))

    def say(self, at: int, text: str, flags: str = "PA", **more: Any) -> Wire:
        """The client's bytes that begin at the place `at` of its stream."""
        return self.put(self.text(at, text, flags, **more))

    def text(self, at: int, text: str, flags: str = "PA", **more: Any) -> Packet:
        return self.tcp(flags, CLIENT + 1 + at, text, **more)

    def tcp(
        self,
        flags: str,
        seq: int,
        text: str = "",
        *,
        ack: int | None = None,
        options: Any = (),
        back: bool = False,
        stamp: int | None = None,
        **more: Any,
    ) -> Packet:
        self.clock += 1
        if self.stamps:
            stamps = (self.clock if stamp is None else stamp, 0)
            options = [*options, ("NOP", None), ("NOP", None), ("Timestamp", stamps)]
        sport, dport = self.ports[::-1] if back else self.ports
        fields = {"window": 65535, "options": list(options), **more}
        fields |= {"sport": sport, "dport": dport}
        number = ack if ack is not None else self.server + 1
        segment = TCP(flags=flags, seq=seq & 0xFFFFFFFF, ack=number & 0xFFFFFFFF, **fields)
        return self.ip(segment / Raw(text.encode()) if text else segment, back=back)

    def ip(self, body: Packet, back: bool = False, **more: Any) -> Packet:
        src, dst = ENDS[self.version][::-1] if back else ENDS[self.version]
        kind = IP if self.version == 4 else IPv6
        return kind(src=src, dst=dst, **more) / body

    def put(self, *packets: Packet | bytes) -> Wire:
        self.sent += [bytes(packet) for packet in packets]
        return self

    def frames(self) -> list[Frame]:
        return [Frame(ethernet(data), 1000 + n / 1000) for n, data in enumerate(self.sent)]


def broken(packet: Packet, at: int, value: bytes) -> bytes:
    """The IPv4 packet with bytes of its header overwritten, and the sum of it right again."""
    data = bytearray(bytes(packet))
    head = 4 * (data[0] & 15)
    data[at : at + len(value)] = value
    data[10:12] = b"\0\0"
    data[10:12] = checksum(bytes(data[:head])).to_bytes(2, "big")
    return bytes(data)


def with_ip(packet: Packet, **fields: Any) -> Packet:
    """The packet with other fields of its IP header."""
    for name, value in fields.items():
        setattr(packet, name, value)
    return packet


# ---- families


@dataclass
class Family:
    """What is sent, what the server reads of it, and what is odd about it."""

    name: str
    send: Callable[[Wire], object]
    odd: set[str] = field(default_factory=set)
    reads: str = "ATTACK"
    versions: tuple[int, ...] = (4, 6)
    stamps: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    judged: bool = True  # tests/oracle asks a kernel whether it is so

    def __str__(self) -> str:
        return self.name


VERIFY = {"checksums": "verify"}

INSERTION = [
    Family(
        "wrong TCP checksum",
        lambda w: w.say(0, "ATT").say(3, "XXX", chksum=1).say(3, "ACK"),
        {"l4_sum"},
        settings=VERIFY,
    ),
    Family(
        "wrong IP checksum",
        lambda w: w.say(0, "ATT").put(with_ip(w.text(3, "XXX"), chksum=1)).say(3, "ACK"),
        {"ip_sum"},
        versions=(4,),
        settings=VERIFY,
    ),
    Family(
        "TTL that dies on the way",
        lambda w: (
            w.put(*(with_ip(w.text(at, "X"), ttl=2, hlim=2) for at in range(6)))
            and w.say(0, "ATTACK")
        ),
        {"ip_ttl"},
        settings={"hops.3": "192.0.2.0/24,2001:db8::/32"},
    ),
    Family(
        "IP options that no host can read",
        lambda w: (
            w.say(0, "ATT")
            .put(broken(w.ip(w.text(3, "XXX").payload, options=IPOption_RR()), 21, b"\x09"))
            .say(3, "ACK")
        ),
        {"ipv4_options"},
        versions=(4,),
    ),
    Family(
        "IP header longer than the packet, of another version",
        lambda w: (
            w.say(0, "ATT")
            .put(broken(w.text(3, "X"), 0, b"\x4f"), broken(w.text(3, "X"), 0, b"\x55"))
            .say(3, "ACK")
        ),
        {"ipv4_hlen", "ipv4_version"},
        versions=(4,),
    ),
    Family(
        "TCP header longer than the segment, shorter than itself",
        lambda w: w.say(0, "ATT").say(3, "XXX", dataofs=15).say(3, "XXX", dataofs=4).say(3, "ACK"),
        {"tcp_hlen"},
    ),
    Family(
        "data without ACK, with no flags at all, with flags that contradict each other",
        lambda w: (
            w.say(0, "ATT").say(3, "XXX", "P").say(3, "XXX", "").say(3, "XXX", "FPU").say(3, "ACK")
        ),
        {"tcp_no_ack", "tcp_flags"},
    ),
    Family(
        "an ACK of what the server never sent",
        lambda w: w.say(0, "ATT").say(3, "XXX", ack=w.server + 100_000).say(3, "ACK"),
        {"tcp_ack"},
    ),
    Family(
        "an old timestamp",
        lambda w: w.say(0, "ATT").say(3, "XXX", stamp=3).say(3, "ACK"),
        {"tcp_paws"},
        stamps=True,
    ),
    Family(
        "data beyond the window, and far before it",
        lambda w: w.say(0, "ATT").say(200_000, "XXX").say(-200_000, "XXX").say(3, "ACK"),
        {"tcp_window"},
    ),
    Family(
        "a RST outside the window, and one inside it but not exact",
        lambda w: (
            w.say(0, "ATT").put(w.tcp("R", CLIENT + 500_000), w.tcp("R", CLIENT + 30)).say(3, "ACK")
        ),
        {"tcp_window", "tcp_rst_challenge"},
    ),
    Family(
        "an exact RST with a wrong checksum, and one that dies on the way",
        lambda w: (
            w.say(0, "ATT")
            .put(w.tcp("R", CLIENT + 4, chksum=1))
            .put(with_ip(w.tcp("R", CLIENT + 4), ttl=1, hlim=1))
            .say(3, "ACK")
        ),
        {"l4_sum", "ip_ttl"},
        settings=VERIFY | {"hops.3": "192.0.2.0/24,2001:db8::/32"},
    ),
    Family(
        "an exact RST with an old timestamp resets all the same (RFC 7323 5.2)",
        lambda w: w.say(0, "ATT").put(w.tcp("R", CLIENT + 4, stamp=3)).say(3, "ACK"),
        reads="ATT",
        stamps=True,
    ),
    Family(
        "a FIN far away, and one without ACK",
        lambda w: (
            w.say(0, "ATT").put(w.tcp("FA", CLIENT + 500_000), w.tcp("F", CLIENT + 4)).say(3, "ACK")
        ),
        {"tcp_window", "tcp_no_ack"},
    ),
    Family(
        "a FIN of the past",
        lambda w: w.say(0, "ATT").put(w.tcp("FA", CLIENT + 2)).say(1, "TT", "FA").say(3, "ACK"),
        {"tcp_window"},
        reads="ATT",  # the second FIN is where the third byte ends
    ),
    Family(
        "a FIN of the past alone",
        lambda w: w.say(0, "ATT").put(w.tcp("FA", CLIENT + 2)).say(3, "ACK"),
    ),
    Family(
        "what comes behind a FIN",
        lambda w: w.say(0, "ATT").say(3, "ACK", "FA").say(6, "XXX").say(7, "XXX").say(4, "CKXXX"),
        {"tcp_window"},
    ),
    Family(
        "what was waiting for a FIN to come before it",
        lambda w: w.say(6, "XXX").say(5, "KXX").say(0, "ATT").say(3, "ACK", "FA").say(6, "XXX"),
        {"tcp_window"},
    ),
    Family(
        "a SYN in the stream, with data and without, of this number and of another",
        lambda w: (
            w.say(0, "ATT")
            .put(w.tcp("S", CLIENT + 4, "XXX", ack=0), w.tcp("S", CLIENT + 900_000, ack=0))
            .put(w.tcp("S", CLIENT, ack=0))
            .say(3, "ACK")
        ),
        {"tcp_syn_challenge"},
    ),
    Family(
        "a SYN/ACK of another number, to move the server's stream",
        lambda w: (
            w.say(0, "ATT")
            .put(w.tcp("SA", w.server + 5000, ack=CLIENT + 1, back=True))
            .say(3, "ACK")
        ),
        {"tcp_syn_challenge"},
    ),
    Family(
        "a keep-alive with another byte",
        lambda w: (
            w.say(0, "ATT").put(w.tcp("A", w.server + 1, ack=CLIENT + 4, back=True))
            and w.say(2, "X").say(3, "ACK")
        ),
    ),
    Family(
        "ICMP errors that quote the connection",
        lambda w: (
            w.say(0, "ATT")
            .put(w.ip(ICMP(type=3, code=3) / w.text(3, "XXX"), back=True))
            .say(3, "ACK")
        ),
        versions=(4,),
    ),
    Family(
        "another datagram under the number of the fragments, of another protocol",
        lambda w: (
            w.put(*cut(w.text(0, "ATTACK"), 24)[:1])
            .put(*cut(w.ip(UDP(sport=1, dport=2) / Raw(b"X" * 40)), 24)[1:])
            .put(*cut(w.text(0, "ATTACK"), 24)[1:])
        ),
        versions=(4,),
    ),
]

EVASION = [
    Family(
        "a byte a segment, backward",
        lambda w: [w.say(at, "ATTACK"[at]) for at in reversed(range(6))],
    ),
    Family(
        "each byte twice and all of it once more",
        lambda w: [w.say(at, "ATTACK"[at:][:2]) for at in range(6)] and w.say(0, "ATTACK"),
    ),
    Family(
        "data in the last packet of the handshake",
        lambda w: w.sent.pop(2) and w.say(0, "ATTACK"),
    ),
    Family(
        "data before the handshake's last packet",
        lambda w: w.say(0, "ATTACK").put(w.sent.pop(2)),
    ),
    Family("data with the FIN", lambda w: w.say(0, "ATT").say(3, "ACK", "FPA")),
    Family(
        "the FIN before the data",
        lambda w: w.say(3, "ACK", "FA").say(0, "ATT"),
    ),
    Family(
        "data after the server has closed its half",
        lambda w: (
            w.say(0, "ATT")
            .put(w.tcp("FA", w.server + 1, ack=CLIENT + 4, back=True))
            .say(3, "ACK", ack=w.server + 2)
        ),
        judged=False,  # that server does not close
    ),
    Family(
        "data after the window shrank to nothing, inside what was open",
        lambda w: (
            w.put(w.tcp("A", w.server + 1, ack=CLIENT + 1, window=0, back=True))
            and w.say(0, "ATTACK")
        ),
    ),
    Family(
        "unknown TCP options",
        lambda w: w.say(0, "ATT", options=[(77, b"xy")]).say(3, "ACK", options=[(253, b"")]),
    ),
    Family(
        "ECN, CWR and the reserved bits",
        lambda w: w.say(0, "ATT", "PAEC").say(3, "ACK", reserved=7),
    ),
    Family(
        "an urgent byte that sockets do not give",
        lambda w: w.say(0, "ATTXACK", "PAU", urgptr=4),
        settings={"urgent": "oob"},
    ),
    Family(
        "an urgent byte that sockets do give",
        lambda w: w.say(0, "ATTACK", "PAU", urgptr=4),
    ),
    Family(
        "tiny fragments, backward: not even the ports are in one",
        lambda w: w.put(*reversed(cut(w.text(0, "ATTACK"), 8))),
        versions=(4,),
    ),
    Family(
        "a first fragment that has not all headers is let go of (RFC 8200 4.5)",
        lambda w: w.put(*cut(w.text(0, "ATTACK"), 16)),
        {"l4_truncated"},
        reads="",
        versions=(6,),
    ),
    Family(
        "fragments twice, and in between those of another datagram",
        lambda w: w.put(
            *(
                piece
                for pair in zip(
                    cut(w.text(0, "ATTAC"), 24, ident=7),
                    cut(w.text(1, "TTACK"), 24, ident=8),
                    strict=True,
                )
                for piece in (*pair, pair[0])
            )
        ),
    ),
    Family(
        "overlapping fragments that agree",
        lambda w: w.put(
            *(piece(w.text(0, "ATTACK"), at, at + 16) for at in (16, 8, 0)),
        ),
        {"frag_overlap"},
        versions=(4,),
        judged=False,  # Linux does so no more
    ),
    Family(
        "extension headers in front, one after the other",
        lambda w: w.put(
            w.ip(IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / w.text(0, "ATT").payload),
            w.ip(IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(id=9) / w.text(3, "ACK").payload),
        ),
        {"frag_useless"},
        versions=(6,),
    ),
    Family(
        "the number space wraps round inside a segment",
        lambda w: (
            w.say(0, "ATTACK")
            .put(w.tcp("PA", w.server + 1, "y" * 40, ack=CLIENT + 7, back=True))
            .put(w.tcp("A", CLIENT + 7, ack=w.server + 41))
        ),
    ),
]


def cut(packet: Packet, size: int, ident: int = 7) -> list[Packet]:
    """The packet in fragments of `size` bytes."""
    body = bytes(packet.payload)
    return [piece(packet, at, at + size, ident) for at in range(0, len(body), size)]


def piece(packet: Packet, begin: int, end: int, ident: int = 7) -> Packet:
    """A fragment: bytes [begin, end) of what the packet carries."""
    packet = packet.__class__(bytes(packet))
    body, more = bytes(packet.payload), end < len(bytes(packet.payload))
    if isinstance(packet, IP):
        part = IP(src=packet.src, dst=packet.dst, proto=packet.proto, id=ident)
        return with_ip(part, frag=begin // 8, flags="MF" if more else 0) / Raw(body[begin:end])
    head = IPv6(src=packet.src, dst=packet.dst)
    place = IPv6ExtHdrFragment(nh=packet.nh, offset=begin // 8, m=int(more), id=ident)
    return head / place / Raw(body[begin:end])


class Remembering(Heard):
    """Copies are compared with what was delivered."""

    history = 1024
    scope = "not icmp"


CASES = [(family, version) for family in INSERTION + EVASION for version in family.versions]


@pytest.mark.parametrize(("family", "version"), CASES, ids=lambda value: str(value))
def test_what_the_host_reads_is_read(tmp_path: Path, family: Family, version: int) -> None:
    wire = Wire(version, family.stamps).open()
    family.send(wire)
    told = play(tmp_path, wire.frames(), Remembering, **family.settings)
    assert (told.bytes["client"].decode(), set(told.anomalies)) == (family.reads, family.odd)


# ---- whose bytes stand

# Pieces of Novak's series: place and length; those of the second row come later.
SERIES = [(0, 3), (4, 2), (6, 3), (10, 1), (13, 2), (15, 3), (18, 2), (20, 2), (22, 1)]
SERIES += [(1, 4), (6, 3), (9, 3), (12, 3), (16, 1), (19, 1), (20, 1), (22, 2)]

#   place                    0         1         2
#                            012345678901234567890123
#   first come               AAA BBCCC D  EEFFFGGHHI
#   then                      JJJJ KKKLLLMMM N  OP QQ
TABLE = {
    # policy        TCP segments                IPv4 fragments, eight bytes a letter
    "first": ("AAAJBBCCCLDLMEEFFFGGHHIQ", "AAAJBBCCCLDLMEEFFFGGHHIQ"),
    "last": ("AJJJJBKKKLLLMMMFNFGOPHQQ", "AJJJJBKKKLLLMMMFNFGOPHQQ"),
    "bsd": ("AAAJJBCCCLLLMMMFFFGGHHIQ", "AAAJJBCCCLLLMMMFFFGGHHIQ"),
    "bsd_right": ("AJJJBBKKKLDLMEEFNFGOPHQQ", "AJJJBBKKKLDLMEEFNFGOPHQQ"),
    "linux": ("AAAJJBCCCLLLMMMFFFGGHHQQ", "AAAJJBKKKLLLMMMFFFGGPHQQ"),
    "old_linux": ("AAAJJBKKKLLLMMMFFFGGHHQQ", "AAAJJBKKKLLLMMMFFFGGPHQQ"),
    "windows": ("AAAJJBCCCLLLMMMFFFGGHHIQ", "AAAJBBCCCLLLMEEFFFGGHHIQ"),
    "windows2003": ("AAAJJBCCCLLLMMMFFFGGHHIQ", "AAAJBBCCCLLLMEEFFFGGHHIQ"),
    "macos": ("AAAJJBCCCLLLMMMFFFGGHHIQ", "AAAJBBCCCLDLMEEFFFGGHHIQ"),
    "solaris": ("AJJJBBKKKLLLMMMFFFGGHHQQ", "AAAJBBCCCLLLMMMFFFGGHHIQ"),
    "hpux": ("AJJJBBKKKLLLMMMFFFGGHHQQ", "AAAJBBCCCLDLMEEFFFGGHHIQ"),
}


def letters(unit: int = 1) -> list[tuple[int, str]]:
    return [
        (unit * at, chr(ord("A") + n) * (unit * length)) for n, (at, length) in enumerate(SERIES)
    ]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("policy", TABLE)
def test_segments_stand_as_the_table_says(tmp_path: Path, policy: str, version: int) -> None:
    """The first byte, `-`, comes last, so that all wait for it."""
    wire = Wire(version).open()
    for at, text in letters():
        wire.say(1 + at, text)
    wire.say(0, "-")
    told = play(tmp_path, wire.frames(), Heard, **{f"hosts.{policy}": "192.0.2.80,2001:db8::2"})
    assert told.bytes["client"].decode() == "-" + TABLE[policy][0]
    assert set(told.anomalies) == {"tcp_conflict"}


def series_in_fragments(version: int) -> list[Frame]:
    """A UDP datagram: its header's fragment comes last but one, a dot behind the series last."""
    wire = Wire(version)
    body = UDP(sport=4000, dport=53, len=8 + 8 * 25, chksum=0) / Raw(b"-" * 8 * 25)
    whole = wire.ip(body)
    for at, text in [*letters(8), (8 * 24, "." * 8)]:
        part = piece(whole, 8 + at, 8 + at + len(text))
        part[Raw].load = text.encode()
        wire.put(part)
    return wire.put(piece(whole, 0, 8)).frames()


@pytest.mark.parametrize("policy", TABLE)
def test_fragments_stand_as_the_table_says(tmp_path: Path, policy: str) -> None:
    told = play(tmp_path, series_in_fragments(4), Heard, **{f"hosts.{policy}": "192.0.2.80"})
    assert told.bytes["client"].decode()[:-8:8] == TABLE[policy][1]
    assert set(told.anomalies) == {"frag_overlap"}


@pytest.mark.parametrize("policy", TABLE)
def test_no_host_puts_overlapping_fragments_of_ipv6_together(tmp_path: Path, policy: str) -> None:
    """RFC 8200 4.5: the datagram is let go of with all that comes of it."""
    told = play(tmp_path, series_in_fragments(6), Heard, **{f"hosts.{policy}": "2001:db8::2"})
    assert told.bytes["client"] == b""
    assert "frag_overlap" in told.anomalies
