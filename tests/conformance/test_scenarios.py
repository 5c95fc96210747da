# SPDX-License-Identifier: BSD-3-Clause
"""The scenarios that a case file cannot tell: many flows, timers, broken bytes, the program.

A test is named for its scenario: test_66_... is counted as a case of 66 (test_cases.py).
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from case import fill, read_cases
from program import environment, mosbox
from wire import (
    ACK,
    SYN,
    Frame,
    Talk,
    ethernet,
    fragments,
    icmp,
    ip,
    merge,
    tcp,
    tcp_options,
    udp,
    write_pcap,
)

from mosbox import App, Flow, run
from mosbox._core import ffi, lib
from mosbox.engine import Engine

SEED = int(os.environ.get("MOSBOX_SEED", "1"))


# ---- 66: collisions


class Counted(App):
    """Keeps the counters of the run."""

    def finish(self) -> None:
        self.stats = self.engine.stats()


class Hashes(Counted):
    """The hash of each packet."""

    def start(self) -> None:
        self.hashes: list[int] = []

    def on_raw(self, packet: Any) -> None:
        self.hashes.append(packet._c.hash)


def hashes_of(pcap: Path, **settings: Any) -> list[int]:
    return run(Hashes, read=str(pcap), settings=settings).hashes


def datagrams(ports: Iterable[int]) -> Iterator[bytes]:
    for port in ports:
        for ends in ((port, 53), (53, port)):  # both directions of a flow
            a, b = ("10.0.0.1", "192.0.2.1") if ends[0] == port else ("192.0.2.1", "10.0.0.1")
            yield ethernet(ip(a, b, 17, udp(a, b, *ends, b"x")))


def test_66_collisions_found_for_one_seed_are_none_for_another(tmp_path: Path) -> None:
    """Who knows the function but not the seed cannot make flows that share a bucket."""
    pcap = write_pcap(tmp_path / "many.pcap", datagrams(range(1024, 9216)))
    known = hashes_of(pcap, seed=1)
    assert known[::2] == known[1::2]
    attack = [port for port, h in zip(range(1024, 9216), known[::2], strict=True) if h % 256 == 7]
    assert len(attack) > 16
    pcap = write_pcap(tmp_path / "attack.pcap", datagrams(attack))
    assert {h % 256 for h in hashes_of(pcap, seed=1)} == {7}
    for seed in range(2, 12):
        buckets = Counter(h % 256 for h in hashes_of(pcap, seed=seed)[::2])
        assert max(buckets.values()) <= 5, f"seed {seed}"


def test_66_runs_choose_seeds_of_their_own(tmp_path: Path) -> None:
    pcap = write_pcap(tmp_path / "few.pcap", datagrams(range(1024, 1040)))
    assert hashes_of(pcap) != hashes_of(pcap)
    assert hashes_of(pcap, seed=5) == hashes_of(pcap, seed=5)


def test_66_flows_in_one_bucket_are_all_found(tmp_path: Path) -> None:
    """Even who knows the seed: it costs time, no flow is lost, mixed up or made twice."""
    pcap = write_pcap(tmp_path / "many.pcap", datagrams(range(1024, 9216)))
    known = hashes_of(pcap, seed=1)[::2]
    attack = [port for port, h in zip(range(1024, 9216), known, strict=True) if h % 64 == 7]
    pcap = write_pcap(tmp_path / "attack.pcap", [*datagrams(attack)] * 2)
    stats = run(Hashes, read=str(pcap), settings={"seed": 1}).stats
    assert stats["flows"] == stats["flows_peak"] == len(attack) > 64


# ---- 68: timers


def ticking(seconds: int) -> list[Frame]:
    """A packet each second, and a flow that ends after three of them."""
    talk, last = Talk(), Talk(sport=9).handshake()[0]
    told = [*talk.handshake(), talk.reset()]
    return [
        *(Frame(frame, 1000.0 + n) for n, frame in enumerate(told)),
        *(Frame(last, 1004.0 + n) for n in range(seconds - 4)),
    ]


class Timers(App):
    """What its timers tell, in order."""

    def start(self) -> None:
        self.told: list[str] = []
        self.bound: list[int] = []
        self.first = 0

    def tell(self, what: str) -> None:
        self.told.append(f"{what} {self.now - 1000:.0f}")

    def on_flow_start(self, flow: Flow) -> None:
        if self.first:
            return
        self.first = flow.id
        self.after(2.8, lambda: self.tell("once"))
        self.after(2.8, lambda: self.tell("made later, the same time"))
        self.after(1.5, lambda: self.tell("made last, due first"))
        never = self.after(1.75, lambda: self.tell("never"))
        self.cancel(never)
        self.cancel(never)  # twice is fine
        self.third = self.every(2.9, self.turn)
        self.turns = 0
        flow.after(0.9, lambda flow: self.tell(f"flow {flow.id}"))
        self.cancel(flow.after(2, lambda flow: self.tell("never")))
        flow.after(3.5, lambda flow: self.tell("never: the flow was reset and is gone"))

    def turn(self) -> None:
        self.turns += 1
        self.tell(f"turn {self.turns}")
        if self.turns == 3:
            self.cancel(self.third)

    def on_flow_end(self, flow: Flow) -> None:
        self.tell(f"end of flow {flow.id}")


def test_68_timers_of_an_app(tmp_path: Path) -> None:
    pcap = write_pcap(tmp_path / "x.pcap", ticking(18))
    told = run(Timers, read=str(pcap), settings={"timeouts.tcp_reset": "0.1s"}).told
    assert told[:-1] == [
        "flow 8 1",
        "made last, due first 2",
        "once 3",
        "made later, the same time 3",
        "turn 1 3",
        "end of flow 8 4",
        "turn 2 6",
        "turn 3 9",
    ]


class CoreTimers:
    """An engine of its own, and what the timers of one of its monitors tell."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.engine = Engine()
        self.monitor = self.engine.monitor("timers")
        self.keep: list[Any] = []  # callbacks that C holds
        self.flow: Any = None
        self.listen(lib.MB_EV_FLOW_START, self.on_start)

    def callback(self, call: Any) -> Any:
        def answer(ev: Any, arg: Any) -> int:
            call(ev)
            return 0

        self.keep.append(ffi.callback("mb_callback", answer))
        return self.keep[-1]

    def listen(self, event: int, call: Any) -> None:
        code = lib.mb_on(
            self.monitor, ffi.NULL, event, lib.MB_HOOK_NONE, self.callback(call), ffi.NULL
        )
        assert code == 0

    def on_start(self, ev: Any) -> None:
        self.flow = ev.flow

    def timer(self, name: str, after: float, every: float = 0, bound: bool = False) -> int:
        def tell(ev: Any) -> None:
            self.told.append(f"{name} {(ev.ts - 10**12) / 1e9:g}")

        flow = self.flow if bound else ffi.NULL
        call = self.callback(tell)
        number: int = lib.mb_timer_add(
            self.monitor, flow, int(after * 1e9), int(every * 1e9), call, ffi.NULL
        )
        assert number > 0
        return number

    def frame(self, frame: bytes, seconds: float) -> None:
        c = ffi.new("struct mb_frame *")
        data = ffi.from_buffer(frame)
        c.ts, c.data, c.caplen, c.wirelen = int(seconds * 1e9), data, len(frame), len(frame)
        self.engine.check(lib.mb_engine_frame(self.engine.c, 1, c))

    def until(self, seconds: float) -> list[str]:
        """What the timers tell up to then."""
        self.told.clear()
        self.engine.check(lib.mb_engine_advance(self.engine.c, int((1000 + seconds) * 1e9)))
        return list(self.told)


def test_68_timers_of_the_core() -> None:
    core = CoreTimers()
    core.frame(Talk().handshake()[0], 1000)
    core.timer("b", 2)
    core.timer("c", 2)
    core.timer("a", 1)
    turn = core.timer("turn", 3, every=4)
    core.timer("bound", 4, bound=True)
    core.timer("bound late", 6, bound=True)
    killed = core.timer("never", 1.5)
    assert lib.mb_timer_del(core.monitor, killed) == 0
    assert lib.mb_timer_del(core.monitor, killed) == lib.MB_ENOENT
    assert core.until(2.5) == ["a 1", "b 2", "c 2"]
    assert core.until(4.5) == ["turn 3", "bound 4"]
    assert core.until(6.5) == []  # its SYN was not answered: the flow ended after 5 s
    assert core.until(20) == ["turn 7"]  # a jump over several turns is one
    assert core.until(24) == ["turn 23"]
    assert lib.mb_timer_del(core.monitor, turn) == 0
    assert core.until(100) == []
    core.engine.close()


def test_68_a_timer_of_the_core_cancels_itself() -> None:
    core, codes = CoreTimers(), []
    core.frame(Talk().handshake()[0], 1000)
    own = 0

    def cancel(ev: Any) -> None:
        codes.append(lib.mb_timer_del(core.monitor, own))

    call = core.callback(cancel)
    own = lib.mb_timer_add(core.monitor, ffi.NULL, 10**9, 10**9, call, ffi.NULL)
    core.until(10)
    core.until(20)
    assert codes == [0]
    core.engine.close()


# ---- 113, 114: workers


class Diary(Counted):
    """Notes every event of every flow, as records."""

    def note(self, flow: Flow, what: str, *more: object) -> None:
        self.emit("note", flow, what=" ".join(map(str, (what, *more))))

    def on_flow_start(self, flow: Flow) -> None:
        self.note(flow, "start")

    def on_state_change(self, flow: Flow, change: Any) -> None:
        self.note(flow, change.side, change.old, change.new)

    def on_data(self, flow: Flow, data: Any) -> None:
        self.note(flow, data.side, data.offset, len(data), zlib.crc32(data.view))

    def on_gap(self, flow: Flow, gap: Any) -> None:
        self.note(flow, gap.side, gap.offset, gap.length)

    def on_anomaly(self, flow: Flow | None, anomaly: Any) -> None:
        if flow is not None:
            self.note(flow, anomaly.reason)

    def on_http_request(self, flow: Flow, http: Any) -> None:
        self.note(flow, http.target)

    def on_flow_end(self, flow: Flow) -> None:
        self.note(flow, flow.end_reason or "", flow.client.packets, flow.server.packets)

    def merge(self, other: Diary) -> None: ...


def tuples(count: int, lot: random.Random) -> Iterator[bytes]:
    """A question and an answer of `count` pairs of ends, the answers long after the questions."""
    asked: list[bytes] = []
    for n in range(count):
        version = 4 if n % 2 else 6
        a, b = (str(ip_address(lot.randbytes(4 if version == 4 else 16))) for _ in "ab")
        sport, dport = lot.randrange(1, 65536), lot.randrange(1, 65536)
        body = n.to_bytes(4, "big")
        asked.append(ethernet(ip(b, a, 17, udp(b, a, dport, sport, body))))
        yield ethernet(ip(a, b, 17, udp(a, b, sport, dport, body)))
        if len(asked) > 500:
            yield asked.pop(lot.randrange(len(asked)))
    yield from asked


class Both(Counted):
    """Counts flows, and those of which both directions came."""

    def on_flow_end(self, flow: Flow) -> None:
        self.count("flows")
        self.count("both ways", bool(flow.client.packets and flow.server.packets))

    def merge(self, other: Both) -> None: ...


def test_113_both_directions_of_a_flow_come_to_one_worker(tmp_path: Path) -> None:
    """Random ends, IPv4 and IPv6: who saw one direction only would tell of two flows."""
    lot, count = random.Random(SEED), 20_000
    pcap = write_pcap(tmp_path / "x.pcap", tuples(count, lot), step=0.0001)
    plain = {"decap": "none"}  # some ports are a tunnel's
    for workers in (1, 2, 5):
        done = run(Both, read=str(pcap), settings=plain, workers=workers)
        assert (done.counters["flows"], done.counters["both ways"]) == (count, count), workers


def test_114_each_flow_has_its_events_in_one_order(tmp_path: Path) -> None:
    """What several workers tell is what one tells, all flows in one order."""
    lot, talks = random.Random(SEED), []
    for n in range(40):
        talk = Talk(src=f"10.0.{n}.1", sport=1024 + n)
        frames = talk.exchange(b"GET /%d HTTP/1.1\r\n\r\n" % n, b"x" * 900, mss=100)
        at = lot.randrange(3, len(frames) - 4)
        frames[at], frames[at + 1] = frames[at + 1], frames[at]
        if n % 4 == 0:
            del frames[at]
        talks.append(frames)
    cut = fragments(Talk(src="10.1.0.1").packet("client", ACK, b"z" * 300), 64)
    frames = [*merge(*talks), *map(ethernet, cut)]
    pcap = write_pcap(tmp_path / "x.pcap", frames)
    alone = run(Diary, read=str(pcap), settings={"seed": 1})
    assert len(alone.records) > 900
    for workers in (2, 3, 7):
        several = run(Diary, read=str(pcap), settings={"seed": 9}, workers=workers)
        assert several.records == alone.records, f"{workers} workers, MOSBOX_SEED={SEED}"


# ---- 115: mutated packets


def mixture() -> list[bytes]:
    """A few packets of each kind that there is code for."""
    talk = Talk(options=tcp_options(ts=(1, 2)), vlans=(5, 7))
    six = Talk(src="2001:db8::1", dst="2001:db8::2")
    long = ip("10.0.0.1", "10.0.0.2", 17, udp("10.0.0.1", "10.0.0.2", 9, 9, bytes(range(256)) * 4))
    inner = ethernet(ip("10.1.0.1", "10.1.0.2", 17, udp("10.1.0.1", "10.1.0.2", 7, 53, b"x" * 40)))
    vxlan = udp("10.0.0.1", "10.0.0.2", 4000, 4789, b"\x08\0\0\0\0\0\x07\0" + inner)
    lost = ip("10.0.0.1", "192.0.2.80", 6, tcp("10.0.0.1", "192.0.2.80", 1, 2, SYN))
    return [
        *talk.exchange(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello"),
        *six.exchange(b"SSH-2.0-x\r\n", b"SSH-2.0-y\r\n"),
        *map(ethernet, fragments(long, 400)),
        *map(ethernet, fragments(six.packet("client", ACK, b"z" * 500), 104)),
        ethernet(ip("10.0.0.1", "10.0.0.2", 17, vxlan)),
        ethernet(ip("192.0.2.80", "10.0.0.1", 1, icmp(3, 1, payload=lost[:28]))),
        ethernet(b"\0\1\x08\0\6\4\0\1" + bytes(20), kind=0x0806),
    ]


def mutated(frame: bytes, count: int, lot: random.Random) -> bytes:
    """`count` bytes changed, and now and then the end cut off."""
    out = bytearray(frame)
    for _ in range(count):
        out[lot.randrange(len(out))] = lot.choice((0, 1, 127, 128, 255, lot.randrange(256)))
    return bytes(out[: lot.randint(1, len(out))] if lot.random() < 0.1 else out)


@pytest.mark.parametrize("exponent", range(8))
def test_115_packets_with_so_many_bytes_changed(tmp_path: Path, exponent: int) -> None:
    """2^n bytes of each packet: every flow ends once, every frame is counted, nothing is kept."""
    lot, kept = random.Random(f"{SEED} {exponent}"), mixture()
    frames = [mutated(frame, 2**exponent, lot) for _ in range(10) for frame in kept]
    times = [1000 + n / 100 + lot.choice((0, 0, 0, -5, 3600)) for n in range(len(frames))]
    pcap = write_pcap(tmp_path / "x.pcap", map(Frame, frames, times))

    class All(Counted):
        """Asks for everything."""

        history = 100

        def start(self) -> None:
            self.open: set[int] = set()
            self.ended = 0

        def on_flow_start(self, flow: Flow) -> None:
            self.open.add(flow.id)

        def on_flow_end(self, flow: Flow) -> None:
            self.open.remove(flow.id)
            self.ended += 1

        def on_data(self, flow: Flow, data: Any) -> None: ...
        def on_http_request(self, flow: Flow, http: Any) -> None: ...
        def on_ssh(self, flow: Flow, ssh: Any) -> None: ...
        def on_dns(self, flow: Flow, dns: Any) -> None: ...
        def on_anomaly(self, flow: Flow | None, anomaly: Any) -> None: ...

    done = run(All, read=str(pcap), settings={"seed": SEED})
    stats, where = done.stats, f"MOSBOX_SEED={SEED}"
    assert (done.open, done.ended) == (set(), stats["flows"]), where
    assert stats["frames"] == stats["kept"] == len(frames), where
    assert sum(stats["flows_ended"].values()) == stats["flows"], where


# ---- 116: nothing leaks


def crowd(flows: int) -> Iterator[Frame]:
    """Flows in all states: unanswered, open with bytes behind a hole, closed, fragments."""
    talk = Talk(src="2001:db8::", dst="2001:db8:ffff::")
    opening = talk.handshake()
    piece = ethernet(fragments(talk.packet("client", ACK, b"z" * 50), 16)[1])
    hole = talk.segment("server", ACK, b"y", talk.server_seq + 1000)
    data = talk.client(b"x" * 20)
    shapes = (
        opening[:1],
        [*opening, data, hole],
        [*opening, data, *talk.close()],
        [*opening[:2], piece],
    )
    for number in range(flows):
        address, now = number.to_bytes(4, "big"), 1000 + number / 5000
        for frame in shapes[number % len(shapes)]:
            at = 34 if frame[26:28] == b"\0\0" else 50  # the client's: of source or destination
            yield Frame(frame[:at] + address + frame[at + 4 :], now)


LEAK = """
import ctypes, sys
from mosbox._core import ffi, lib

class Mallinfo(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Mallinfo

@ffi.callback("mb_callback")
def hear(ev, arg):
    return 0

def run(frames):
    config = ffi.new("struct mb_config *")
    lib.mb_config_init(config)
    config.max_flows, config.seed, config.max_fragments = 2000, 1, 1000
    e = lib.mb_engine_new(config, ffi.NULL)
    m = lib.mb_monitor_new(e, b"leak", ffi.NULL)
    lib.mb_monitor_history(m, 100)
    for event in (lib.MB_EV_DATA, lib.MB_EV_HTTP_REQUEST):
        assert lib.mb_on(m, ffi.NULL, event, 0, hear, ffi.NULL) == 0
    source = lib.mb_source_file(sys.argv[1].encode(), ffi.NULL)
    assert lib.mb_engine_run(e, source, frames) >= 0
    stats = ffi.new("struct mb_stats *")
    lib.mb_engine_stats(e, stats)
    lib.mb_source_free(source)
    lib.mb_engine_free(e)  # flows, streams and fragments are still there: no finish
    return stats

def used():
    m = mallinfo()
    return m.uordblks + m.hblkhd

run(0)
before = used()
for frames in (0, 100_000, 1):
    stats = run(frames)
after = used()
whole = run(0)
ended = whole.flows_ended
print(before, after, whole.flows, ended[lib.MB_END_EVICTED], ended[lib.MB_END_FIN],
      whole.flows_active, whole.stream_memory)
"""


def test_116_a_hundred_thousand_flows_leave_nothing_behind(tmp_path: Path) -> None:
    """With evictions, shut down in mid-flow: the heap is as large as before."""
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("this C library does not tell how much memory is in use")
    pcap = write_pcap(tmp_path / "crowd.pcap", crowd(100_000), nanoseconds=True)
    told = subprocess.run(
        [sys.executable, "-c", LEAK, str(pcap)],
        capture_output=True,
        text=True,
        env=environment(PYTHONMALLOC="pymalloc"),
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    before, after, flows, evicted, closed, active, buffered = map(int, told.stdout.split())
    assert flows == 100_000
    assert evicted > 10_000
    assert closed > 10_000
    assert active > 1000
    assert buffered > 0
    assert after - before < 64_000  # Python's own; a byte a flow would be more


# ---- 118: the case format


WRONG = """\
case 1 a handshake, told wrongly
show state
> S
    state client CLOSED -> ESTABLISHED
"""


def test_118_a_case_that_fails_is_a_diff(tmp_path: Path) -> None:
    path = tmp_path / "wrong.case"
    path.write_text(WRONG)
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "test_wrong.py").write_text((Path(__file__).parent / "test_cases.py").read_text())
    env = environment()
    env["PYTHONPATH"] = os.pathsep.join(
        [env["PYTHONPATH"], str(Path(__file__).parent), str(Path(__file__).parents[1])]
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "told"]
    told = subprocess.run(
        [*words, str(tmp_path)], capture_output=True, text=True, env=env, timeout=100
    )
    assert told.returncode == 1
    lines = [line.removeprefix("E").strip() for line in told.stdout.splitlines()]
    at = lines.index("--- wrong.case: expected")
    assert [re.sub(r"\s+", " ", line) for line in lines[at : at + 8]] == [
        "--- wrong.case: expected",
        "+++ wrong.case: raised",
        "@@ -1,3 +1,4 @@",
        "show state",
        "> S",
        "- state client CLOSED -> ESTABLISHED",
        "+ state client CLOSED -> SYN_SENT",
        "+ state server CLOSED -> SYN_RCVD",
    ]


def test_118_a_case_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "new.case"
    path.write_text("# said first\n\ncase 1,9 new\nshow state\n> S\n\ncase 2 another\nopen\n")
    fill(path)
    once = path.read_text()
    assert once.startswith("# said first\n\ncase 1,9 new\nshow state\n> S\n    state client CLOSED")
    fill(path)
    assert path.read_text() == once
    assert [case.title for case in read_cases(path)] == ["1,9 new", "2 another"]


# ---- 120: configuration


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("checksums: verify\nmidsteam: no\n", ":2: no key 'midsteam'; did you mean midstream?"),
        ("timeouts:\n  tcp: 1h\n  upd: 1s\n", ":3: no key 'timeouts.upd'; did you mean"),
        ("\n# a comment\nmidstream: perhaps\n", ":3: midstream: value: 'perhaps' is not yes or no"),
        ("limits:\n  flows: -5\n", ":2: limits.flows: "),
        ("overlap: vms\n", ":1: overlap: 'vms' is none of first, last, bsd"),
        ("checksums: verify\nmidstream: [no", ":2: "),
        ("seed: 1\n" + "x" * 1000 + ": 1\n", ":2: no key 'xxx"),
        ("seed: 1\n" + "x" * 100_000 + ": 1\n", ":2: could not find"),
        ("seed: 1\nlimits: {flows: " + "9" * 9000 + "}\n", ":2: limits.flows: a number with too"),
    ],
    ids=[
        "key",
        "nested",
        "value",
        "negative",
        "word",
        "unclosed",
        "long key",
        "line",
        "long value",
    ],
)
def test_120_a_mistake_is_said_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    pcap = write_pcap(tmp_path / "x.pcap", Talk().handshake())
    config = tmp_path / "m.yaml"
    config.write_text(text)
    told = mosbox("stats", "-r", pcap, "--config", config)
    assert (told.returncode, told.stdout) == (2, "")
    assert f"m.yaml{complaint}" in told.stderr


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_120_a_last_line_counts_however_it_ends(tmp_path: Path, end: str) -> None:
    pcap = write_pcap(tmp_path / "x.pcap", [Talk().client(b"x")])
    config = tmp_path / "m.yaml"
    config.write_bytes(f"seed: 3\nmidstream: no{end}".encode())
    told = mosbox("stats", "-r", pcap, "--config", config, "-o", "json")
    assert (told.returncode, told.stdout) == (0, "")
    told = mosbox("stats", "-r", pcap, "-o", "json")
    assert told.stdout != ""
