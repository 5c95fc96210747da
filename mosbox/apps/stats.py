# SPDX-License-Identifier: BSD-3-Clause
"""stats: what flowed between whom."""

from __future__ import annotations

import time

from mosbox import App, option
from mosbox.app import Row
from mosbox.tally import Group, Measure, Tally

ROWS_A_TALKER = 4  # a tally of flows is exact for a quarter of its rows
NOT_COUNTERS = ("flows_active", "flows_ended", "flow_memory", "stream_memory", "stream_memory_peak")
NORMAL = ("frames", "frame_bytes", "kept", "flows", "flows_peak", "stream_bytes", "kernel_received")


class Stats(App):
    """Show what flowed between whom: totals, protocols, ports, hosts and top talkers.

    In a table (`-o table`, what a terminal gets) the flows are added up. Every
    other output has a record of each flow in the order in which flows end:
    JSON lines (what a pipe gets, see mosbox-json(7)), CSV, Suricata's EVE flow
    records or Zeek's conn.log.

        mosbox stats -r day.pcap --top 5 --by packets
        mosbox stats -i eth0 --interval 10 -o table tcp port 443
        mosbox stats -r day.pcap | jq 'select(.end_reason == "refused").src_ip'
    """

    flow_records = True

    top: int = option(10, help="how many ports, hosts and talkers a table shows", min=1, max=100000)
    by: Measure = option("bytes", help="what the largest are the largest by: bytes, packets, flows")
    interval: float | None = option(
        None, help="show the talkers each so many seconds of packet time", metavar="S", min=0.001
    )

    protocols: bool = option(False, help="look for application protocols, for app_proto in records")

    def start(self) -> None:
        if self.protocols:
            self.applications = Tally(self.engine, "app")
        self.tables = bool(self.outputs.of("table"))
        if not self.tables:
            if self.interval is not None:
                raise ValueError("--interval shows tables: add -o table")
            return  # nobody looks at groups, so none are made
        rows = max(4096, ROWS_A_TALKER * self.top)
        self.transports = Tally(self.engine, "protocol")
        self.ports = Tally(self.engine, "port")
        self.hosts = Tally(self.engine, "host")
        self.talkers = Tally(self.engine, "flow", rows if self.by == "bytes" else 0)
        if self.interval is not None and self.workers > 1:
            raise ValueError("--interval shows all flows while they run: it needs one worker")
        if self.interval is not None:
            self.packets = self.octets = 0
            self.every(self.interval, self.tick)

    def merge(self, other: Stats) -> None:
        """Tallies and counters are all there is, and merged already."""

    def tick(self) -> None:
        """What was new in the interval, and the talkers so far."""
        groups = self.transports.top(256)
        packets, octets = sum(g.packets for g in groups), sum(g.bytes for g in groups)
        seconds = self.interval or 1
        rates = (
            f"{(packets - self.packets) / seconds:.6g} packets/s, "
            f"{8 * (octets - self.octets) / seconds:.6g} bit/s"
        )
        self.packets, self.octets = packets, octets
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.now))
        active = self.engine.stats()["flows_active"]
        self.section(f"{when}: {rates}, {active} flows active", self.talker_rows())

    def finish(self) -> None:
        if not self.tables:
            return
        stats, top, by = self.engine.stats(), self.top, self.by
        transports = self.transports.top(256, by)
        self.section("Totals", [totals(stats, transports, len(self.hosts))])
        self.section("Protocols", [{"protocol": g.proto, **counts(g)} for g in transports])
        if self.protocols:
            found = self.applications.top(top, by)
            self.section("Applications", [{"name": g.app or "unknown", **counts(g)} for g in found])
        ports = [(f"{g.server_port}/{g.proto.lower()}", g) for g in self.ports.top(top, by)]
        self.section("Server ports", [{"port": port, **counts(g)} for port, g in ports])
        hosts = self.hosts.top(top, by)
        self.section("Hosts", [{"host": g.client, **counts(g), **halves(g)} for g in hosts])
        self.section("Top talkers", self.talker_rows())
        small = {"hosts": self.hosts.evicted, "server ports": self.ports.evicted}
        self.section("Also counted", counters(stats, small))

    def talker_rows(self) -> list[Row]:
        return [
            {
                "client": end(g.client, g.client_port),
                "server": end(g.server, g.server_port),
                "proto": g.app or g.proto,
                "packets": g.packets,
                "bytes": g.bytes,
                "seconds": round(g.last - g.first, 6),
            }
            for g in self.talkers.top(self.top, self.by)
        ]

    def section(self, title: str, rows: list[Row]) -> None:
        """A table under a title, if there is anything in it."""
        if rows:
            for output in self.outputs.of("table"):
                output.write(f"{title}\n")
            self.show(rows)


def totals(stats: Row, transports: list[Group], hosts: int) -> Row:
    first = min((g.first for g in transports), default=0.0)
    last = max((g.last for g in transports), default=0.0)
    found = {name: stats[name] for name in ("frames", "frame_bytes", "flows")}
    return {**found, "hosts": hosts, "seconds": round(last - first, 6)}


def counts(g: Group) -> Row:
    return {"flows": g.flows, "packets": g.packets, "bytes": g.bytes}


def halves(g: Group) -> Row:
    return {"bytes sent": g.bytes_sent, "bytes received": g.bytes_received}


def end(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def counters(stats: Row, small: dict[str, int]) -> list[Row]:
    """What was odd, let go or left out: the counters that are not zero."""
    odd = {
        n: v for n, v in stats.items() if isinstance(v, int) and n not in (*NORMAL, *NOT_COUNTERS)
    }
    odd = {n: v for n, v in odd.items() if not n.startswith("packets_")}
    odd |= {f"flows ended: {name}": n for name, n in stats["flows_ended"].items()}
    odd |= {f"anomaly: {name}": n for name, n in stats["anomalies"].items()}
    odd |= {f"{what} that made room for larger ones": n for what, n in small.items()}
    return [{"what": name.replace("_", " "), "count": n} for name, n in odd.items() if n]
