# SPDX-License-Identifier: BSD-3-Clause
"""joined -- bytes of which only the receiving kernel knows whose it took.

    waits:    [ front ][ first    ][ behind ]
    comes:             [ second       ]

Of two segments behind a hole that share bytes, Linux goes by where they begin, and throws away one
all of whose numbers it has. Where `first` begins and ends, at its own numbers or at those of what
it touches, depends on whether the kernel has joined them, which is a matter of how it happened to
place them in memory. Nothing on the wire tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from forge import FAR, FIN, Segment
from missed import placed

Contents = dict[int, set[int]]  # number of a byte in its stream -> what it may be


@dataclass
class Waiting:
    """A segment behind a hole."""

    start: int
    stop: int  # one past the last number, with the FIN
    payload: bytes


def unsure(segments: Iterable[Segment], client_port: int) -> dict[str, Contents]:
    """Such bytes of the stream of each side."""
    sent: dict[str, list[Waiting]] = {"client": [], "server": []}
    found: dict[str, Contents] = {side: defaultdict(set) for side in sent}
    for sender, start, acknowledged, segment in placed(segments, client_port):
        if segment.payload and acknowledged < start < FAR:
            stop = start + len(segment.payload) + bool(segment.flags & FIN)
            fresh = Waiting(start, stop, segment.payload)
            waiting = [old for old in sent[sender] if old.start > acknowledged]
            for old in waiting:
                if is_unsure(waiting, old, fresh):
                    share(found[sender], old, fresh)
            sent[sender].append(fresh)
    return found


def is_unsure(waiting: list[Waiting], old: Waiting, fresh: Waiting) -> bool:
    """Whether it depends on what the old one was joined to which of the two is read."""
    start, stop = old.start, old.stop
    while touching := [other.start for other in waiting if other.stop == start]:
        start = min(touching)
    while touching := [other.stop for other in waiting if other.start == stop]:
        stop = max(touching)
    if fresh.start < old.start:
        return start <= fresh.start
    longer = fresh.start == old.start and fresh.stop > old.stop
    return longer and (start < old.start or fresh.stop <= stop)


def share(found: Contents, *two: Waiting) -> None:
    """Notes what both have."""
    low = max(segment.start for segment in two)
    high = min(segment.start + len(segment.payload) for segment in two)
    for number in range(low, high):
        found[number] |= {segment.payload[number - segment.start] for segment in two}
