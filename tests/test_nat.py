# SPDX-License-Identifier: BSD-3-Clause
"""Flows are paired across a NAT made of two captures, and the NAT's behaviour is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wire import Frame, Talk, ethernet, icmp, ip, udp, write_pcap

import mosbox
from mosbox.nat import Behaviour, End, Pair, Sighting, Watch

OUTSIDE = "203.0.113.1"
SERVERS = ("198.51.100.1", "198.51.100.2")
Frames = list[Frame]
CORPUS = Path(
    os.environ.get("MOSBOX_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"), "nat"
)


class Nat:
    """Both sides' frames of flows through a NAT whose port rule is given."""

    def __init__(self, port_of: Callable[[str, int, str], int], skew: float = 0.0) -> None:
        self.port_of = port_of
        self.skew = skew
        self.now = 1_700_000_000.0
        self.inside: Frames = []
        self.outside: Frames = []

    def _both(self, inside: bytes, outside: bytes) -> None:
        self.now += 0.01
        self.inside.append(Frame(inside, self.now))
        self.outside.append(Frame(outside, self.now + 0.0001 + self.skew))

    def tcp(self, host: str, port: int, server: str, isn: int) -> None:
        """A whole connection."""
        talk = Talk(src=host, dst=server, sport=port, client_seq=isn, server_seq=isn * 3)
        there = talk.copy(src=OUTSIDE, sport=self.port_of(host, port, server))
        for here, beyond in zip(
            talk.exchange(b"GET", b"200"), there.exchange(b"GET", b"200"), strict=True
        ):
            self._both(here, beyond)

    def udp(self, host: str, port: int, server: str, text: bytes) -> None:
        """A question and its answer."""
        mapped = self.port_of(host, port, server)
        self._both(
            ethernet(ip(host, server, 17, udp(host, server, port, 53, text))),
            ethernet(ip(OUTSIDE, server, 17, udp(OUTSIDE, server, mapped, 53, text))),
        )
        self._both(
            ethernet(ip(server, host, 17, udp(server, host, 53, port, text[::-1]))),
            ethernet(ip(server, OUTSIDE, 17, udp(server, OUTSIDE, 53, mapped, text[::-1]))),
        )

    def monitor(self, folder: Path) -> list[dict[str, Any]]:
        """The records of mosbox nat-monitor."""
        inside = write_pcap(folder / "inside.pcap", self.inside)
        outside = write_pcap(folder / "outside.pcap", self.outside)
        command = [sys.executable, "-m", "mosbox", "nat-monitor", "-o", "json"]
        command += ["--inside", str(inside), "--outside", str(outside)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return [json.loads(line) for line in run.stdout.splitlines()]


def bindings(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """(proto, type, source, port before, port after) of the created ones."""
    return [
        (
            r["proto"],
            r["nat"]["type"],
            r["src_ip"],
            r["src_port"],
            r["nat"]["post_src_port"],
        )
        for r in records
        if r["nat"]["event"] == "create"
    ]


@pytest.mark.parametrize("skew", [0.0, 3600.0, -7.5])
def test_flows_alike_are_told_apart_whatever_the_clocks_say(tmp_path: Path, skew: float) -> None:
    nat = Nat(lambda host, port, server: port + int(host[-1]) * 1000, skew)
    for n in (1, 2, 3):
        nat.tcp(f"10.0.0.{n}", 40000, SERVERS[0], isn=n * 1_000_003)
        nat.udp(f"10.0.0.{n}", 40000, SERVERS[0], b"same question %d" % n)
    got = bindings(nat.monitor(tmp_path))
    assert sorted(got) == sorted(
        (proto, "snat", f"10.0.0.{n}", 40000, 40000 + n * 1000)
        for n in (1, 2, 3)
        for proto in ("TCP", "UDP")
    )


def test_what_goes_in_and_does_not_come_out_is_lost(tmp_path: Path) -> None:
    nat = Nat(lambda host, port, server: port)
    nat.tcp("10.0.0.1", 40000, SERVERS[0], isn=11)
    nat.inside.append(
        Frame(
            ethernet(ip("10.0.0.1", SERVERS[1], 17, udp("10.0.0.1", SERVERS[1], 5, 6, b"x"))),
            nat.now + 1,
        )
    )
    lost = [r for r in nat.monitor(tmp_path) if r["nat"]["event"] == "lost"]
    assert [(r["dest_ip"], r["nat"]["direction"]) for r in lost] == [(SERVERS[1], "outbound")]


@pytest.mark.parametrize(
    ("port_of", "mapping"),
    [
        (lambda host, port, server: port, "endpoint-independent"),
        (lambda host, port, server: port + 100 * int(server[-1]), "address-dependent"),
    ],
)
def test_mapping_behaviour(
    tmp_path: Path, port_of: Callable[[str, int, str], int], mapping: str
) -> None:
    nat = Nat(port_of)
    for server in SERVERS:
        nat.udp("10.0.0.1", 5000, server, f"to {server}".encode())
    behaviour = nat.monitor(tmp_path)[-1]["nat"]
    assert behaviour["mapping"].startswith(mapping)
    assert behaviour["address pooling"] == "paired"


def test_a_mapping_that_changes_after_silence(tmp_path: Path) -> None:
    ports = iter([5000, 6001])
    nat = Nat(lambda host, port, server: next(ports))
    nat.udp("10.0.0.1", 5000, SERVERS[0], b"before")
    nat.now += 30
    nat.udp("10.0.0.1", 5000, SERVERS[0], b"after")
    records = nat.monitor(tmp_path)
    assert [b[3:] for b in bindings(records)] == [(5000, 5000), (5000, 6001)]
    assert records[-1]["nat"]["UDP mapping"] == "another after 30.0 s"


def test_forwarded_port_is_dnat(tmp_path: Path) -> None:
    nat = Nat(lambda host, port, server: port)
    opener = Talk(src="198.51.100.9", dst=OUTSIDE, sport=7000, dport=8080, client_seq=77)
    inner = opener.copy(dst="10.0.0.1", dport=80)
    for beyond, here in zip(opener.exchange(b"a", b"b"), inner.exchange(b"a", b"b"), strict=True):
        nat._both(here, beyond)
    (record,) = [r for r in nat.monitor(tmp_path) if r["nat"]["event"] == "create"]
    assert (record["src_ip"], record["dest_ip"], record["dest_port"]) == (
        "198.51.100.9",
        OUTSIDE,
        8080,
    )
    assert record["nat"]["type"] == "dnat"
    assert (record["nat"]["post_dest_ip"], record["nat"]["post_dest_port"]) == ("10.0.0.1", 80)


def test_icmp_errors_are_no_mappings(tmp_path: Path) -> None:
    nat = Nat(lambda host, port, server: port)
    quoted = ip("10.0.0.1", SERVERS[0], 17, udp("10.0.0.1", SERVERS[0], 9, 9, b"q"))
    nat._both(
        ethernet(ip(SERVERS[0], "10.0.0.1", 1, icmp(3, 3, payload=quoted[:28]))),
        ethernet(ip(SERVERS[0], OUTSIDE, 1, icmp(3, 3, payload=quoted[:28]))),
    )
    assert [r["nat"]["event"] for r in nat.monitor(tmp_path)] == ["behaviour"]


def test_the_marks_of_a_sighting_are_small(tmp_path: Path) -> None:
    here, there = "10.0.0.1", SERVERS[0]
    frame = ethernet(ip(here, there, 17, udp(here, there, 4000, 53, bytes(1000))))
    [seen] = mosbox.run(Watch, write_pcap(tmp_path / "x.pcap", [frame])).sightings
    [(_, _, _, content)] = seen.marks
    assert len(content) == 16


@pytest.mark.parametrize(("proto", "ports"), [("UDP", 1), ("ICMP", 0), ("ICMPv6", 0)])
def test_only_protocols_with_ports_tell_of_the_mapping(proto: str, ports: int) -> None:
    remote = End(SERVERS[0], 7)
    before = Sighting(proto, End("10.0.0.1", 7), remote, 0, 0)
    after = Sighting(proto, End(OUTSIDE, 9), remote, 0, 0)
    assert len(Behaviour([Pair(before, after)]).pairs) == ports


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus folder is not here")
def test_a_real_nat() -> None:
    command = [sys.executable, CORPUS / "grade.py", "--mosbox", f"{sys.executable} -m mosbox"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    recall, precision = (
        float(run.stdout.split(word + " ")[1].split()[0]) for word in ("recall", "precision")
    )
    assert recall >= 0.95 and precision >= 0.95, run.stdout
