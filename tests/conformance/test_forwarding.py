# SPDX-License-Identifier: BSD-3-Clause
"""What is passed on: every frame as it came, but for those that were dropped.

A test is named for its scenarios, as in test_scenarios.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from wire import MAC_CLIENT, MAC_SERVER, Talk, ethernet, ip, read_pcap, udp, write_pcap

from mosbox import App, Flow, Packet, hook, run

CLIENT, SERVER = "10.0.0.1", "192.0.2.1"

talk = Talk()
SYN, SYN_ACK, ACK = talk.handshake()
DATA = talk.client(b"GET / HTTP/1.0\r\n\r\n")
CLOSE = talk.close()
ARP = MAC_CLIENT + MAC_SERVER + b"\x08\x06" + bytes(28)
LLDP = MAC_CLIENT + MAC_SERVER + b"\x88\xcc" + bytes(40)
UNKNOWN = ethernet(ip(CLIENT, SERVER, 253, b"nobody's"))
PADDED = ethernet(ip(CLIENT, SERVER, 17, udp(CLIENT, SERVER, 5000, 5001, b""))) + b"trailer"


def bent(frame: bytes, at: int) -> bytes:
    """The frame with one byte turned over."""
    return frame[:at] + bytes([frame[at] ^ 0xFF]) + frame[at + 1 :]


ALL = {
    "arp": ARP,
    "syn": SYN,
    "syn_ack": SYN_ACK,
    "ack": ACK,
    "lldp": LLDP,
    "bad ip sum": bent(DATA, 24),
    "bad tcp sum": bent(DATA, 50),
    "data": DATA,
    "unknown protocol": UNKNOWN,
    "padded": PADDED,
    **{f"close {n}": frame for n, frame in enumerate(CLOSE)},
}


def written(tmp_path: Path, app: type[App], **options: Any) -> list[bytes]:
    """The frames that a run of `app` over ALL writes."""
    run(app, read=str(capture(tmp_path)), write=str(tmp_path / "out.pcap"), **options)
    return read_pcap(tmp_path / "out.pcap")


def capture(tmp_path: Path) -> Path:
    return write_pcap(tmp_path / "in.pcap", ALL.values())


class Silent(App):
    """Hears nothing."""


class Counter(App):
    """Counts frames and flows."""

    def start(self) -> None:
        self.raw: list[bytes] = []
        self.starts = 0

    def on_raw(self, packet: Packet) -> None:
        self.raw.append(bytes(packet.frame))

    def on_flow_start(self, flow: Flow) -> None:
        self.starts += 1


class Scoped(Counter):
    """The same, of no flow that there is."""

    scope = "udp port 9"


@pytest.mark.parametrize("checksums", ["verify", "ignore"])
@pytest.mark.parametrize("app", [Silent, Counter, Scoped])
def test_16_75_77_84_all_is_passed_on_as_it_came(
    tmp_path: Path, app: type[App], checksums: str
) -> None:
    """Whoever listens, and whatever is wrong with a frame or outside of his scope."""
    out = written(tmp_path, app, settings={"checksums": checksums})
    assert out == list(ALL.values())


def test_84_raw_hears_of_each_frame_once(tmp_path: Path) -> None:
    heard = run(Counter, read=str(capture(tmp_path))).raw
    assert heard == list(ALL.values())


def test_16_who_is_out_of_scope_hears_nothing(tmp_path: Path) -> None:
    path = str(capture(tmp_path))
    assert run(Scoped, read=path).starts == 0
    assert run(Counter, read=path).starts == 3


@pytest.mark.parametrize("where", ["snd", "rcv"])
def test_102_103_a_dropped_packet_is_not_passed_on(tmp_path: Path, where: str) -> None:
    class Drop(App):
        @hook(where)
        def on_packet(self, flow: Flow, packet: Packet) -> None:
            if packet.payload and flow.proto == "TCP":
                packet.drop()

    out = written(tmp_path, Drop, settings={"checksums": "verify"})
    # the frame with a bad sum has no flow that could drop it
    assert out == [frame for name, frame in ALL.items() if name != "data"]


def contested() -> list[bytes]:
    """A handshake with two SYN/ACKs, data of the server, then the client's ACK of the second."""
    talk = Talk()
    syn, second, ack = talk.handshake()
    first = talk.segment("server", 0x12, seq=900000)
    return [syn, first, second, talk.server(b"evil"), talk.server(b"more"), ack]


class Judge(App):
    """Drops a flow by its first bytes."""

    def start(self) -> None:
        self.heard: list[bytes] = []

    def on_data(self, flow: Flow, data: Any) -> None:
        self.heard.append(data.bytes)
        flow.drop()


def test_102_what_was_held_is_judged_in_its_turn(tmp_path: Path) -> None:
    """By then it has passed; the packet that told how to read it has not."""
    frames = contested()
    path = write_pcap(tmp_path / "in.pcap", frames)
    app = run(Judge, read=str(path), write=str(tmp_path / "out.pcap"))
    assert app.heard == [b"evil"]
    assert read_pcap(tmp_path / "out.pcap") == frames[:-1]


def test_102_a_verdict_at_the_end_of_a_flow_is_not_on_another_packet(tmp_path: Path) -> None:
    syn, other, stands, *data, _ = contested()
    frames = [syn, stands, other, *data, *Talk(sport=40001).handshake()]
    path = write_pcap(tmp_path / "in.pcap", frames)
    settings = {"limits.flows": "1", "table_full": "evict"}
    app = run(Judge, read=str(path), write=str(tmp_path / "out.pcap"), settings=settings)
    assert app.heard == [b"evil"]
    assert read_pcap(tmp_path / "out.pcap") == frames
