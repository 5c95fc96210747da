# SPDX-License-Identifier: BSD-3-Clause
"""joined -- bytes of which only the receiving kernel knows whose it took.

    waits:    [ front ][ first    ]       another of it     [ second       ]

Of two segments behind a hole that share bytes, Linux goes by where they begin. Whether `first`
begins at its own number or at that of `front`, to which it may have been joined, depends on how the
kernel happened to place them in memory. Nothing on the wire tells. A segment all of whose numbers
are there already is thrown away either way.
"""

from __future__ import annotations

from collections.abc import Iterable

from forge import ACK, FAR, FIN, SYN, Segment
from missed import Range, signed

Waiting = tuple[int, int, bytes]  # first number, one past the last with the FIN, payload


def unsure(segments: Iterable[Segment], client_port: int) -> dict[str, list[Range]]:
    """Side -> such ranges of its stream."""
    sides = {"client": "server", "server": "client"}
    first: dict[str, int] = {}
    acknowledged = dict.fromkeys(sides, 0)
    sent: dict[str, list[Waiting]] = {side: [] for side in sides}
    found: dict[str, list[Range]] = {side: [] for side in sides}
    for segment in segments:
        sender = "client" if segment.ports[:2] == client_port.to_bytes(2) else "server"
        receiver = sides[sender]
        if segment.flags & SYN:
            first.setdefault(sender, segment.seq + 1)
        elif segment.payload and sender in first:
            start = signed(segment.seq - first[sender])
            stop = start + len(segment.payload) + bool(segment.flags & FIN)
            fresh = start, stop, segment.payload
            waiting = [old for old in sent[sender] if old[0] > acknowledged[sender]]
            if acknowledged[sender] < start < FAR:
                found[sender] += shared(waiting, fresh)
                sent[sender].append(fresh)
        if segment.flags & ACK and receiver in first:
            now = signed(segment.ack - first[receiver])
            if now < FAR // 2:
                acknowledged[receiver] = max(acknowledged[receiver], now)
    return found


def shared(waiting: list[Waiting], fresh: Waiting) -> list[Range]:
    """What it shares, but for its content, with others that may have been joined."""
    start, stop, payload = fresh
    ranges = []
    for begin, end, held in waiting:
        low, high = max(begin, start), min(begin + len(held), start + len(payload))
        is_new = start < begin or end < stop
        touches = any(begin == other[1] or end == other[0] for other in waiting)
        differs = held[low - begin : high - begin] != payload[low - start : high - start]
        if low < high and is_new and touches and differs:
            ranges.append((low, high))
    return ranges
