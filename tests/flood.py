# SPDX-License-Identifier: BSD-3-Clause
"""Attacks on memory, with real connections among them, as a capture on standard output.

    tests/flood.py syn 10000000 --connections 10000 | mosbox stats -r - --max-memory 256MB

Flood packets are a microsecond apart and come from anywhere but 10.0.0.0/8, where the real
clients are. Equal arguments give equal bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import random
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from wire import ACK, FIN, SYN, Talk, ip, write_head

SERVER = "192.0.2.80"
SPACING = 1_000  # ns between flood packets
RTT = 5_000_000  # ns between two turns of a real connection
SWAPPED = 1_000_000  # ns that the first of two swapped segments waits for the other
START = 1_700_000_000 * 10**9
TURNS = 3  # requests of a real connection

Timed = tuple[int, bytes]  # ns since 1970, IP packet


# ---- real connections


def client_of(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def request(number: int, turn: int) -> bytes:
    return f"GET /{number}/{turn} HTTP/1.1\r\nHost: www.example.com\r\n\r\n".encode()


def response(number: int, turn: int) -> bytes:
    body = hashlib.sha256(b"%d %d" % (number, turn)).hexdigest().encode() * 40
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def said(number: int) -> tuple[str, str]:
    """Digests of all that client and server of a connection say."""
    whole = (b"".join(say(number, turn) for turn in range(TURNS)) for say in (request, response))
    client, server = (hashlib.sha256(text).hexdigest() for text in whole)
    return client, server


def connection(number: int, begin: int, pause: int) -> Iterator[Timed]:
    """Handshake, requests `pause` ns apart, answers of which two segments are swapped, close."""
    talk = Talk(src=client_of(number), dst=SERVER, sport=40000, client_seq=number * 7919)
    now = begin
    for frame in talk.handshake():
        yield now, frame
        now += RTT
    for turn in range(TURNS):
        now += pause
        text = response(number, turn)
        yield now, talk.client(request(number, turn))
        first, second, third = (talk.server(text[at : at + 1000]) for at in (0, 1000, 2000))
        now += RTT
        yield now, second
        now += SWAPPED
        yield now, first
        yield now, third
        now += RTT
        yield now, talk.client(flags=ACK)
    for frame in talk.close():
        yield now, frame
        now += RTT


def connections(count: int, length: int, rng: random.Random) -> Iterator[Timed]:
    """Real connections, begun at any time of a flood of `length` ns; the longest last as long."""
    talks = []
    for number in range(count):
        pause = rng.randrange(length // (TURNS + 1) + 1)
        begin = START + rng.randrange(max(1, length - TURNS * pause))
        talks.append(((when, frame[14:]) for when, frame in connection(number, begin, pause)))
    return heapq.merge(*talks)


# ---- floods: each gives packets without end


def stranger(rng: random.Random) -> int:
    """An address outside 10.0.0.0/8, as a number."""
    while (address := rng.getrandbits(32)) >> 24 in (0, 10):
        pass
    return address


def dotted(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


_IP_TCP = struct.Struct("!BBHHHBBHIIHHIIBBHHH").pack
SERVER_NUMBER = 0xC0000250  # SERVER as a number


def _segment(
    src: int, sport: int, dst: int, dport: int, seq: int, ack: int, flags: int, payload: bytes = b""
) -> bytes:
    """An IPv4 packet as wire.ip() makes it, but ten million of them in a minute."""
    length = 40 + len(payload)
    total = 0x4500 + length + (64 << 8 | 6) + (src >> 16) + (src & 0xFFFF)
    total += (dst >> 16) + (dst & 0xFFFF)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    head = (0x45, 0, length, 0, 0, 64, 6, total ^ 0xFFFF, src, dst)
    return _IP_TCP(*head, sport, dport, seq, ack, 80, flags, 8192, 0, 0) + payload


def syn(rng: random.Random, payload: bytes = b"") -> Iterator[bytes]:
    """SYNs from random addresses."""
    while True:
        src, numbers = stranger(rng), rng.getrandbits(48)
        seq = numbers & 0xFFFFFFFF
        yield _segment(src, numbers >> 32, SERVER_NUMBER, 80, seq, 0, SYN, payload)


def syn_answered(rng: random.Random) -> Iterator[bytes]:
    """SYNs that the server answers, to hosts that never asked."""
    while True:
        src, numbers = stranger(rng), rng.getrandbits(48)
        port, seq = numbers >> 32, numbers & 0xFFFFFFFF
        yield _segment(src, port, SERVER_NUMBER, 80, seq, 0, SYN)
        yield _segment(SERVER_NUMBER, 80, src, port, seq ^ 1, (seq + 1) & 0xFFFFFFFF, SYN | ACK)


def syn_data(rng: random.Random) -> Iterator[bytes]:
    """SYNs that carry data, which waits for an answer."""
    return syn(rng, b"x" * 1000)


def contested(rng: random.Random) -> Iterator[bytes]:
    """SYNs that two SYN/ACKs answer, and data behind them, which waits for the client's word."""
    for packet in syn_answered(rng):
        yield packet
        src, dst, sport, dport, seq, ack = struct.unpack_from("!12xIIHHII", packet)
        if src == SERVER_NUMBER:
            for number, flags, payload in (
                (seq ^ 1 << 30, SYN | ACK, b""),
                (seq, ACK, b"x" * 1000),
            ):
                yield _segment(src, sport, dst, dport, number, ack, flags, payload)


def syn_changed(rng: random.Random) -> Iterator[bytes]:
    """SYNs that come again, each time with another number."""
    for packet in syn(rng):
        yield packet
        src, dst, sport, dport, seq = struct.unpack_from("!12xIIHHI", packet)
        for turn in range(1, 4):
            yield _segment(src, sport, dst, dport, seq ^ turn << 28, 0, SYN)


def behind_fin(rng: random.Random) -> Iterator[bytes]:
    """Connections that go on behind the FIN of the client, and nobody acknowledges it."""

    def send(talk: Talk, count: int) -> bytes:
        if count == 0:
            return talk.packet("client", FIN | ACK)
        return talk.packet("client", ACK, b"b" * 1000, talk.client_seq + 1000 * (count % 60))

    return _attackers(rng, send)


def fragments(rng: random.Random) -> Iterator[bytes]:
    """Fragments of datagrams that are never whole."""
    while True:
        src, number, offset = dotted(stranger(rng)), rng.getrandbits(16), 8 * rng.randrange(100)
        yield ip(src, SERVER, 17, b"f" * 1000, ident=number, fragment=offset, more=True)


def _attackers(rng: random.Random, send: Callable[[Talk, int], bytes]) -> Iterator[bytes]:
    """A hundred connections at a time, each of which sends two hundred times."""
    while True:
        talks = [Talk(src=dotted(stranger(rng)), dst=SERVER, sport=n + 1024) for n in range(100)]
        for talk in talks:
            yield from (frame[14:] for frame in talk.handshake())
        for count in range(200):
            for talk in talks:
                yield send(talk, count)


def holes(rng: random.Random) -> Iterator[bytes]:
    """Connections whose first byte never comes, and all others do."""

    def send(talk: Talk, count: int) -> bytes:
        seq = talk.client_seq + 1 + 1000 * (count % 60)
        return talk.packet("client", ACK, b"h" * 1000, seq)

    return _attackers(rng, send)


def tiny(rng: random.Random) -> Iterator[bytes]:
    """Every second byte of a stream, by itself."""

    def send(talk: Talk, count: int) -> bytes:
        return talk.packet("client", ACK, b"t", talk.client_seq + 1 + 2 * count)

    return _attackers(rng, send)


def headers(rng: random.Random) -> Iterator[bytes]:
    """Requests whose headers never end."""

    def send(talk: Talk, count: int) -> bytes:
        text = b"X-%d: %s\r\n" % (count, b"y" * 500) if count else b"GET / HTTP/1.1\r\n"
        packet = talk.packet("client", ACK, text)
        talk.client_seq += len(text)
        return packet

    return _attackers(rng, send)


FLOODS: dict[str, Callable[[random.Random], Iterator[bytes]]] = {
    made.__name__: made
    for made in (
        syn,
        syn_answered,
        syn_data,
        syn_changed,
        contested,
        behind_fin,
        fragments,
        holes,
        tiny,
        headers,
    )
}


# ---- the capture


def flooded(kind: str, packets: int, count: int, seed: int) -> Iterator[Timed]:
    """A flood of so many packets and real connections, in the order of time."""
    rng = random.Random(seed)
    real = connections(count, packets * SPACING, rng)
    due = next(real, None)
    for number, packet in zip(range(packets), FLOODS[kind](rng), strict=False):
        now = START + number * SPACING
        while due is not None and due[0] <= now:
            yield due
            due = next(real, None)
        yield now, packet
    if due is not None:
        yield due
    yield from real


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=FLOODS)
    parser.add_argument("packets", type=int)
    parser.add_argument("--connections", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    out, pack, block = sys.stdout.buffer, struct.Struct("<IIII").pack, []
    write_head(out, link=101, nanoseconds=True)
    for when, packet in flooded(given.kind, given.packets, given.connections, given.seed):
        size = len(packet)
        block += (pack(when // 10**9, when % 10**9, size, size), packet)
        if len(block) > 8192:
            out.write(b"".join(block))
            block.clear()
    out.write(b"".join(block))


if __name__ == "__main__":
    main()
