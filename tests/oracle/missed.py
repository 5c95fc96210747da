# SPDX-License-Identifier: BSD-3-Clause
"""missed -- what a tap that does not see every packet can tell of.

A byte that it missed may come again. If the ACK of its receiver was seen before, it may be known
as a gap by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from forge import ACK, FAR, SYN, Segment

Range = tuple[int, int]  # first byte, one past the last


def signed(number: int) -> int:
    """The distance of two sequence numbers."""
    return (number + 2**31) % 2**32 - 2**31


def holes(shown: Iterable[Range], size: int) -> list[Range]:
    """What is left of so many bytes."""
    left, at = [], 0
    for start, stop in [*sorted(shown), (size, size)]:
        if at < min(start, size):
            left.append((at, min(start, size)))
        at = max(at, stop)
    return left


def blanked(data: bytes, ranges: Iterable[Range]) -> bytes:
    """The same with zeros there."""
    copy = bytearray(data)
    for start, stop in ranges:
        copy[start:stop] = bytes(len(copy[start:stop]))
    return bytes(copy)


def within(inner: Iterable[Range], outer: Sequence[Range]) -> bool:
    return all(any(a <= start and stop <= b for a, b in outer) for start, stop in inner)


def placed(
    segments: Iterable[Segment], client_port: int
) -> Iterator[tuple[str, int, int, Segment]]:
    """Each segment whose sender's SYN was seen: who sent it, which byte of its stream it begins
    with, and how many of them the other side had acknowledged; not by an ACK of what was never
    sent."""
    sides = {"client": "server", "server": "client"}
    first: dict[str, int] = {}
    acknowledged = dict.fromkeys(sides, 0)
    for segment in segments:
        sender = "client" if segment.ports[:2] == client_port.to_bytes(2) else "server"
        receiver = sides[sender]
        seq = segment.seq + bool(segment.flags & SYN)
        if segment.flags & SYN:
            first.setdefault(sender, seq)
        if sender in first:
            yield sender, signed(seq - first[sender]), acknowledged[sender], segment
        if segment.flags & ACK and receiver in first:
            now = signed(segment.ack - first[receiver])
            if now < FAR // 2:
                acknowledged[receiver] = max(acknowledged[receiver], now)


def seen(
    segments: Iterable[Segment], client_port: int
) -> tuple[dict[str, list[Range]], dict[str, list[Range]]]:
    """Side -> ranges of its stream that the tap saw, and those that it saw before an ACK of more.
    It has seen each SYN."""
    ever: dict[str, list[Range]] = {"client": [], "server": []}
    in_time: dict[str, list[Range]] = {"client": [], "server": []}
    for sender, start, acknowledged, segment in placed(segments, client_port):
        if segment.payload:
            stop = start + len(segment.payload)
            ever[sender].append((start, stop))
            in_time[sender].append((max(start, acknowledged), stop))
    return ever, in_time
