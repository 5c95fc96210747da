# SPDX-License-Identifier: BSD-3-Clause
"""nat -- pairs the flows on both sides of a NAT, and says how the NAT behaves.

A NAT changes addresses and ports. It does not change, or not all of it at once,
the sequence numbers of TCP, the payload, and the moment:

    inside capture                     outside capture
    10.0.0.11:40000 > 203.0.113.10:80  203.0.113.1:17140 > 203.0.113.10:80
      marks of the first packets  <--->  the same marks, at about the same time

Each flow is seen as a `Sighting` with marks of its first packets; `pair()` finds
the sightings that are one flow; `Behaviour` puts what the pairs show in the
terms of RFC 4787.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from statistics import median_low
from typing import Any, NamedTuple

from mosbox.app import App
from mosbox.events import Flow, Packet

__all__ = ["Behaviour", "End", "Pair", "Sighting", "Watch", "pair"]

MARKED = 4  # packets of a flow that are marked, of both sides together
SILENCE = 1.0  # seconds: shorter ones say nothing of how long a mapping lives
SYN, ACK = 2, 16
ECHO = {1: (0, 8), 58: (128, 129)}  # ICMP types with an identifier that a NAT translates


class End(NamedTuple):
    """An address and a port; ICMP echo: the identifier."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@dataclass
class Sighting:
    """A flow as one side of the NAT shows it; times in ns since 1970."""

    proto: str
    src: End
    dst: End
    start: int
    last: int
    answered: bool = False
    marks: dict[object, int] = field(default_factory=dict)  # mark -> when it was seen
    idents: set[int] = field(default_factory=set)  # IP identifications: many NATs keep them
    number: int = 0  # flow.id: rises as flows begin


class Watch(App):
    """Collects the sightings of one capture."""

    def start(self) -> None:
        self.sightings: list[Sighting] = []

    def on_flow_start(self, flow: Flow) -> None:
        client, server = flow.client, flow.server
        now = self.engine.now
        ends = End(client.ip, client.port), End(server.ip, server.port)
        flow.data = Sighting(flow.proto, *ends, now, now, number=flow.id)
        flow.on("packet", self.mark)

    def mark(self, flow: Flow, packet: Packet) -> None:
        """Notes what a NAT leaves alone of one of the first packets."""
        seen: Sighting = flow.data
        if flow.ip_proto in ECHO and packet.icmp_type not in ECHO[flow.ip_proto]:
            flow.off("packet")  # an error about another flow has no mapping of its own
            flow.data = None
            return
        forward = packet.src == seen.src.ip
        seq = (packet.seq, packet.tcp_flags & (SYN | ACK)) if flow.ip_proto == 6 else None
        content = blake2b(packet.payload, digest_size=16).digest()  # small, however long that is
        seen.marks.setdefault((forward, seq, packet.icmp_type, content), self.engine.now)
        if forward and packet.ip_id:
            seen.idents.add(packet.ip_id)
        if flow.packets >= MARKED:
            flow.off("packet")

    def on_flow_end(self, flow: Flow) -> None:
        if flow.data is not None:
            flow.data.last = round(flow.last * 1e9)
            flow.data.answered = flow.answered
            self.sightings.append(flow.data)

    def merge(self, other: Watch) -> None:
        self.sightings += other.sightings

    def finish(self) -> None:
        self.sightings.sort(key=lambda seen: seen.number)


@dataclass
class Pair:
    """One flow, seen on both sides."""

    inside: Sighting
    outside: Sighting

    @cached_property
    def outbound(self) -> bool:
        """Whether it was opened from inside.

        A NAT rewrites the address on its own side: the source of what goes out, the
        destination of what comes in. Where it rewrote both, the clock tells.
        """
        same_source = self.inside.src == self.outside.src
        same_target = self.inside.dst == self.outside.dst
        if same_source != same_target:
            return same_target
        return self.inside.start <= self.outside.start

    @property
    def before(self) -> Sighting:
        """As its opener sent it."""
        return self.inside if self.outbound else self.outside

    @property
    def after(self) -> Sighting:
        """As it left the NAT."""
        return self.outside if self.outbound else self.inside

    @property
    def kind(self) -> str:
        """What was translated: "snat", "dnat", "snat+dnat", or "none"."""
        source = self.before.src != self.after.src
        target = self.before.dst != self.after.dst
        parts = ["snat"] * source + ["dnat"] * target
        return "+".join(parts) or "none"

    def record(self) -> dict[str, Any]:
        """The fields of its EVE-like record."""
        before, after = self.before, self.after
        return {
            "proto": before.proto,
            "src_ip": before.src.ip,
            "src_port": before.src.port,
            "dest_ip": before.dst.ip,
            "dest_port": before.dst.port,
            "nat": {
                "event": "create",
                "type": self.kind,
                "post_src_ip": after.src.ip,
                "post_src_port": after.src.port,
                "post_dest_ip": after.dst.ip,
                "post_dest_port": after.dst.port,
                "answered": before.answered,
                "duration": (before.last - before.start) / 1e9,
            },
        }


# ---- pairing


def _clock_offset(inside: list[Sighting], outside: list[Sighting]) -> int:
    """How far the outside clock is ahead of the inside one, ns: by marks that are unique."""

    def unique(sightings: list[Sighting]) -> dict[object, int]:
        found: dict[object, int] = {}
        twice = set()
        for seen in sightings:
            for mark, when in seen.marks.items():
                if mark in found:
                    twice.add(mark)
                found[mark] = when
        return {mark: when for mark, when in found.items() if mark not in twice}

    there = unique(outside)
    apart = [there[mark] - when for mark, when in unique(inside).items() if mark in there]
    return median_low(apart) if apart else 0


def _candidates(
    inside: list[Sighting], outside: list[Sighting], window: int, offset: int
) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """(how unlike, inside, outside) of all sightings that share a mark within the window."""
    by_mark: dict[object, list[int]] = defaultdict(list)
    for there, seen in enumerate(outside):
        for mark in seen.marks:
            by_mark[seen.proto, mark].append(there)
    for here, seen in enumerate(inside):
        shared: dict[int, int] = defaultdict(int)
        for mark, when in seen.marks.items():
            for there in by_mark.get((seen.proto, mark), ()):
                if abs(outside[there].marks[mark] - offset - when) <= window:
                    shared[there] += 1
        for there, marks in shared.items():
            other = outside[there]
            same_ends = (seen.src == other.src) + (seen.dst == other.dst)
            same_ident = not seen.idents.isdisjoint(other.idents)
            apart = abs(other.start - offset - seen.start)
            yield (-marks, -same_ends, -same_ident, apart), here, there


def pair(
    inside: list[Sighting], outside: list[Sighting], window: float = 1.0
) -> tuple[list[Pair], list[Sighting], list[Sighting]]:
    """Pairs, and what has no partner inside and outside.

    Likest first, each sighting once; `window` is how many seconds a packet may take
    through the NAT. Both clocks need not agree: their distance is measured.
    """
    offset = _clock_offset(inside, outside)
    found: dict[int, int] = {}
    taken: set[int] = set()
    for _, here, there in sorted(_candidates(inside, outside, round(window * 1e9), offset)):
        if here not in found and there not in taken:
            found[here] = there
            taken.add(there)
    pairs = [Pair(inside[here], outside[there]) for here, there in sorted(found.items())]
    only_inside = [seen for here, seen in enumerate(inside) if here not in found]
    only_outside = [seen for there, seen in enumerate(outside) if there not in taken]
    return pairs, only_inside, only_outside


# ---- behaviour


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" if whole else "none seen"


class Behaviour:
    """What the outbound pairs tell of the NAT, in the terms of RFC 4787."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        translated = (p for p in pairs if p.outbound and "snat" in p.kind)
        self.pairs = [p for p in translated if p.before.proto not in ("ICMP", "ICMPv6")]
        self.mapped: dict[tuple[str, End], list[Pair]] = defaultdict(list)
        for p in self.pairs:
            self.mapped[p.before.proto, p.before.src].append(p)

    def mapping(self) -> str:
        """RFC 4787 4.1: does one inside endpoint keep its outside endpoint?"""
        votes = {"endpoint-independent": 0, "address-dependent": 0, "address and port-dependent": 0}
        for pairs in self.mapped.values():
            by_address: dict[str, set[End]] = defaultdict(set)
            for p in pairs:
                by_address[p.before.dst.ip].add(p.after.src)
            if len({p.before.dst for p in pairs}) < 2 or self._expired(pairs):
                continue
            if any(len(ends) > 1 for ends in by_address.values()):
                votes["address and port-dependent"] += 1
            elif len(set().union(*by_address.values())) > 1:
                votes["address-dependent"] += 1
            else:
                votes["endpoint-independent"] += 1
        if not any(votes.values()):
            return "unknown: no inside endpoint spoke to two others"
        strictest = [name for name, count in votes.items() if count][-1]
        return f"{strictest} ({_share(votes[strictest], sum(votes.values()))} endpoints)"

    @staticmethod
    def _expired(pairs: list[Pair]) -> bool:
        """Whether one of them came back to the same place with another mapping."""
        seen: dict[End, End] = {}
        return any(seen.setdefault(p.before.dst, p.after.src) != p.after.src for p in pairs)

    def pooling(self) -> str:
        """RFC 4787 4.1: is one inside address always behind the same outside address?"""
        outside: dict[str, set[str]] = defaultdict(set)
        for p in self.pairs:
            outside[p.before.src.ip].add(p.after.src.ip)
        if not outside:
            return "unknown"
        return "paired" if all(len(ips) == 1 for ips in outside.values()) else "arbitrary"

    def ports(self) -> dict[str, Any]:
        """RFC 4787 4.2: preservation, parity, contiguity of range, overloading."""
        kept = sum(p.before.src.port == p.after.src.port for p in self.pairs)
        even = sum(p.before.src.port % 2 == p.after.src.port % 2 for p in self.pairs)
        changed = sorted(
            p.after.src.port for p in self.pairs if p.before.src.port != p.after.src.port
        )
        return {
            "port preservation": _share(kept, len(self.pairs)),
            "parity preservation": _share(even, len(self.pairs)),
            "ports assigned": f"{changed[0]}-{changed[-1]}" if changed else "none",
            "port overloading": _share(self._overloaded(), len(self.pairs)),
        }

    def _overloaded(self) -> int:
        """Pairs whose outside endpoint another inside endpoint had at the same time."""
        users: dict[tuple[str, End], list[Pair]] = defaultdict(list)
        for p in self.pairs:
            users[p.before.proto, p.after.src].append(p)
        return sum(
            any(
                q.before.src != p.before.src
                and q.before.start <= p.before.last
                and p.before.start <= q.before.last
                for q in users[p.before.proto, p.after.src]
            )
            for p in self.pairs
        )

    def timeouts(self) -> dict[str, str]:
        """RFC 4787 4.3: what idle times a mapping survived, and after which it was another."""
        kept: dict[str, float] = {}
        lost: dict[str, float] = {}
        for (proto, _), pairs in self.mapped.items():
            for earlier, later in pairwise(pairs):
                idle = (later.before.start - earlier.before.last) / 1e9
                if earlier.before.dst != later.before.dst or idle < SILENCE:
                    continue
                if earlier.after.src == later.after.src:
                    kept[proto] = max(kept.get(proto, 0), idle)
                else:
                    lost[proto] = min(lost.get(proto, idle), idle)
        found = {}
        for proto in sorted({*kept, *lost}):
            parts = [f"same after {kept[proto]:.1f} s idle"] if proto in kept else []
            parts += [f"another after {lost[proto]:.1f} s"] if proto in lost else []
            found[f"{proto} mapping"] = ", ".join(parts)
        return found

    def summary(self) -> dict[str, Any]:
        """All of it."""
        return {
            "mapping": self.mapping(),
            "address pooling": self.pooling(),
            **self.ports(),
            **self.timeouts(),
        }


def is_unicast(address: str) -> bool:
    """Whether a NAT would take a packet to this address further."""
    ip = ipaddress.ip_address(address)
    return not (
        ip.is_multicast or ip.is_link_local or ip.is_unspecified or address.endswith(".255")
    )
