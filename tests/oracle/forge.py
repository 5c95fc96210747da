# SPDX-License-Identifier: BSD-3-Clause
"""forge -- segments that no host sent, made of one that a host did send.

What the receiver makes of them is for its kernel to say: some it takes, most it throws away. Each
is far from what depends on things that only the receiver knows yet, such as an ACK on its way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
FAR = 1 << 29  # bytes, beyond any window


@dataclass
class Segment:
    """A TCP segment, and what is before it in its frame."""

    head: bytes  # Ethernet and IP
    ports: bytes
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes
    payload: bytes

    @classmethod
    def of(cls, frame: bytes) -> Segment:
        """The frame is one of TCP."""
        at = 54 if frame[14] >> 4 == 6 else 14 + (frame[14] & 15) * 4
        seq, ack, words, flags, window = struct.unpack_from("!IIBBH", frame, at + 4)
        start = at + (words >> 4) * 4
        options = frame[at + 20 : start]
        return cls(frame[:at], frame[at : at + 4], seq, ack, flags, window, options, frame[start:])

    @property
    def size(self) -> int:
        """The sequence numbers it takes."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)

    @property
    def pair(self) -> frozenset[bytes]:
        """The ports, whoever sends."""
        return frozenset((self.ports[:2], self.ports[2:]))

    def frame(self) -> bytes:
        """The frame of it, with lengths and checksums that are right."""
        numbers = self.seq % 2**32, self.ack % 2**32
        words = (20 + len(self.options)) // 4 << 4
        tcp = self.ports + struct.pack("!IIBBHI", *numbers, words, self.flags, self.window, 0)
        tcp += self.options + self.payload
        ethernet, ip = self.head[:14], self.head[14:]
        if ip[0] >> 4 == 6:
            ip = ip[:4] + struct.pack("!H", len(tcp)) + ip[6:]
            addresses = ip[8:40]
        else:
            ip = ip[:2] + struct.pack("!H", len(ip) + len(tcp)) + ip[4:10] + b"\0\0" + ip[12:]
            ip = ip[:10] + checksum(ip) + ip[12:]
            addresses = ip[12:20]
        total = checksum(addresses + struct.pack("!II", 6, len(tcp)) + tcp)
        return ethernet + ip + tcp[:16] + total + tcp[18:]


def checksum(data: bytes) -> bytes:
    """RFC 1071: a sum of ones' complement numbers is one modulo 65,535."""
    return struct.pack("!H", -int.from_bytes(data + b"\0" * (len(data) % 2)) % 0xFFFF)


class Forger:
    """Makes forgeries, each of a kind that chance chooses.

    What a receiver might take is never beyond what the true sender has sent: it would acknowledge
    what the sender does not know of, and only the sender could tell that this is no ACK of his.
    Nor is it where a FIN is: a byte there would be acknowledged, and the FIN seem to be.
    Nor is there a reset or a FIN that it might take: then one end is gone, the other is not, and
    what is on its way to either is for nobody to tell. Nor a SYN when the end has begun: no socket
    answers it, and what is repeated of the old stream may lie behind its number.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.sent: dict[bytes, int] = {}  # ports -> one past the highest byte sent
        self.ending: set[frozenset[bytes]] = set()  # pairs of ports with a FIN or a reset
        self.kinds: list[Callable[[Segment], None]] = [
            self.content,
            self.overlap,
            self.overlap,
            self.reset,
            self.syn,
            self.no_ack,
            self.old_timestamp,
            self.wrong_ack,
            self.wrong_seq,
            self.fin,
        ]

    def forged(self, frame: bytes) -> bytes:
        """One that could stand beside this frame."""
        segment = Segment.of(frame)
        sent = self.sent[segment.ports]
        kind = self.random.choice(self.kinds)
        if kind == self.syn and segment.pair in self.ending:
            kind = self.content
        kind(segment)
        beyond = (segment.seq + segment.size - sent) % 2**32
        if 0 < beyond < FAR // 2 and segment.payload:
            segment.payload = segment.payload[:-beyond]
            segment.flags &= ~FIN
        return segment.frame()

    def watch(self, frame: bytes) -> None:
        """A host sent this."""
        segment = Segment.of(frame)
        end = (segment.seq + segment.size - bool(segment.flags & FIN)) % 2**32
        if 0 < (end - self.sent.get(segment.ports, end - 1)) % 2**32 < FAR:
            self.sent[segment.ports] = end
        if segment.flags & (FIN | RST):
            self.ending.add(segment.pair)

    def content(self, segment: Segment) -> None:
        segment.payload = self.random.randbytes(len(segment.payload) or self.random.randint(1, 99))

    def overlap(self, segment: Segment) -> None:
        size = len(segment.payload) or 100
        segment.seq += self.random.randint(-size, 2 * size)
        segment.payload = self.random.randbytes(self.random.randint(1, size))
        segment.flags &= ~FIN  # it would be elsewhere

    def reset(self, segment: Segment) -> None:
        segment.seq += self.random.choice((-1000, 1000, FAR))
        segment.flags = RST | self.random.choice((0, ACK))
        segment.payload = b""

    def syn(self, segment: Segment) -> None:
        segment.seq += self.random.choice((-1000, 0, 1000, FAR))
        segment.flags = SYN | self.random.choice((0, ACK))
        segment.payload = b""

    def no_ack(self, segment: Segment) -> None:
        self.content(segment)
        segment.flags = self.random.choice((0, PSH, FIN))

    def old_timestamp(self, segment: Segment) -> None:
        self.content(segment)
        if segment.options[:4] == b"\1\1\x08\x0a":
            value = struct.unpack_from("!I", segment.options, 4)[0] - self.random.randint(
                10**5, FAR
            )
            segment.options = (
                b"\1\1\x08\x0a" + struct.pack("!I", value % 2**32) + segment.options[8:]
            )

    def wrong_ack(self, segment: Segment) -> None:
        """Of what was never sent. One that is too old (RFC 5961 5.2) Linux throws away as well, but
        for segments that are just what it expects next: at those it does not look so closely."""
        self.content(segment)
        segment.ack += FAR

    def wrong_seq(self, segment: Segment) -> None:
        self.content(segment)
        segment.seq += self.random.choice((-FAR, FAR))

    def fin(self, segment: Segment) -> None:
        segment.flags |= FIN
        segment.seq += self.random.choice((-FAR, FAR))
