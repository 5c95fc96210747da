# SPDX-License-Identifier: BSD-3-Clause
"""The kernel as the judge of evasions: what its sockets read of hand-made packets.

test_evasion.py claims of each family what a host reads; test_stream_model.py has a model of what
Linux holds where segments overlap. Here a socket says whether that is so. What is sent into the
other namespace is never answered but by the kernel that is judged.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from itertools import count
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from network import Program, ip, why_not
from test_evasion import CASES, CLIENT, ENDS, Family, Wire
from test_stream_model import play, receiver

SEED = int(os.environ.get("MOSBOX_ORACLE_SEED", "1"))
SERIES = int(os.environ.get("MOSBOX_ORACLE", "60"))  # of overlapping segments
PORT, PORT_INLINE = 80, 81

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


class Bench:
    """Two namespaces: one whose kernel listens, one that only sends what it is told."""

    def __init__(self, stack: ExitStack) -> None:
        self.names = [f"mosbox-{os.getpid()}-{who}" for who in ("reader", "sender")]
        reader, sender = self.names
        for name in self.names:
            ip("netns", "add", name)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        ip(*f"link add veth netns {reader} type veth peer name veth netns {sender}".split())
        macs = [self._up(name) for name in self.names]
        for version, (client, server) in ENDS.items():
            bits, flags = ("/32", []) if version == 4 else ("/128", ["nodad"])
            ip("-n", reader, "addr", "add", server + bits, "dev", "veth", *flags)
            ip("-n", reader, "route", "add", client + bits, "dev", "veth")
            ip("-n", reader, "neigh", "add", client, "lladdr", macs[1], "dev", "veth")
        self.readers = {}
        for version, (_, server) in ENDS.items():
            self.readers[version] = self._start(
                stack, reader, "reader.py", server, str(PORT), str(PORT_INLINE)
            )
        self.sender = self._start(stack, sender, "sender.py", "veth", macs[0])
        self.client_ports = count(20000)
        self.found: dict[int, str] = {}

    def _up(self, name: str) -> str:
        ip("-n", name, "link", "set", "veth", "up")
        told = ["ip", "-j", "-n", name, "link", "show", "veth"]
        found = subprocess.run(told, check=True, capture_output=True, text=True)
        return str(json.loads(found.stdout)[0]["address"])

    def _start(self, stack: ExitStack, name: str, script: str, *words: str) -> Program:
        program = Program(name, script, *words)
        stack.callback(program.close)
        assert program.line() == "ready"
        return program

    def open(self, version: int, stamps: bool = False, inline: bool = True) -> Wire:
        """A connection to the kernel, opened by a SYN of ours."""
        wire = Wire(version, stamps, (next(self.client_ports), PORT_INLINE if inline else PORT))
        syn = bytes(wire.tcp("S", CLIENT, ack=0, options=[("MSS", 1460)]))
        self.sender.tell(json.dumps({"syn": syn.hex()}))
        wire.server = int(self.sender.line())
        return wire.open()

    def finish(self, wire: Wire) -> None:
        """Sends what the client has to say from its last packet of the handshake on. The server
        reads after each packet: a byte is urgent only until the next one is."""
        at = 12 if wire.version == 4 else 8
        client = ip_address(ENDS[wire.version][0]).packed
        for packet in wire.sent[1:]:
            if packet[at : at + len(client)] == client:
                self.sender.tell(json.dumps({"send": packet.hex()}))
                assert self.sender.line() == "sent"
                self._ask(wire.version)

    def _ask(self, version: int) -> None:
        self.readers[version].tell("and?")
        for port, text in json.loads(self.readers[version].line()).items():
            self.found[int(port)] = self.found.get(int(port), "") + text

    def read(self) -> dict[int, str]:
        """What was read, by client port, when all that was sent has arrived."""
        for version in self.readers:
            last = self.open(version)
            last.say(0, "the last")
            self.finish(last)
            while self.found.get(last.ports[0]) != "the last":
                self._ask(version)
        return self.found


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def test_sockets_read_what_the_families_claim(bench: Bench) -> None:
    told = [(family, version) for family, version in CASES if is_of_hosts(family)]
    ports = []
    for family, version in told:
        wire = bench.open(version, family.stamps, family.settings.get("urgent") != "oob")
        family.send(wire)
        bench.finish(wire)
        ports.append(wire.ports[0])
    read = bench.read()
    found = {
        f"{family} {version}": (read.get(port), family.reads)
        for (family, version), port in zip(told, ports, strict=True)
        if read.get(port) != family.reads
    }
    assert found == {}


def is_of_hosts(family: Family) -> bool:
    """A router on the way, which is not here, has no part in it."""
    return family.judged and not any(key.startswith("hops") for key in family.settings)


def series(lot: random.Random) -> list[tuple[int, str]]:
    """Overlapping pieces, none of which begins where another ends: the kernel joins such, if
    there happens to be room in the buffer of the first, and then takes them for one."""
    found: list[tuple[int, int]] = []
    while len(found) < lot.randint(2, 9):
        begin = lot.randint(1, 40)
        end = begin + lot.randint(1, 16)
        if all(begin != other and end != first for first, other in found):
            found.append((begin, end))
    return [(begin, chr(ord("A") + n) * (end - begin)) for n, (begin, end) in enumerate(found)]


def test_linux_holds_overlapping_segments_as_the_model_says(bench: Bench, tmp_path: Path) -> None:
    lot, sent = random.Random(SEED), []
    for number in range(SERIES):
        pieces, host = series(lot), receiver("linux")
        wire = bench.open(4 if number % 2 else 6)
        for at, text in pieces:
            host.take(at, text.encode())
            wire.say(at, text)
        end = max(at + len(text) for at, text in pieces)
        for at in range(end):  # what nobody has sent yet, byte by byte
            if at not in host.held and at >= len(host.read):
                host.take(at, b"-")
                wire.say(at, "-")
        sent.append((wire, host.read.decode()))
        bench.finish(wire)
    read = bench.read()
    for wire, model in sent:
        where = f"MOSBOX_ORACLE_SEED={SEED}"
        assert read[wire.ports[0]] == model, where
        heard = play(tmp_path, wire.frames(), overlap="linux")
        assert heard.bytes["client"].decode() == model, where
