"""Packets and captures for tests, written by hand from the RFCs: no second stack is involved.

A capture is a list of frames; `Talk` makes the frames of one TCP connection so that a test
reads like the conversation it is about:

    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"GET / HTTP/1.1\\r\\n\\r\\n"), *talk.close()]
    pcap = write_pcap(tmp_path / "x.pcap", frames)
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ETHERNET, RAW = 1, 101

MAC_CLIENT, MAC_SERVER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def _pseudo(src: str, dst: str, proto: int, length: int) -> bytes:
    a, b = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if a.version == 4:
        return a.packed + b.packed + struct.pack("!BBH", 0, proto, length)
    return a.packed + b.packed + struct.pack("!IHBB", length, 0, 0, proto)


def ip(
    src: str,
    dst: str,
    proto: int,
    body: bytes,
    *,
    ttl: int = 64,
    ident: int = 1,
    fragment: int = 0,
    more: bool = False,
    options: bytes = b"",
) -> bytes:
    """An IPv4 or IPv6 packet, by the kind of its addresses. `fragment` is an offset in bytes."""
    a, b = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    if a.version == 6:
        if fragment or more:
            body = struct.pack("!BBHI", proto, 0, fragment | more, ident) + body
            proto = 44
        return struct.pack("!IHBB", 6 << 28, len(body), proto, ttl) + a.packed + b.packed + body
    options += b"\0" * (-len(options) % 4)
    length, words = 20 + len(options) + len(body), 5 + len(options) // 4
    flags = (fragment // 8) | (0x2000 if more else 0)
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, length, ident, flags, ttl, proto, 0)
    head += a.packed + b.packed + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def tcp_options(
    *,
    mss: int | None = None,
    wscale: int | None = None,
    sack: bool = False,
    ts: tuple[int, int] | None = None,
    blocks: Iterable[tuple[int, int]] = (),
    cookie: bytes | None = None,
) -> bytes:
    """TCP options (RFC 9293 3.2, 7323, 2018, 7413)."""
    out = b""
    if mss is not None:
        out += struct.pack("!BBH", 2, 4, mss)
    if wscale is not None:
        out += struct.pack("!BBBB", 1, 3, 3, wscale)
    if sack:
        out += b"\4\2"
    if ts is not None:
        out += struct.pack("!BBBBII", 1, 1, 8, 10, *ts)
    edges = [edge & 0xFFFFFFFF for block in blocks for edge in block]
    if edges:
        out += struct.pack(f"!BBBB{len(edges)}I", 1, 1, 5, 2 + 4 * len(edges), *edges)
    if cookie is not None:
        out += struct.pack("!BB", 34, 2 + len(cookie)) + cookie
    return out


def tcp(
    src: str,
    dst: str,
    sport: int,
    dport: int,
    flags: int,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    *,
    window: int = 65535,
    options: bytes = b"",
    urgent: int = 0,
) -> bytes:
    """A TCP segment with its checksum."""
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4
    head = struct.pack(
        "!HHIIBBHHH",
        sport,
        dport,
        seq & 0xFFFFFFFF,
        ack & 0xFFFFFFFF,
        words << 4,
        flags,
        window,
        0,
        urgent,
    )
    segment = head + options + payload
    total = checksum(_pseudo(src, dst, 6, len(segment)) + segment)
    return segment[:16] + struct.pack("!H", total) + segment[18:]


def udp(src: str, dst: str, sport: int, dport: int, payload: bytes = b"") -> bytes:
    """A UDP datagram with its checksum."""
    datagram = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    total = checksum(_pseudo(src, dst, 17, len(datagram)) + datagram) or 0xFFFF
    return datagram[:6] + struct.pack("!H", total) + datagram[8:]


def icmp(kind: int, code: int, rest: bytes = b"\0" * 4, payload: bytes = b"") -> bytes:
    """An ICMP message (RFC 792); `rest` is the second word."""
    message = struct.pack("!BBH", kind, code, 0) + rest + payload
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def ethernet(
    packet: bytes,
    *,
    vlans: Iterable[int] = (),
    src: bytes = MAC_CLIENT,
    dst: bytes = MAC_SERVER,
    kind: int | None = None,
) -> bytes:
    """An Ethernet frame, VLAN tags outermost first; padded to 60 bytes as on the wire."""
    if kind is None:
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    tags = b"".join(struct.pack("!HH", 0x8100, vlan) for vlan in vlans)
    return (dst + src + tags + struct.pack("!H", kind) + packet).ljust(60, b"\0")


@dataclass
class Frame:
    """Captured bytes and their time in seconds; `wire` is the length before it was cut."""

    data: bytes
    time: float = 0.0
    wire: int | None = None


def fragments(packet: bytes, size: int) -> list[bytes]:
    """An IP packet without options cut into fragments of `size` payload bytes (RFC 791, 8200)."""
    if packet[0] >> 4 == 6:
        head, body, at, length = packet[:40], packet[40:], 8, 16
        proto, ttl, ident = head[6], head[7], 1
    else:
        head, body, at, length = packet[:20], packet[20:], 12, 4
        proto, ttl, ident = head[9], head[8], struct.unpack("!H", head[4:6])[0]
    src, dst = (str(ipaddress.ip_address(head[i : i + length])) for i in (at, at + length))
    size -= size % 8
    return [
        ip(
            src,
            dst,
            proto,
            body[at : at + size],
            ttl=ttl,
            ident=ident,
            fragment=at,
            more=at + size < len(body),
        )
        for at in range(0, len(body), size)
    ]


def write_head(
    file: IO[bytes], link: int = ETHERNET, nanoseconds: bool = False, big_endian: bool = False
) -> None:
    """Writes the head of a pcap file."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    order = ">" if big_endian else "<"
    file.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link))


def write_pcap(
    path: Path,
    frames: Iterable[Frame | bytes],
    *,
    link: int = ETHERNET,
    nanoseconds: bool = False,
    big_endian: bool = False,
    step: float = 0.001,
    start: float = 1_700_000_000.0,
) -> Path:
    """Writes a pcap file; frames without a time get one `step` seconds after the last."""
    order, unit = ">" if big_endian else "<", 10**9 if nanoseconds else 10**6
    now = start
    with open(path, "wb") as file:
        write_head(file, link, nanoseconds, big_endian)
        for frame in frames:
            item = frame if isinstance(frame, Frame) else Frame(frame)
            now = item.time or now + step
            seconds, part = int(now), round((now - int(now)) * unit)
            wire = item.wire or len(item.data)
            file.write(struct.pack(order + "IIII", seconds, part, len(item.data), wire))
            file.write(item.data)
    return path


def read_pcap(path: Path) -> list[bytes]:
    """The frames of a pcap file of little-endian byte order."""
    data, at, frames = path.read_bytes(), 24, []
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


def merge(*talks: Iterable[bytes]) -> Iterator[bytes]:
    """Interleaves several conversations, a frame of each in turn."""
    turns = [iter(talk) for talk in talks]
    while turns:
        for turn in list(turns):
            try:
                yield next(turn)
            except StopIteration:
                turns.remove(turn)


@dataclass
class Talk:
    """One TCP connection: each call gives the next frame of one side and moves its numbers on."""

    src: str = "10.0.0.1"
    dst: str = "192.0.2.80"
    sport: int = 40000
    dport: int = 80
    client_seq: int = 1000
    server_seq: int = 5000
    vlans: tuple[int, ...] = ()
    options: bytes = b""
    syn_options: bytes = field(default_factory=lambda: tcp_options(mss=1460))

    def packet(
        self,
        side: str,
        flags: int,
        payload: bytes = b"",
        seq: int | None = None,
        ack: int | None = None,
        ttl: int = 64,
        ident: int = 1,
        **more: object,
    ) -> bytes:
        """The IP packet of a segment of `side`, "client" or "server", that moves no number on."""
        client = side == "client"
        src, dst = (self.src, self.dst) if client else (self.dst, self.src)
        ports = (self.sport, self.dport) if client else (self.dport, self.sport)
        mine, other = (
            (self.client_seq, self.server_seq) if client else (self.server_seq, self.client_seq)
        )
        settings: dict[str, object] = {"options": self.options} | more
        body = tcp(
            src,
            dst,
            *ports,
            flags,
            mine if seq is None else seq,
            ack if ack is not None else other if flags & ACK else 0,
            payload,
            **settings,  # type: ignore[arg-type]
        )
        return ip(src, dst, 6, body, ttl=ttl, ident=ident)

    def segment(
        self, side: str, flags: int, payload: bytes = b"", seq: int | None = None, **more: object
    ) -> bytes:
        """The same as a frame."""
        packet = self.packet(side, flags, payload, seq, **more)  # type: ignore[arg-type]
        return ethernet(packet, vlans=self.vlans)

    def _send(self, side: str, flags: int, payload: bytes = b"", **more: object) -> bytes:
        frame = self.segment(side, flags, payload, **more)
        length = len(payload) + bool(flags & SYN) + bool(flags & FIN)
        if side == "client":
            self.client_seq += length
        else:
            self.server_seq += length
        return frame

    def handshake(self) -> list[bytes]:
        """SYN, SYN/ACK, ACK."""
        return [
            self._send("client", SYN, options=self.syn_options),
            self._send("server", SYN | ACK, options=self.syn_options),
            self._send("client", ACK),
        ]

    def client(self, payload: bytes = b"", flags: int = PSH | ACK) -> bytes:
        """The client sends payload."""
        return self._send("client", flags, payload)

    def server(self, payload: bytes = b"", flags: int = PSH | ACK) -> bytes:
        """The server sends payload."""
        return self._send("server", flags, payload)

    def close(self) -> list[bytes]:
        """FIN of the client, FIN of the server, last ACK."""
        return [
            self._send("client", FIN | ACK),
            self._send("server", FIN | ACK),
            self._send("client", ACK),
        ]

    def reset(self, side: str = "server") -> bytes:
        """An RST that the other side accepts."""
        return self._send(side, RST | ACK)

    def exchange(self, request: bytes, response: bytes, mss: int = 1400) -> list[bytes]:
        """A whole connection: handshake, request, response in segments of `mss`, close."""
        parts = [response[at : at + mss] for at in range(0, len(response), mss)]
        return [
            *self.handshake(),
            *(self.client(request[at : at + mss]) for at in range(0, len(request), mss)),
            *(self.server(part) for part in parts),
            self.client(flags=ACK),
            *self.close(),
        ]

    def copy(self, **changes: object) -> Talk:
        """The same connection with other settings."""
        return replace(self, **changes)  # type: ignore[arg-type]
