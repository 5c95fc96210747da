# SPDX-License-Identifier: BSD-3-Clause
"""`--workers N`: what several processes write is what one writes, byte for byte.

MOSBOX_CORPUS names a folder whose captures are run through all apps; MOSBOX_WORKERS=all asks
for all of them instead of a sample.
"""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from program import MOSBOX, environment, mosbox, portwatch, records, scan
from test_l7fw import POLICY, mixture
from wire import Frame, Talk, ethernet, fragments, icmp, ip, merge, tcp_options, udp, write_pcap

import mosbox as package
from mosbox import App, Flow
from mosbox._core import lib
from mosbox.apps.ids import Ids
from mosbox.apps.stats import Stats
from mosbox.nat import Watch
from mosbox.runner import Plan, Run
from mosbox.workers import Crew, parse_workers

TOP = Path(__file__).parent.parent
CORPUS = Path(os.environ.get("MOSBOX_CORPUS", TOP.parent / "shared" / "corpus"))
SEED = int(os.environ.get("MOSBOX_SEED", "1"))
SAMPLE = 4  # captures of the corpus in a run that asks for no more
OUTPUTS = ("json", "eve", "csv", "table", "zeek")

RULES = """\
alert tcp any any -> any any (msg:"each"; content:"GET"; sid:1;)
alert http any any -> any any (msg:"uri"; http.uri; content:"/"; sid:2;)
alert tcp any any -> any any (msg:"limit"; content:"G"; \\
threshold:type limit, track by_dst, count 3, seconds 5; sid:3;)
alert ip any any -> any any (msg:"every 7th"; \\
threshold:type threshold, track by_rule, count 7, seconds 60; sid:4;)
alert udp any any -> any any (msg:"both"; \\
threshold:type both, track by_src, count 4, seconds 20; sid:5;)
alert tcp any any -> any any (msg:"after 5"; flags:S; \\
detection_filter:track by_src, count 5, seconds 30; sid:6;)
alert ip any any -> any any (msg:"parts"; fragbits:M; sid:7;)
alert dns any any -> any any (msg:"name"; dns.query; content:"example"; sid:8;)
alert pkthdr any any -> any any (msg:"short"; decode-event:ipv4.trunc_pkt; sid:9;)
"""


# ---- captures


def talks(lot: random.Random, count: int) -> Iterator[list[bytes]]:
    """Connections of all kinds between a few hosts, some broken."""
    for n in range(count):
        six = n % 5 == 0
        talk = Talk(
            src=f"2001:db8::{n % 7:x}" if six else f"10.0.{n % 3}.{n % 11 + 1}",
            dst="2001:db8:1::80" if six else f"192.0.2.{n % 4 + 80}",
            sport=20000 + n,
            dport=(80, 8080, 443, 25)[n % 4],
            vlans=((), (5,), (5, 7))[n % 3],
            options=tcp_options(ts=(n, n)) if n % 2 else b"",
        )
        request = b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % n
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 900
        frames = talk.exchange(request, answer, mss=(100, 1400)[n % 2])
        if n % 6 == 1:
            at = lot.randrange(3, len(frames) - 3)
            frames[at], frames[at + 1] = frames[at + 1], frames[at]
        if n % 6 == 2:
            del frames[lot.randrange(3, len(frames) - 3) :]
        if n % 6 == 3:
            frames.insert(lot.randrange(4, len(frames)), frames[3])
        if n % 6 == 4:
            frames = [*frames[:4], talk.reset()]
        yield frames


def odd_frames(lot: random.Random, count: int) -> list[bytes]:
    """Datagrams, fragments, tunnels in tunnels, ICMP, and what is no IP at all."""
    frames: list[bytes] = []
    for n in range(count):
        a, b = f"10.9.{n % 5}.1", f"10.9.{n % 3}.2"
        query = b"\0\7\1\0\0\1\0\0\0\0\0\0\7example\0\0\1\0\1"
        frames.append(ethernet(ip(a, b, 17, udp(a, b, 3000 + n % 9, 53, query))))
        frames.append(ethernet(ip(b, a, 17, udp(b, a, 53, 3000 + n % 9, query))))
        frames.append(ethernet(ip(a, b, 1, icmp(8, 0, bytes([0, n % 6, 0, n])))))
        frames.append(ethernet(ip(b, a, 1, icmp(0, 0, bytes([0, n % 6, 0, n])))))
        frames.append(ethernet(ip(a, b, 132, bytes([n] * 16))))
        quoted = ip(a, b, 17, udp(a, b, 3000 + n % 9, 53, b"what was on its way"))
        frames.append(
            ethernet(ip(f"10.8.0.{n % 2}", a, 1, icmp((3, 11)[n % 2], 0, payload=quoted)))
        )
        before = ip(a, b, 17, udp(a, b, 2000 + n, 53, b"sent before the capture began"))
        frames.append(ethernet(ip(b, a, 1, icmp(3, 3, payload=before))))
        whole = ip(a, b, 17, udp(a, b, 9, 9, bytes(700)), ident=n)
        pieces = [ethernet(piece) for piece in fragments(whole, 256)]
        lot.shuffle(pieces)
        frames += pieces[: len(pieces) - (n % 4 == 0)]  # some are never whole
        inner = Talk(src=f"10.20.0.{n % 4}", sport=500 + n).exchange(
            b"GET / HTTP/1.0\r\n\r\n", b"hi"
        )
        for packet in inner:
            out = udp(a, b, 4000 + n % 3, 4789, b"\x08\0\0\0\0\0\x07\0" + packet)
            frames.append(ethernet(ip(a, b, 17, out)))
        frames.append(
            ethernet(ip(a, b, 4, ip("10.30.0.1", "10.30.0.2", 17, udp(a, b, n, 7, b"x"))))
        )
        frames.append(ethernet(b"\0\1\x08\0\6\4\0\1" + bytes(20), kind=0x0806))
        frames.append(ethernet(ip(a, b, 6, bytes([n] * 9))))  # cut inside the header
    return frames


def timed(lot: random.Random, frames: list[bytes]) -> Iterator[Frame]:
    """Frames with pauses in which flows end, several at a time, and a clock that goes back."""
    now = 1_700_000_000.0
    for frame in frames:
        now += lot.choice((0, 0, 0.00001, 0.001, 0.02))
        if lot.random() < 0.01:
            now += lot.choice((1.5, 7, 70, 400))
        yield Frame(frame, now - lot.choice((0, 0, 0, 0.5)))


def everything(path: Path, seed: int = SEED, count: int = 48) -> Path:
    lot = random.Random(seed)
    parts = [*talks(lot, count), odd_frames(lot, count // 2), mixture()]
    return write_pcap(path, timed(lot, list(merge(*parts))), nanoseconds=True)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return everything(tmp_path_factory.mktemp("workers") / "all.pcap")


# ---- runs


def outcome(folder: Path, *words: str | Path, workers: int = 1, **more: Any) -> dict[str, bytes]:
    """All that a run wrote: its files, its standard output and error, its exit code."""
    folder = folder / str(workers)
    folder.mkdir(parents=True)
    done = mosbox(*words, "--workers", str(workers), cwd=folder, **more)
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found = {"stdout": done.stdout, "stderr": done.stderr, "code": str(done.returncode)}
    return files | {name: text.encode() for name, text in found.items()}


def assert_same(folder: Path, *words: str | Path, workers: tuple[int, ...] = (2, 3)) -> Any:
    """Several workers write what one writes. What that is."""
    alone = outcome(folder, *words)
    for count in workers:
        several = outcome(folder, *words, workers=count)
        assert several.keys() == alone.keys()
        for name, content in alone.items():
            assert several[name] == content, f"{name} of {count} workers, MOSBOX_SEED={SEED}"
    return alone


def all_outputs() -> list[str]:
    return [word for kind in OUTPUTS for word in ("-o", f"{kind}:{kind}.out")] + ["-w", "kept.pcap"]


def app_words(app: str, folder: Path) -> list[str | Path]:
    """The options of an app that show the most of it."""
    rules, policy = folder / "x.rules", folder / "policy.yaml"
    rules.write_text(RULES)
    policy.write_text(POLICY)
    return {
        "stats": ["stats", "--protocols"],
        "ids": ["ids", "--rules", rules, "--fast-log", "fast.log"],
        "l7fw": ["l7fw", "-P", policy],
    }[app]


@pytest.mark.parametrize("app", ["stats", "ids", "l7fw"])
def test_all_outputs_are_those_of_one_worker(capture: Path, tmp_path: Path, app: str) -> None:
    settings = ["--set", "timeouts.udp=5s", "--set", "decap=vxlan,ipip"]
    if app == "l7fw":  # what is dropped in a tunnel needs one worker, see below
        settings = ["--decap", "ipip"]
    words = [*app_words(app, tmp_path), "-r", capture, *settings, *all_outputs(), "-v"]
    wrote = assert_same(tmp_path / "out", *words)
    assert wrote["code"] == b"0", wrote["stderr"]
    assert len(wrote["kept.pcap"]) > 20_000
    assert len(wrote["zeek.out/conn.log"].splitlines()) > 100
    assert wrote["eve.out"].count(b"\n") > 100


def test_thresholds_are_those_of_one_worker(capture: Path, tmp_path: Path) -> None:
    words = app_words("ids", tmp_path)
    wrote = assert_same(tmp_path / "out", *words, "-r", capture, "-o", "eve", workers=(2, 5))
    found = records(wrote["stdout"].decode())
    told = [r["alert"]["signature_id"] for r in found if r["event_type"] == "alert"]
    assert {3, 4, 5, 6} <= set(told)
    by_flow = {r["flow_id"]: r["flow"]["alerted"] for r in found if r["event_type"] == "flow"}
    with_alerts = {r["flow_id"] for r in found if r["event_type"] == "alert" and "flow_id" in r}
    assert {True, False} == set(by_flow.values())
    assert all(by_flow[flow] for flow in with_alerts & by_flow.keys())


@pytest.mark.parametrize("seed", range(2, 5))
def test_other_captures(tmp_path: Path, seed: int) -> None:
    pcap = everything(tmp_path / "x.pcap", seed, count=20)
    assert_same(tmp_path / "stats", "stats", "-r", pcap, *all_outputs(), "-v", workers=(4,))
    words = app_words("ids", tmp_path)
    assert_same(tmp_path / "ids", *words, "-r", pcap, *all_outputs(), workers=(4,))


def test_several_captures_gzip_and_a_pipe(capture: Path, tmp_path: Path) -> None:
    packed = tmp_path / "x.pcap.gz"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    small = scan(tmp_path / "small.pcap")
    words = ["stats", "-r", packed, "-r", small, "-r", capture, "-o", "csv", "-o", "table:t"]
    assert_same(tmp_path / "files", *words)
    alone = outcome(tmp_path / "file", "stats", "-r", capture, "-o", "csv")
    for count in (1, 2, 3):
        with capture.open() as file:
            piped = outcome(
                tmp_path / "pipe", "stats", "-r", "-", "-o", "csv", workers=count, stdin=file
            )
        assert piped == alone


def test_rules_read_together_and_apart(capture: Path, tmp_path: Path) -> None:
    """Workers with rules read one file each for itself, and anything else once for all."""
    words = app_words("ids", tmp_path)
    packed = tmp_path / "x.pcap.gz"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    for n, paths in enumerate([[packed], [packed, capture], [capture, packed]]):
        read = [word for path in paths for word in ("-r", path)]
        assert_same(tmp_path / str(n), *words, *read, "-o", "eve", "tcp or ip6")
    alone = outcome(tmp_path / "file", *words, "-r", capture, "-o", "json")
    for count in (1, 2, 3):
        with capture.open() as file:
            folder = tmp_path / "pipe"
            piped = outcome(folder, *words, "-r", "-", "-o", "json", workers=count, stdin=file)
        assert piped == alone


def test_a_capture_that_is_cut_off(capture: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(capture.read_bytes()[:-7])
    wrote = assert_same(tmp_path / "cut", "stats", "-r", cut, "-o", "json")
    assert wrote["code"] == b"0"
    assert wrote["stderr"].count(b"the file ends inside packet") == 1
    damaged = tmp_path / "damaged.pcap"
    damaged.write_bytes(capture.read_bytes() + b"\xff" * 60)
    wrote = assert_same(tmp_path / "damaged", "stats", "-r", damaged, "-o", "json")
    assert wrote["code"] == b"1"


def chunks(path: Path, rounds: int = 8) -> Path:
    """A capture of many chunks (core/io/tap.h), with all that one worker lists for the others."""
    lot = random.Random(SEED)
    frames = list(merge(*talks(lot, 200), odd_frames(lot, 100)))
    arp = ethernet(b"\0\1\x08\0\6\4\0\1", kind=0x0806)

    def all_frames() -> Iterator[bytes]:
        for n in range(rounds):
            yield from frames
            yield from [arp] * (0, 14000)[n == 2]  # too many for a list

    return write_pcap(path, timed(lot, list(all_frames())))


@pytest.mark.parametrize("app", ["stats", "ids"])
def test_many_chunks(tmp_path: Path, app: str) -> None:
    pcap = chunks(tmp_path / "x.pcap")
    assert pcap.stat().st_size > 4 << 20
    assert_same(tmp_path / "out", *app_words(app, tmp_path), "-r", pcap, *all_outputs(), "-v")


@pytest.mark.parametrize("app", ["stats", "ids"])
def test_clocks_that_are_set_back(tmp_path: Path, app: str) -> None:
    """By more than the capture lasts, and by less; so that chunks begin before and behind it."""
    lot = random.Random(SEED)
    frames = [frame for talk in talks(lot, 1500) for frame in talk]
    times, now = [], 1_700_000_000.0
    for _ in frames:
        now += lot.choice((0.001, 0.2)) if lot.random() > 0.002 else lot.uniform(-90_000, 90_000)
        times.append(now)
    stepping = [Frame(frame, time) for frame, time in zip(frames, times, strict=True)]
    pcap = write_pcap(tmp_path / "steps.pcap", stepping)
    assert pcap.stat().st_size > 1 << 19
    assert_same(tmp_path / "one", *app_words(app, tmp_path), "-r", pcap, *all_outputs())
    later = write_pcap(tmp_path / "later.pcap", frames[:5000], start=now + 5e6)
    assert_same(
        tmp_path / "two", *app_words(app, tmp_path), "-r", later, "-r", pcap, *all_outputs()
    )


def test_records_out_of_the_ordinary(tmp_path: Path) -> None:
    """Longer than the snapshot length: whoever lists a chunk stops there."""
    pcap = chunks(tmp_path / "x.pcap", 4)
    whole = bytearray(pcap.read_bytes())
    whole[16:20] = (1200).to_bytes(4, "little")
    pcap.write_bytes(whole)
    wrote = assert_same(tmp_path / "a", "stats", "-r", pcap, *all_outputs(), "-v")
    assert wrote["code"] == b"0"
    whole[-40:] = b"\xff" * 40
    pcap.write_bytes(whole)
    assert_same(tmp_path / "b", "stats", "-r", pcap, "-r", pcap, "-o", "json")


def test_filters_seeds_and_other_links(capture: Path, tmp_path: Path) -> None:
    words = ["stats", "-r", capture, "-o", "json", "--seed", "7", "--vlan-key", "--tunnel-key"]
    assert_same(tmp_path / "a", *words, "tcp or udp port 53 or vlan")
    frames = [frame[14:] for frame in Talk().exchange(b"GET /", b"x" * 5000)]
    raw = write_pcap(tmp_path / "raw.pcap", frames, link=101)
    wrote = assert_same(tmp_path / "b", "stats", "-r", raw, "-o", "json", workers=(2, 9))
    assert len(records(wrote["stdout"].decode())) == 1


def test_more_workers_than_flows_and_no_packets(tmp_path: Path) -> None:
    assert_same(
        tmp_path / "a", "stats", "-r", scan(tmp_path / "x.pcap"), *all_outputs(), workers=(64,)
    )
    empty = write_pcap(tmp_path / "empty.pcap", [])
    assert_same(tmp_path / "b", "stats", "-r", empty, *all_outputs())


# ---- captures that change while they are read


class Meddler(Ids):
    """Does something to its capture when the first flow begins."""

    def meddle(self, crew: Crew) -> None: ...

    def on_flow_start(self, flow: Flow) -> None:
        if not self.counters["flows"]:
            assert self._run.crew is not None
            self.meddle(self._run.crew)
        self.count("flows")


def meddled(path: Path, workers: int, meddle: Callable[[Ids, Crew], None]) -> Ids:
    rules = path.with_suffix(".rules")
    rules.write_text(RULES)
    app = type("Meddler", (Meddler,), {"meddle": meddle})
    return package.run(app, read=path, workers=workers, rules=[rules])


def test_a_capture_that_grows_ends_for_all_where_it_did(tmp_path: Path) -> None:
    pcap = long_capture(tmp_path / "x.pcap", 2000)
    whole = pcap.read_bytes()
    assert len(whole) > 1 << 20  # more than what is read at once

    def grow(_app: Ids, _crew: Crew) -> None:
        with pcap.open("ab") as file:
            file.write(whole[24:])

    found = []
    for workers in (2, 3):
        pcap.write_bytes(whole)
        found.append(meddled(pcap, workers, grow).counters)
        assert pcap.stat().st_size > len(whole)
    assert found[0] == found[1]
    assert found[0]["flows"] == 2000


def test_a_capture_that_is_not_the_same_for_all_is_an_error(tmp_path: Path) -> None:
    pcap = long_capture(tmp_path / "x.pcap", 2000)

    def cut(_: Ids, crew: Crew) -> None:
        if crew.number == 0:  # when the other one has read it
            while not lib.mb_workers_left(crew.c, 1):
                time.sleep(0.01)
            os.truncate(pcap, pcap.stat().st_size // 2)

    with pytest.raises(package.MosboxError, match=r"x\.pcap changed while it was read"):
        meddled(pcap, 2, cut)


def test_a_worker_that_stops_has_not_seen_a_change(tmp_path: Path) -> None:
    def stop(app: Ids, crew: Crew) -> None:
        if crew.number == 0:
            app.engine.stop()

    pcap = long_capture(tmp_path / "x.pcap", 2000)
    assert meddled(pcap, 2, stop).alerts > 0


# ---- what cannot be shared


def test_what_needs_one_worker_says_so(tmp_path: Path) -> None:
    pcap = scan(tmp_path / "x.pcap")
    rules = tmp_path / "x.rules"
    rules.write_text(
        'alert tcp any any -> any any (msg:"x"; xbits:set,x,track ip_src; sid:5;)\n' + RULES
    )
    folder = portwatch(tmp_path / "apps")
    for words, why in [
        (["ids", "-r", pcap, "--rules", rules], "ids needs one worker: 1 of the rules, 1:5"),
        (["stats", "-r", pcap, "--interval", "1", "-o", "table"], "--interval"),
        (["--app-dir", folder, "portwatch", "-r", pcap], "portwatch needs one worker"),
        (["stats", "-i", "lo"], "several workers share captures"),
        (["stats", "-r", pcap, "--set", "x=1"], "x"),
    ]:
        done = mosbox(*words, "--workers", "2")
        assert done.returncode == 2, done
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""
    assert mosbox("stats", "-r", pcap, "--workers", "65").returncode == 2
    assert mosbox("stats", "-r", pcap, "--workers", "few").returncode == 2


def test_a_number_of_workers() -> None:
    assert parse_workers("3") == 3
    assert parse_workers("auto") == parse_workers(0) == min(64, len(os.sched_getaffinity(0)))


def test_a_drop_in_a_frame_that_workers_share_is_refused(tmp_path: Path) -> None:
    """The outer flow of a tunnel is another worker's: nobody could say what is kept."""
    frames = []
    for n in range(40):
        inner = Talk(src=f"10.1.0.{n}", sport=n + 1).handshake()[0]
        out = udp("10.0.0.1", "10.0.0.2", 4000 + n, 4789, b"\x08\0\0\0\0\0\x07\0" + inner)
        frames.append(ethernet(ip("10.0.0.1", "10.0.0.2", 17, out)))
    pcap = write_pcap(tmp_path / "x.pcap", frames)
    policy = tmp_path / "p.yaml"
    policy.write_text("rules:\n  - {name: web, action: drop, server_port: 80}\n")
    words = ["l7fw", "-r", pcap, "-P", policy, "-o", "json"]
    assert mosbox(*words).returncode == 0
    done = mosbox(*words, "--workers", "2")
    assert done.returncode == 1
    assert "other workers have a part in it" in done.stderr


def test_limits_are_divided_and_reaching_one_is_told(capture: Path, tmp_path: Path) -> None:
    words = ["stats", "-r", capture, "-o", "json", "--set"]
    assert_same(tmp_path / "a", *words, "limits.flows=5000")
    done = mosbox(*words, "limits.flows=8", "--workers", "2")
    assert done.returncode == 1
    assert "a limit of flows, memory or groups was reached" in done.stderr
    assert records(done.stdout)  # what there is was written


# ---- apps in Python


class Tally(App):
    """Adds up what its workers saw, in an attribute of its own and in records."""

    def start(self) -> None:
        self.bytes: dict[str, int] = {}

    def on_flow_start(self, flow: Flow) -> None:
        flow.after(0.005, lambda flow: self.emit("young", flow))

    def on_http_request(self, flow: Flow, http: Any) -> None:
        self.alert("request", flow, target=http.target, number=flow.id)

    def on_packet(self, flow: Flow, packet: Any) -> None:
        if flow.ip_proto == 1:
            self.emit("icmp", flow, length=len(packet.payload))

    def on_data(self, flow: Flow, data: Any) -> None:
        if flow.ip_proto == 1:
            self.emit("message", flow)

    def on_icmp_error(self, flow: Flow, error: Any) -> None:
        self.emit("error", flow, type=error.type)

    def on_flow_end(self, flow: Flow) -> None:
        self.count(flow.proto)
        self.bytes[flow.client.ip] = self.bytes.get(flow.client.ip, 0) + flow.bytes
        self.emit("end", flow, why=flow.end_reason)

    def merge(self, other: Tally) -> None:
        for ip_address, count in other.bytes.items():
            self.bytes[ip_address] = self.bytes.get(ip_address, 0) + count


ICMP = ("icmp", "error", "message")


def test_results_of_an_app_are_merged(capture: Path) -> None:
    alone = package.run(Tally, read=capture)
    assert alone.alerts > 10
    assert {r["event_type"] for r in alone.records} == {"young", "alert", "end", *ICMP}
    for workers in (2, 4):
        several = package.run(Tally, read=capture, workers=workers)
        assert several.records == alone.records
        assert several.bytes == alone.bytes
        assert several.counters == alone.counters
        assert several.alerts == alone.alerts


def test_sightings_of_nat_monitor_are_merged(capture: Path) -> None:
    alone = package.run(Watch, read=capture)
    assert package.run(Watch, read=capture, workers=3).sightings == alone.sightings


class Failing(App):
    """Fails at one flow."""

    def on_flow_end(self, flow: Flow) -> None:
        self.emit("end", flow)
        if flow.server.port == 25:
            raise KeyError(flow.client.port)

    def merge(self, other: Failing) -> None: ...


def test_failures_are_those_of_one_worker(capture: Path, tmp_path: Path) -> None:
    ends = []
    for workers in (1, 2, 4):
        out = tmp_path / f"{workers}.json"
        with pytest.raises(KeyError) as raised:
            package.run(Failing, read=capture, workers=workers, output=f"json:{out}")
        ends.append((raised.value.args, raised.value.__notes__, out.read_bytes()))
    assert ends[0] == ends[1] == ends[2]
    assert ends[0][2]


def test_failures_that_are_passed_over(capture: Path, tmp_path: Path) -> None:
    app = tmp_path / "failing.py"
    app.write_text(
        "from mosbox import App, Flow\n\n\n"
        'class Failing(App):\n    """Fails."""\n\n'
        "    def on_flow_end(self, flow: Flow) -> None:\n        raise ValueError(flow.id)\n\n"
        "    def merge(self, other: App) -> None: ...\n"
    )
    words = [str(app), "-r", capture, "--on-error", "continue", "-v"]
    wrote = assert_same(tmp_path / "out", *words)
    assert b"failures were passed over, the first: ValueError" in wrote["stderr"]


# ---- processes


def long_capture(path: Path, connections: int, step: float = 0.0001) -> Path:
    def frames() -> Iterator[bytes]:
        for n in range(connections):
            yield from Talk(sport=1024 + n % 60000, client_seq=n).exchange(b"GET /", b"x" * 300)

    return write_pcap(path, frames(), step=step)


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    pcap = long_capture(tmp_path / "x.pcap", 4000)
    words = [*MOSBOX, "stats", "-r", str(pcap), "-o", "json", "--workers", "3"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


SLOW = """\
import os, sys, time
from mosbox import App, Flow

class Slow(App):
    \"\"\"Writes its workers' numbers down and stays in them.\"\"\"

    def on_flow_end(self, flow: Flow) -> None:
        self.emit("end", flow)
        with open("pids", "a") as file:
            file.write(f"{os.getpid()}\\n")
        sys.stdout.flush()
        time.sleep(PAUSE)

    def merge(self, other: App) -> None: ...
"""


def start_slow(folder: Path, pause: float = 0) -> subprocess.Popen[str]:
    """A run of two workers over a pipe that does not end, with a pause at the end of each flow."""
    (folder / "slow.py").write_text(SLOW.replace("PAUSE", str(pause)))
    process = subprocess.Popen(
        [*MOSBOX, "./slow.py", "-r", "-", "-o", "json:out.json", "--workers", "2"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(),
        text=True,
    )
    content = long_capture(folder / "x.pcap", 300, step=0.01).read_bytes()
    assert process.stdin is not None
    process.stdin.buffer.write(content)
    process.stdin.buffer.flush()
    give_up = time.monotonic() + 30
    while len(pids(folder)) < 2 and time.monotonic() < give_up:
        time.sleep(0.02)
    assert len(pids(folder)) == 2, process.poll()
    return process


def pids(folder: Path) -> set[int]:
    file = folder / "pids"
    return {int(line) for line in file.read_text().split()} if file.exists() else set()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interrupt_ends_all_flows(tmp_path: Path) -> None:
    with start_slow(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None and process.stderr.read() == ""
    assert len(records((tmp_path / "out.json").read_text())) > 100
    assert not any(map(is_running, pids(tmp_path)))


def test_who_ends_all_processes_at_once_asks_once(tmp_path: Path) -> None:
    """A service manager does: the workers then hear of it from their parent too."""
    with start_slow(tmp_path, pause=0.01) as process:
        for pid in pids(tmp_path):
            os.kill(pid, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None and process.stderr.read() == ""
    assert len(records((tmp_path / "out.json").read_text())) > 100


def test_a_worker_that_dies_is_told(tmp_path: Path) -> None:
    with start_slow(tmp_path) as process:
        os.kill(min(pids(tmp_path)), signal.SIGKILL)
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert "was killed by SIGKILL" in process.stderr.read()
    assert not any(map(is_running, pids(tmp_path)))


def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    with start_slow(tmp_path) as process:
        process.kill()
        process.wait(30)
        give_up = time.monotonic() + 30
        while any(map(is_running, pids(tmp_path))) and time.monotonic() < give_up:
            time.sleep(0.02)
        assert not any(map(is_running, pids(tmp_path)))


def test_workers_tell_of_themselves(tmp_path: Path) -> None:
    with start_slow(tmp_path) as process:
        process.send_signal(signal.SIGUSR1)
        assert process.stderr is not None
        lines = sorted(process.stderr.readline() for _ in range(2))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert [line.partition(":")[2].split(":")[0] for line in lines] == [
        " slow, worker 0",
        " slow, worker 1",
    ]


@pytest.mark.parametrize("rules", [False, True])
def test_the_parent_knows_how_far_they_are(tmp_path: Path, rules: bool) -> None:
    pcap = long_capture(tmp_path / "x.pcap", 2000)
    size = pcap.stat().st_size
    app, read = (Ids(), [str(pcap)]) if rules else (Stats(), [str(pcap)] * 2)
    with Run(app, Plan(read=read, collect=True, workers=2)) as run:
        run.open()
        run.go()
        assert run.crew is not None
        assert size * (len(read) - 1) < run.crew.progress <= size * len(read)


# ---- the corpus


def corpus() -> list[Path]:
    found = sorted(p for p in CORPUS.rglob("*") if p.suffix in (".pcap", ".pcapng", ".trace"))
    found = [p for p in found if 0 < p.stat().st_size < 64 << 20]
    if os.environ.get("MOSBOX_WORKERS") != "all":
        random.Random(SEED).shuffle(found)
        found = found[:SAMPLE]
    return found


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no captures in {CORPUS} (MOSBOX_CORPUS)")
@pytest.mark.parametrize("app", ["stats", "ids"])
def test_the_corpus(tmp_path: Path, app: str) -> None:
    words = app_words(app, tmp_path)
    for n, path in enumerate(corpus()):
        assert_same(tmp_path / str(n), *words, "-r", path, *all_outputs(), workers=(3,))
