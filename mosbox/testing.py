# SPDX-License-Identifier: BSD-3-Clause
"""testing -- captures for the tests of an app, made in a line.

    with Capture("x.pcap") as capture:
        capture.tcp("10.0.0.1", "10.0.0.2", 80, b"hello", b"hello yourself")
        capture.udp("10.0.0.1", "10.0.0.3", 53, query, answer)

Packets are a millisecond apart; checksums are right. IPv6 addresses do as well.
"""

from __future__ import annotations

import os
import struct
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType

__all__ = ["Capture"]

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP, UDP = 6, 17
LINKTYPE_RAW = 101  # packets begin with their IP header
MSS = 1400
SECOND = 1_000_000_000  # in nanoseconds


class Capture:
    """A pcap file being written. Each conversation gets a client port of its own."""

    def __init__(self, path: str | os.PathLike[str], start: int = 1_700_000_000) -> None:
        self._packets: list[tuple[int, bytes]] = []
        self._path = Path(path)
        self._port = 49152
        self._now = start * SECOND

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()

    def close(self) -> None:
        """Writes the file."""
        head = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, LINKTYPE_RAW)
        with self._path.open("wb") as file:
            file.write(head)
            for when, packet in self._packets:
                size = len(packet)
                file.write(struct.pack("<IIII", *divmod(when, SECOND), size, size) + packet)

    def wait(self, seconds: float) -> None:
        """Lets so much time pass before the next packet."""
        self._now += round(seconds * SECOND)

    def packet(self, packet: bytes) -> None:
        """Adds an IP packet as it is."""
        self._packets.append((self._now, packet))
        self._now += SECOND // 1000

    def udp(self, client: str, server: str, port: int, *turns: bytes) -> None:
        """Datagrams of client and server in turn."""
        own = self._client_port()
        for number, payload in enumerate(turns):
            src, dst, ports = client, server, (own, port)
            if number % 2:
                src, dst, ports = server, client, (port, own)
            header = struct.pack("!HHHH", *ports, 8 + len(payload), 0)
            self.packet(_ip(src, dst, UDP, header + payload, 6))

    def tcp(
        self, client: str, server: str, port: int, *turns: bytes, refused: bool = False
    ) -> None:
        """A connection from SYN to FIN; what client and server say in turn, acknowledged."""
        own = self._client_port()
        ends = ((client, own), (server, port))
        seq = [1000, 2000]

        def send(side: int, flags: int, payload: bytes = b"") -> None:
            (src, sport), (dst, dport) = ends[side], ends[1 - side]
            ack = seq[1 - side] if flags & ACK else 0
            header = struct.pack(
                "!HHIIBBHHH", sport, dport, seq[side], ack, 5 << 4, flags, 65535, 0, 0
            )
            self.packet(_ip(src, dst, TCP, header + payload, 16))
            seq[side] += len(payload) + bool(flags & (SYN | FIN))

        send(0, SYN)
        if refused:
            send(1, RST | ACK)
            return
        send(1, SYN | ACK)
        send(0, ACK)
        for number, said in enumerate(turns):
            side = number % 2
            for start in range(0, len(said), MSS):
                send(side, PSH | ACK, said[start : start + MSS])
            send(1 - side, ACK)
        send(0, FIN | ACK)
        send(1, FIN | ACK)
        send(0, ACK)

    def _client_port(self) -> int:
        self._port = self._port + 1 if self._port < 65535 else 49152
        return self._port


def _ip(src: str, dst: str, proto: int, segment: bytes, checksum_at: int) -> bytes:
    """An IP packet; the checksum of its segment is filled in."""
    source, target = ip_address(src), ip_address(dst)
    length = len(segment)
    ends = source.packed + target.packed
    total = _checksum(ends + struct.pack("!II", length, proto) + segment) or 0xFFFF
    segment = segment[:checksum_at] + struct.pack("!H", total) + segment[checksum_at + 2 :]
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, length, proto, 64) + ends + segment
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, proto, 0) + ends
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:] + segment


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
