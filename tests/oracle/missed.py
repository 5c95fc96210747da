# SPDX-License-Identifier: BSD-3-Clause
"""missed -- what a tap that does not see every packet can tell of.

A byte that it missed may come again. If the ACK of its receiver was seen before, it may be known
as a gap by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forge import ACK, SYN, Segment

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


def seen(
    segments: Iterable[Segment], client_port: int
) -> tuple[dict[str, list[Range]], dict[str, list[Range]]]:
    """Side -> ranges of its stream that the tap saw, and those that it saw before an ACK of more.
    It has seen each SYN."""
    sides = {"client": "server", "server": "client"}
    first: dict[str, int] = {}
    acknowledged = dict.fromkeys(sides, 0)
    ever: dict[str, list[Range]] = {side: [] for side in sides}
    in_time: dict[str, list[Range]] = {side: [] for side in sides}
    for segment in segments:
        sender = "client" if segment.ports[:2] == client_port.to_bytes(2) else "server"
        receiver = sides[sender]
        seq = segment.seq + bool(segment.flags & SYN)
        if segment.flags & SYN:
            first[sender] = seq
        if segment.payload:
            start = signed(seq - first[sender])
            stop = start + len(segment.payload)
            ever[sender].append((start, stop))
            in_time[sender].append((max(start, acknowledged[sender]), stop))
        if segment.flags & ACK and receiver in first:
            now = signed(segment.ack - first[receiver])
            acknowledged[receiver] = max(acknowledged[receiver], now)
    return ever, in_time
