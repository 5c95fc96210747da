# SPDX-License-Identifier: BSD-3-Clause
"""nat-monitor: show what a NAT does, from captures of both its sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mosbox import Command, option, run
from mosbox.nat import Behaviour, Pair, Sighting, Watch, is_unicast, pair
from mosbox.workers import parse_workers

# A mapping that was idle for longer may be another one afterwards, so longer
# silences end a flow here: its parts are paired each by itself.
IDLE = {"timeouts.udp": "4s", "timeouts.icmp": "4s"}


class NatMonitor(Command):
    """Pair the flows on both sides of a NAT and report its mappings.

    Two captures of the same time are read, one of each side. Flows are paired by what
    a NAT cannot hide: sequence numbers, payload, IP identification and time. Reported
    are the bindings, flows that went in and did not come out, and the behaviour of the
    NAT in the terms of RFC 4787: mapping, address pooling, port preservation and
    parity, overloading, and what idle times mappings survive.
    """

    common = ("workers",)
    workers: str | None = None

    inside: list[Path] = option(
        help="capture of the inside; several are read in order", metavar="FILE"
    )
    outside: list[Path] = option(help="capture of the outside", metavar="FILE")
    window: float = option(1.0, help="seconds that a packet may take through the NAT", min=0)

    def main(self) -> None:
        here, there = (self.sightings(files) for files in (self.inside, self.outside))
        pairs, only_inside, only_outside = pair(here, there, self.window)
        bindings = self.bindings(pairs)
        lost = self.lost("outbound", only_inside) + self.lost("inbound", only_outside)
        behaviour = Behaviour(pairs).summary()
        end = max((seen.last for seen in here + there), default=0)
        fields = {"nat": {"event": "behaviour", **behaviour}}
        self.outputs.record(self.name, "nat", end, None, fields)
        self.outputs.table(bindings)
        self.outputs.table(lost)
        self.outputs.table([{"NAT": name, "seen": value} for name, value in behaviour.items()])

    def sightings(self, files: list[Path]) -> list[Sighting]:
        """The flows of one side."""
        workers = parse_workers(self.workers or 1)
        read = [str(file) for file in files]
        return run(Watch, read=read, settings=IDLE, workers=workers).sightings

    def bindings(self, pairs: list[Pair]) -> list[dict[str, Any]]:
        """Reports each binding once, however often it was used; gives them as a table."""
        used: dict[tuple[Any, ...], int] = {}
        rows = []
        for p in pairs:
            before, after = p.before, p.after
            key = (before.proto, before.src, before.dst, after.src, after.dst)
            used[key] = used.get(key, 0) + 1
            if p.kind == "none" or used[key] > 1:
                continue
            self.outputs.record(self.name, "nat", before.start, None, p.record())
            rows.append(
                {
                    "proto": before.proto,
                    "type": p.kind,
                    "from": str(before.src),
                    "to": str(before.dst),
                    "as": str(after.src if "snat" in p.kind else after.dst),
                    "answered": "yes" if before.answered else "no",
                }
            )
        return rows

    def lost(self, direction: str, alone: list[Sighting]) -> list[dict[str, Any]]:
        """Reports flows that one side shows and the other does not."""
        rows = []
        for seen in alone:
            if not is_unicast(seen.dst.ip):
                continue
            fields = {
                "proto": seen.proto,
                "src_ip": seen.src.ip,
                "src_port": seen.src.port,
                "dest_ip": seen.dst.ip,
                "dest_port": seen.dst.port,
                "nat": {"event": "lost", "direction": direction},
            }
            self.outputs.record(self.name, "nat", seen.start, None, fields)
            ends = {"from": str(seen.src), "to": str(seen.dst)}
            rows.append({"lost": direction, "proto": seen.proto, **ends})
        return rows
