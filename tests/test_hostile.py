# SPDX-License-Identifier: BSD-3-Clause
"""Truncated, garbage and mutated captures: a clear message or counters, exit 0 or 1, no more.

MOSBOX_HOSTILE=N asks for N mutations of each capture (`make hostile N=...`), MOSBOX_CORPUS
names a folder whose captures are mutated too. Each failure names the seed that makes it again.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from program import MOSBOX, environment
from test_l7fw import POLICY, mixture
from wire import Frame, Talk, ethernet, fragments, ip, merge, tcp_options, udp, write_pcap

import mosbox

TOP = Path(__file__).parent.parent
CORPUS = Path(os.environ.get("MOSBOX_CORPUS", TOP.parent / "shared" / "corpus"))
SEED = int(os.environ.get("MOSBOX_SEED", "1"))
MUTATIONS = int(os.environ.get("MOSBOX_HOSTILE", "2"))
SAMPLE = 12  # captures of the corpus in a run that asks for no more
MAX_BYTES = 1 << 20  # of a capture that is mutated
TIMEOUT = 120

RULES = """\
alert tcp any any -> any any (msg:"a"; content:"GET"; sid:1;)
alert http any any -> any any (msg:"b"; http.uri; content:"/a"; sid:2;)
alert tls any any -> any any (msg:"c"; tls.sni; content:"example"; sid:3;)
alert dns any any -> any any (msg:"d"; dns.query; content:"example"; sid:4;)
alert ip any any -> any any (msg:"e"; pcre:"/[a-z]{4}/"; sid:5;)
"""


# ---- captures


def own_captures(folder: Path) -> list[Path]:
    """What the stack is made of, in a few files: protocols, fragments, VLANs, tunnels, IPv6."""
    talk = Talk(options=tcp_options(ts=(1, 2)), vlans=(5, 7))
    six = Talk(src="2001:db8::1", dst="2001:db8::2")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    long = udp("10.0.0.1", "10.0.0.2", 9, 9, bytes(range(256)) * 8)
    pieces = fragments(ip("10.0.0.1", "10.0.0.2", 17, long), 400)
    inner = ethernet(ip("10.1.0.1", "10.1.0.2", 17, udp("10.1.0.1", "10.1.0.2", 7, 53, b"x" * 40)))
    vxlan = udp("10.0.0.1", "10.0.0.2", 4000, 4789, b"\x08\0\0\0\0\0\x07\0" + inner)
    stack = [
        *merge(
            talk.exchange(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", chunked),
            six.exchange(b"x" * 3000, b"y" * 5000),
        ),
        *map(ethernet, pieces),
        *map(ethernet, reversed(pieces)),
        ethernet(ip("10.0.0.1", "10.0.0.2", 17, vxlan)),
        ethernet(
            ip("10.0.0.1", "10.0.0.2", 4, ip("10.2.0.1", "10.2.0.2", 1, b"\x08\0\xf7\xff\0\0\0\0"))
        ),
        ethernet(b"\0\1\x08\0\6\4\0\1" + bytes(20), kind=0x0806),
    ]
    return [
        write_pcap(folder / "mixture.pcap", mixture()),
        write_pcap(folder / "stack.pcap", stack, nanoseconds=True, big_endian=True),
        write_pcap(folder / "snapped.pcap", [Frame(f[:70], wire=len(f)) for f in stack]),
    ]


def corpus_captures() -> list[Path]:
    found = sorted(
        p for p in CORPUS.rglob("*") if p.suffix in (".pcap", ".pcapng", ".trace", ".cap")
    )
    found = [p for p in found if 0 < p.stat().st_size <= 64 * MAX_BYTES]
    if "MOSBOX_HOSTILE" not in os.environ:
        random.Random(SEED).shuffle(found)
        found = sorted(found[:SAMPLE])
    return found


# ---- what is done to them


def cut(data: bytearray, lot: random.Random) -> bytes:
    return bytes(data[: lot.randrange(len(data))])


def flip(data: bytearray, lot: random.Random) -> bytes:
    """Some bytes anywhere."""
    for _ in range(lot.randint(1, max(1, len(data) // 50))):
        data[lot.randrange(len(data))] = lot.randrange(256)
    return bytes(data)


def bend(data: bytearray, lot: random.Random) -> bytes:
    """Some bytes after the file's own header, so that the file is read for long."""
    for _ in range(lot.randint(1, 40)):
        if len(data) > 60:
            data[lot.randrange(40, len(data))] = lot.choice(
                (0, 1, 127, 128, 255, lot.randrange(256))
            )
    return bytes(data)


def splice(data: bytearray, lot: random.Random) -> bytes:
    """A part goes, comes again, or turns to noise."""
    at, length = lot.randrange(len(data)), lot.randint(1, 500)
    part = bytes(data[at : at + length])
    instead = lot.choice((b"", part * 3, lot.randbytes(length)))
    return bytes(data[:at]) + instead + bytes(data[at + length :])


def garbage(data: bytearray, lot: random.Random) -> bytes:
    """Noise behind the header of a file."""
    return bytes(data[: lot.choice((0, 4, 24, 40))]) + lot.randbytes(lot.randint(0, 3000))


MUTATORS: tuple[Callable[[bytearray, random.Random], bytes], ...] = (
    bend,
    cut,
    flip,
    splice,
    garbage,
)


def mutants(capture: Path, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` mutations, each of a kind and a seed of its own."""
    with capture.open("rb") as file:
        data = file.read(MAX_BYTES)
    for number in range(count):
        kind = MUTATORS[number % len(MUTATORS)]
        name = f"{capture.name} {kind.__name__} MOSBOX_SEED={SEED} mutation {number}"
        yield name, kind(bytearray(data), random.Random(f"{SEED} {capture.name} {number}"))


# ---- what has to hold


@dataclass
class Programs:
    """The command lines that every capture goes through."""

    folder: Path

    def __post_init__(self) -> None:
        (self.folder / "p.yaml").write_text(POLICY)
        (self.folder / "x.rules").write_text(RULES)
        known = {p.stem for p in (Path(mosbox.__file__).parent / "apps").glob("*.py")}
        policy, rules = str(self.folder / "p.yaml"), str(self.folder / "x.rules")
        self.commands = [["stats", "-o", "json"], ["stats", "-o", "table", "--checksums", "verify"]]
        self.commands += [["l7fw", "-P", policy, "-o", "json", "-w", "/dev/null"]]
        if "ids" in known:
            self.commands += [["ids", "--rules", rules, "-o", "json"]]
        if "nat_monitor" in known:
            self.commands += [["nat-monitor", "-o", "json"]]

    def words(self, command: list[str], path: Path) -> list[str]:
        if command[0] == "nat-monitor":
            return [*command, "--inside", str(path), "--outside", str(path)]
        return [*command, "-r", str(path)]

    def check(self, name: str, path: Path, command: list[str]) -> None:
        words = [*MOSBOX, *self.words(command, path)]
        done = subprocess.run(
            words, capture_output=True, timeout=TIMEOUT, env=environment(), check=False
        )
        said = done.stderr.decode(errors="replace")
        about = f"{name}: mosbox {' '.join(command)}: exit {done.returncode}\n{said[-4000:]}"
        assert done.returncode in (0, 1), about
        assert (
            "Traceback" not in said and "Sanitizer" not in said and "runtime error" not in said
        ), about
        assert done.returncode == 0 or said.startswith("mosbox: "), about


def put_through(programs: Programs, capture: Path, count: int, tmp_path: Path) -> None:
    """Each mutation through a program in turn; each program sees each kind of mutation."""
    path = tmp_path / "mutant"
    for number, (name, data) in enumerate(mutants(capture, count)):
        path.write_bytes(data)
        turn = number + number // len(MUTATORS) + sum(map(ord, capture.name))
        programs.check(name, path, programs.commands[turn % len(programs.commands)])


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return Programs(tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize("which", range(3), ids=["mixture", "stack", "snapped"])
def test_own_captures(which: int, programs: Programs, tmp_path: Path) -> None:
    capture = own_captures(tmp_path)[which]
    for command in programs.commands:
        programs.check(capture.name, capture, command)
    put_through(programs, capture, 5 * MUTATIONS, tmp_path)


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\xd4\xc3\xb2\xa1", b"\x1f\x8b\x08", b"A" * 100], ids=len
)
def test_what_is_no_capture(data: bytes, programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    for command in programs.commands:
        programs.check(repr(data[:8]), tmp_path / "x", command)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of captures beside the tree")
@pytest.mark.parametrize("capture", corpus_captures(), ids=lambda p: f"{p.parent.name}-{p.name}")
def test_corpus(capture: Path, programs: Programs, tmp_path: Path) -> None:
    put_through(programs, capture, MUTATIONS, tmp_path)
