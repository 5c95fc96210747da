# SPDX-License-Identifier: BSD-3-Clause
"""box -- a bad network between two interfaces, and a tap behind it.

    client's host            the box                          server's host
       veth <---> left  [drop, copy, delay, corrupt]  right <---> veth
                                 |
                                tap: what leaves the box, when it leaves

A packet is written down as it leaves for its receiver: twice if it was copied, never if it was
dropped. So the capture holds what each host was given, and whatever made a host send a packet
stands before that packet. A passive listener at this place can be right about both hosts.

Network cards fill in checksums and cut large segments; where the sender's kernel left that to
them, the tap fills the checksum in and shows the large segment as it is.

    box.py LEFT RIGHT CAPTURE SETTINGS    # JSON: {"seed": 1, "loss": 0.1, ...}

Ends on SIGTERM, and tells its counters as JSON: of all, and of each client port.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import BinaryIO

from forge import Forger

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 15, 23, 3
VNET = struct.Struct("=BBHHHH")  # struct virtio_net_hdr of linux/virtio_net.h
NEEDS_CHECKSUM = 1
FIN, SYN, RST = 1, 2, 4
COUNTED = (
    "in",
    "out",
    "lost",
    "dead",
    "copied",
    "corrupt",
    "forged",
    "late",
    "large",
    "refused",
    "missed",
)


@dataclass
class Weather:
    """How bad the network is: probabilities, and times in seconds."""

    seed: int = 0
    loss: float = 0
    control_loss: float = 0  # of SYN, FIN and RST segments, in place of `loss`
    copies: float = 0
    corrupt: float = 0
    forged: float = 0  # beside so many comes one that nobody sent, see forge.py
    late: float = 0  # packets that others overtake
    lateness: float = 0.02  # by how much, at most
    delay: float = 0
    jitter: float = 0  # more delay, in order
    missed: float = 0  # data that goes through, and the tap does not see
    dead_after: dict[str, int] = field(default_factory=dict)  # client port -> packets that pass


def segment_of(frame: bytes) -> tuple[int, int, int] | None:
    """Source port, destination port and flags of a TCP segment; None: it is none, or damaged."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[23] == 6:
        at = 14 + (frame[14] & 15) * 4
    elif kind == b"\x86\xdd" and frame[20] == 6:
        at = 54
    else:
        return None
    if len(frame) < at + 20:
        return None
    sport, dport = struct.unpack_from("!HH", frame, at)
    return sport, dport, frame[at + 13]


def size_of(frame: bytes) -> int:
    """Bytes of data in a TCP segment."""
    at = 54 if frame[12:14] == b"\x86\xdd" else 14 + (frame[14] & 15) * 4
    return len(frame) - at - (frame[at + 12] >> 4) * 4


def with_checksum(frame: bytes, start: int, offset: int) -> bytes:
    """The frame with the checksum that was left to the card. The sum of the pseudo-header is
    in its place already; a sum of ones' complement numbers is one modulo 65,535."""
    body = frame[start:]
    total = int.from_bytes(body + b"\0" * (len(body) % 2)) % 0xFFFF
    at = start + offset
    return frame[:at] + struct.pack("!H", -total % 0xFFFF) + frame[at + 2 :]


def link(name: str) -> socket.socket:
    """All that comes in at an interface, and a way out."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    sock.bind((name, ETH_P_ALL))
    sock.setblocking(False)
    return sock


class Tap:
    """A pcap file with nanoseconds."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        file.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))

    def put(self, frame: bytes, now: int) -> None:
        size = len(frame)
        self.file.write(struct.pack("=IIII", *divmod(now, 10**9), size, size) + frame)


class Box:
    """Takes packets in, holds them, lets them out."""

    def __init__(self, links: list[socket.socket], tap: Tap, weather: Weather) -> None:
        left, right = links
        self.out = {left: right, right: left}
        self.tap = tap
        self.weather = weather
        self.random = Random(weather.seed)
        self.forger = Forger(self.random)
        self.held: list[tuple[float, int, socket.socket, bytes, bytes]] = []
        self.last_due = {left: 0.0, right: 0.0}
        self.passed: dict[int, int] = defaultdict(int)  # client port -> packets
        self.counts = Counter(dict.fromkeys(COUNTED, 0))
        self.fates: dict[int, Counter[str]] = defaultdict(Counter)  # client port -> the same
        self.number = 0

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def dead(self, sport: int, dport: int) -> bool:
        for port in (sport, dport):
            limit = self.weather.dead_after.get(str(port))
            if limit is not None:
                self.passed[port] += 1
                return self.passed[port] > limit
        return False

    def count(self, word: str, frame: bytes) -> None:
        """What became of a packet; of its connection's FINs, "FIN WORD" as well."""
        self.counts[word] += 1
        sport, dport, flags = segment_of(frame) or (0, 0, 0)
        fates = self.fates[max(sport, dport)]  # a server's port is the lower one
        fates[word] += 1
        if flags & FIN:
            fates["FIN " + word] += 1

    def take(self, way_in: socket.socket, data: bytes) -> None:
        """A packet has come: what becomes of it."""
        flags, large, _, _, start, offset = VNET.unpack_from(data)
        head, frame = data[: VNET.size], data[VNET.size :]
        if flags & NEEDS_CHECKSUM and not large:
            head, frame = bytes(VNET.size), with_checksum(frame, start, offset)
        segment = segment_of(frame)
        self.count("in", frame)
        if segment is None:
            return self.send(self.out[way_in], head, frame)
        sport, dport, tcp_flags = segment
        weather = self.weather
        control = tcp_flags & (SYN | FIN | RST) and weather.control_loss
        fate = "dead" if self.dead(sport, dport) else "lost"
        if fate == "dead" or self.chance(control or weather.loss):
            self.count(fate, frame)
            return None
        if weather.forged:
            self.forger.watch(frame)
        if not large and not tcp_flags & SYN and self.chance(weather.forged):
            self.count("forged", frame)
            frames = [(bytes(VNET.size), self.forger.forged(frame)), (head, frame)]
            for one in frames[:: self.random.choice((1, -1))]:
                self.hold(self.out[way_in], *one)
            return None
        copies = 1 + self.chance(weather.copies)
        for number in range(copies):
            copy = frame
            if number > 0:
                self.count("copied", frame)
            if not large and self.chance(weather.corrupt):
                self.count("corrupt", frame)
                copy = self.corrupted(frame)
            self.hold(self.out[way_in], head, copy)

    def corrupted(self, frame: bytes) -> bytes:
        """One byte of the IP packet with other bits: a checksum always notices."""
        at = self.random.randrange(14, len(frame))
        return frame[:at] + bytes([frame[at] ^ self.random.randint(1, 255)]) + frame[at + 1 :]

    def hold(self, out: socket.socket, head: bytes, frame: bytes) -> None:
        weather, now = self.weather, time.monotonic()
        due = now + weather.delay + weather.jitter * self.random.random()
        if self.chance(weather.late):
            self.count("late", frame)
            due += weather.lateness * self.random.random()
        else:
            due = self.last_due[out] = max(due, self.last_due[out])
        if due <= now and not self.held:
            return self.send(out, head, frame)
        self.number += 1
        heapq.heappush(self.held, (due, self.number, out, head, frame))

    def send(self, out: socket.socket, head: bytes, frame: bytes) -> None:
        try:
            out.send(head + frame)
        except OSError as error:
            if error.errno not in (errno.ENOBUFS, errno.EAGAIN):
                raise
            self.count("refused", frame)
            return
        self.count("out", frame)
        segment = segment_of(frame)
        data = segment and not segment[2] & (SYN | FIN | RST) and size_of(frame) > 0
        if data and self.chance(self.weather.missed):
            return self.count("missed", frame)
        flags, _, _, _, start, offset = VNET.unpack(head)
        if flags & NEEDS_CHECKSUM:
            self.count("large", frame)
            frame = with_checksum(frame, start, offset)
        self.tap.put(frame, time.time_ns())

    def release(self) -> None:
        """Lets out what was held long enough."""
        while self.held and self.held[0][0] <= time.monotonic():
            _, _, out, head, frame = heapq.heappop(self.held)
            self.send(out, head, frame)

    def run(self) -> None:
        """Until a signal asks it to stop."""
        stopped: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
        poll = select.poll()
        links = {sock.fileno(): sock for sock in self.out}
        for fd in links:
            poll.register(fd, select.POLLIN)
        while not stopped:
            wait = (self.held[0][0] - time.monotonic()) * 1000 if self.held else 100
            for fd, _ in poll.poll(max(wait, 0)):
                try:
                    self.take(links[fd], links[fd].recv(1 << 17))
                except BlockingIOError:
                    continue
            self.release()


def main() -> None:
    left, right, path, settings = sys.argv[1:]
    # Packets sent from two processors could reach the host in another order than they left.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with open(path, "wb") as file:
        box = Box([link(left), link(right)], Tap(file), Weather(**json.loads(settings)))
        print("ready", flush=True)
        box.run()
    print(json.dumps({"counts": box.counts, "fates": box.fates}), flush=True)


if __name__ == "__main__":
    main()
