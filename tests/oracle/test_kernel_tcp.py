# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's TCP as the judge: what mosbox reassembles is what the sockets received.

Programs talk in two network namespaces, through a box that loses, copies, delays and corrupts
packets and records what it passes on (box.py). Then mosbox reads the capture. For each
connection it must name the right client, deliver byte for byte what each socket got (or tell of
a gap just where the tap missed it), tell how it ended, and leave each endpoint in the state of its
socket, as /proc has it at the end.

    MOSBOX_ORACLE=2000        how many connections (a few by default)
    MOSBOX_ORACLE_SEED=7      the seed, which every run prints; times are never quite the same

A connection that differs leaves its packets in build/oracle/.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, ClassVar

import pytest
from box import FIN, RST, Weather, segment_of
from forge import Segment
from joined import unsure
from missed import Range, blanked, holes, seen, within
from network import Climate, Outcome, hold, why_not
from peer import Saw
from streams import difference, parting
from talks import CLIENT4, CLIENT6, KINDS, Talk, choose

from mosbox import App, Flow, run


def chosen_seed() -> int:
    """The seed given, or any: the same for all workers of pytest-xdist, whose tests must agree."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    chosen = zlib.crc32(run.encode()) if run else SystemRandom().randrange(1 << 32)
    return int(os.environ.get("MOSBOX_ORACLE_SEED", chosen))


CONNECTIONS = int(os.environ.get("MOSBOX_ORACLE", "0"))
SEED = chosen_seed()
AT_ONCE = 64
LEFT_BEHIND = Path(__file__).resolve().parents[2] / "build" / "oracle"

STORM = Weather(
    loss=0.04, control_loss=0.15, copies=0.04, corrupt=0.03, late=0.1, delay=0.001, jitter=0.002
)
NO_OPTIONS: dict[str, int | str] = dict.fromkeys(
    ("tcp_timestamps", "tcp_sack", "tcp_window_scaling"), 0
)
CLIMATES = [
    Climate("fair", offload=True),
    Climate("far", Weather(delay=0.03), offload=True),
    Climate("lossy", Weather(loss=0.06, control_loss=0.2)),
    Climate("shuffled", Weather(late=0.3, copies=0.1, delay=0.002)),
    Climate("corrupt", Weather(corrupt=0.08, copies=0.02)),
    Climate("storm", STORM),
    Climate("storm, large segments", STORM, offload=True),
    Climate("storm, jumbo frames", STORM, mtu=9000),
    Climate("storm, narrow link", STORM, {"tcp_ecn": 1}, mtu=1280),
    Climate("storm, no timestamps", STORM, {"tcp_timestamps": 0}),
    Climate("storm, no selective ACKs", STORM, {"tcp_sack": 0}),
    Climate(
        "storm, no options",
        STORM,
        NO_OPTIONS,
    ),
    # Nobody late: PAWS throws such a segment away, and the tap has seen it for nothing.
    Climate("tap that misses", Weather(missed=0.1, loss=0.02, copies=0.02)),
    Climate("forgers", Weather(forged=0.1, late=0.02), {"tcp_fin_timeout": 2}),
    Climate("forgers, no options", Weather(forged=0.1), {**NO_OPTIONS, "tcp_fin_timeout": 2}),
]

pytestmark = pytest.mark.net


@pytest.fixture(scope="module", autouse=True)
def _network() -> None:
    if reason := why_not():
        pytest.skip(reason)


@dataclass
class Seen:
    """A flow as mosbox tells of it."""

    client: tuple[str, int]
    watched_by: type[App]
    data: dict[str, bytearray] = field(
        default_factory=lambda: {"client": bytearray(), "server": bytearray()}
    )
    gaps: dict[str, list[Range]] = field(default_factory=lambda: {"client": [], "server": []})
    urgent: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # offset of what follows
    reason: str | None = None
    states: dict[str, str] = field(default_factory=dict)

    def swap(self) -> None:
        """Which of two ends that connect at the same time is the client, nobody knows."""
        other = {"client": "server", "server": "client"}
        self.data = {other[side]: data for side, data in self.data.items()}
        self.gaps = {other[side]: gaps for side, gaps in self.gaps.items()}
        self.urgent = {other[side]: urgent for side, urgent in self.urgent.items()}
        self.states = {other[side]: state for side, state in self.states.items()}


class Witness(App):
    """Keeps all bytes of all flows."""

    # Late packets find their flow, however slow this machine is.
    chosen: ClassVar[dict[str, str]] = {
        "checksums": "verify",
        "timeouts.tcp_syn": "60s",
        "timeouts.tcp_closed": "60s",
        "timeouts.tcp_reset": "60s",
        "overlap": "linux",
    }

    def start(self) -> None:
        self.flows: dict[int, list[Seen]] = defaultdict(list)  # by client port

    def on_flow_start(self, flow: Flow) -> None:
        if flow.proto != "TCP":
            return
        flow.data = seen = Seen((flow.client.ip, flow.client.port), type(self))
        self.flows[max(flow.client.port, flow.server.port)].append(seen)

    def on_data(self, flow: Flow, data: Any) -> None:
        if flow.data is not None:
            flow.data.data[data.side] += data.bytes

    def on_gap(self, flow: Flow, gap: Any) -> None:
        flow.data.data[gap.side] += bytes(gap.length)  # what follows keeps its place
        flow.data.gaps[gap.side].append((gap.offset, gap.offset + gap.length))

    def on_flow_end(self, flow: Flow) -> None:
        if flow.data is not None:
            flow.data.reason = flow.end_reason
            flow.data.states = {side: flow.end(side).state for side in ("client", "server")}


class Attentive(Witness):
    """The same for who listens to every packet: the core goes its long way with each. Urgent
    data is beside the stream."""

    chosen: ClassVar[dict[str, str]] = {**Witness.chosen, "urgent": "oob"}

    def on_packet(self, flow: Flow, packet: Any) -> None:
        pass

    def on_state_change(self, flow: Flow, change: Any) -> None:
        pass

    def on_urgent(self, flow: Flow, urgent: Any) -> None:
        flow.data.urgent[urgent.side] = urgent.offset, urgent.bytes


APPS = (Witness, Attentive)
ANY = {"fin", "rst", "timeout", "shutdown"}
TROUBLE = ("lost", "dead", "corrupt", "late", "refused")
# An endpoint as the tap knows it -> its socket, if a FIN of its own has not come through.
UNSEEN_FIN = {
    "ESTABLISHED": {"FIN_WAIT_1"},
    "CLOSE_WAIT": {"LAST_ACK", "CLOSING"},
    "LAST_ACK": {"CLOSING"},
    "CLOSED": {"TIME_WAIT"},  # two FINs that crossed, and the other seemed to be the first
}
CHANGING = 10**7  # ns that a socket may take to give its place to TIME-WAIT, when it has answered


class Judge:
    """Compares one talk of the kernel's with one flow of mosbox's."""

    def __init__(
        self, talk: Talk, outcome: Outcome, climate: Climate, seed: int, last: bool
    ) -> None:
        self.talk = talk
        self.last = last  # on its ports
        self.fates = outcome.fates.get(talk.client_port, Counter())
        # Where segments overtake others, the host finds the timestamp of one too old that follows
        # an ACK the tap has not seen yet. The sender repeats it, if there is no reset before.
        self.certain = "tcp_timestamps" in climate.sysctl or not self.fates["late"]
        self.honest = not self.fates["forged"]
        self.smooth = self.honest and not any(self.fates[word] for word in TROUBLE)
        self.outcome = outcome
        self.sent = {side: talk.content(seed, side) for side in ("client", "server")}
        nobody = asdict(Saw(connect="never", left=True))
        self.saw = {s: outcome.saw[s].get(talk.number, nobody) for s in ("client", "server")}

    def complaints(self, flow: Seen) -> Iterator[str]:
        """Whatever is not as the sockets saw it, a sentence each."""
        me = CLIENT6 if self.talk.ipv6 else CLIENT4
        if flow.client != (me, self.talk.client_port):
            if self.talk.crossing:
                flow.swap()
            else:
                yield f"the client is {flow.client}, not {me}:{self.talk.client_port}"
        yield from self.gaps_of(flow)
        for sender, receiver in (("client", "server"), ("server", "client")):
            yield from self.bytes_of(flow, sender, receiver)
        reasons = self.reasons()
        if flow.reason not in reasons:
            yield f"it ended by {flow.reason}, not {' or '.join(sorted(reasons))}"
        if self.last:
            yield from self.end_states(flow)

    def gaps_of(self, flow: Seen) -> Iterator[str]:
        """Just what the tap missed, as far as the stream is known."""
        if not self.fates["missed"]:
            yield from (
                f"a gap, though nothing was missed: {gap}" for gap in flow.gaps.items() if gap[1]
            )
            return
        port = self.talk.client_port
        segments = (Segment.of(frame) for _, frame in packets_of(self.outcome.capture, port))
        ever, in_time = seen(segments, port)
        for side, data in flow.data.items():
            size = len(data)
            told = holes(holes(flow.gaps[side], size), size)
            never, late = holes(ever[side], size), holes(in_time[side], size)
            if not (within(never, told) and within(told, late)):
                yield f"gaps of the {side}: {told}, never seen {never}, not in time {late}"

    def bytes_of(self, flow: Seen, sender: str, receiver: str) -> Iterator[str]:
        got, shown = self.outcome.received(receiver, self.talk.number), bytes(flow.data[sender])
        got, sent = (blanked(data, flow.gaps[sender]) for data in (got, self.sent[sender]))
        if self.talk.end(sender).urgent:
            if self.talk.end(receiver).inline != (flow.watched_by is Witness):
                return  # the socket had it the other way
            if not self.talk.end(receiver).inline and not self.smooth:
                shown = self.with_urgent(flow, sender, got)
        if got != shown and self.fates["forged"] and self.excused(sender, receiver, got, shown):
            shown = got
        saw = self.saw[receiver]
        # It read to the very end: unless a reset finds it at the mark of urgent data.
        marked = self.talk.end(sender).urgent and not self.talk.end(receiver).inline
        if saw["eof"] or (saw["reset"] and self.certain and not marked):
            if shown != got:
                yield f"{sender} to {receiver}: {difference('socket', got, shown)}"
        elif not shown.startswith(got):  # it closed early: later bytes went to nobody
            yield f"{sender} to {receiver}, which left: {difference('socket', got, shown)}"
        elif self.honest and not marked and not sent.startswith(shown):
            yield f"{sender} to {receiver}: {difference('sender', sent, shown)}"

    def excused(self, sender: str, receiver: str, got: bytes, shown: bytes) -> bool:
        """Whether they differ only where the socket may have got one content or the other."""
        port = self.talk.client_port
        segments = (Segment.of(frame) for _, frame in packets_of(self.outcome.capture, port))
        either = unsure(segments, port)[sender]
        urgent = self.talk.end(sender).urgent
        if urgent is not None and not self.talk.end(receiver).inline:  # what follows moves up
            either = {n - (n > urgent): contents for n, contents in either.items() if n != urgent}
        return len(got) == len(shown) and all(
            pair <= either.get(n, set())
            for n, pair in enumerate(map(set, zip(got, shown, strict=True)))
            if len(pair) > 1
        )

    def with_urgent(self, flow: Seen, sender: str, got: bytes) -> bytes:
        """Where segments change places, a pointer can come after its byte was read, and which
        byte that is depends on how quickly the program reads: at most one goes out of band."""
        shown = bytes(flow.data[sender])
        offset, byte = flow.urgent.get(sender, (len(shown), b""))
        whole = shown[:offset] + byte + shown[offset:]
        at = parting(got, whole)
        return whole[:at] + whole[at + 1 :]

    def reasons(self) -> set[str]:
        """How it may have ended, by what the sockets saw."""
        saw = self.saw.values()
        if self.saw["client"]["connect"] == "refused":
            return {"refused"}
        if any(one["reset"] for one in saw) or self.saw["client"]["connect"] == "reset":
            return {"rst"}
        if self.outcome.unfinished(self.talk.client_port):
            return {"timeout", "shutdown"}
        if all(one["eof"] and not one["aborted"] for one in saw):
            return {"fin"}
        # One left early, unnoticed by the other.
        return {"fin", "rst"} if self.smooth else ANY

    def end_states(self, flow: Seen) -> Iterator[str]:
        """Each endpoint is where its socket is. The tap shows all that a socket was given, so the
        only way for that to be elsewhere is by itself."""
        for side, state in flow.states.items():
            socket = self.outcome.state(side, self.talk.client_port)
            fin = self.fin_unseen(side) and socket in UNSEEN_FIN.get(state, ())
            gone = socket == "CLOSED" and self.given_up(side)
            stays = (state, socket) == ("CLOSED", "TIME_WAIT") and self.reset_at_once(side)
            if socket != state and not fin and not gone and not stays:
                yield f"the {side} is in {state}, its socket in {socket}"

    def fin_unseen(self, side: str) -> bool:
        """A socket goes on when it is closed, but its FIN may be lost or overtaken by its own
        repetition, which acknowledges more, or wait behind data that the other has no room for."""
        return self.saw[side]["fin_waited"] or any(self.fates["FIN " + word] for word in TROUBLE)

    def reset_at_once(self, side: str) -> bool:
        """Linux acknowledges the last FIN, and only then gives the socket's place to one in
        TIME-WAIT. What comes in between is lost, a reset too, which the other may answer with."""
        port, end, answered = self.talk.client_port, None, None
        for head, frame in packets_of(self.outcome.capture, port):
            segment, when = Segment.of(frame), time_of(head)
            own = (segment.ports[:2] == port.to_bytes(2)) == (side == "client")
            if not own and segment.flags & FIN:
                end = (segment.seq + segment.size) % 2**32
            elif own and answered is None and segment.ack == end:
                answered = when
            elif not own and segment.flags & RST and answered is not None:
                return when - answered < CHANGING
        return False

    def given_up(self, side: str) -> bool:
        """A socket that gets no answer ends in silence when a timer says so: while it connects,
        or when the network is dead, or believes a forged number or window, or when one end lost
        patience, which answers by a reset that can be lost as well. And with a listening socket
        end those that it never gave to the program."""
        if self.saw[side]["connect"] != "ok":
            return not self.smooth
        timed = not self.talk.stays or self.saw[side]["gave_up"]
        deadline = self.talk.start + self.talk.patience
        late = not self.smooth and any(saw["over"] >= deadline for saw in self.saw.values())
        return timed and bool(self.fates["dead"] or self.fates["forged"] or late)


def time_of(head: bytes) -> int:
    """When a packet passed by its head in the file, in ns."""
    seconds, nanoseconds = struct.unpack_from("=II", head)
    return int(seconds) * 10**9 + int(nanoseconds)


def packets_of(capture: Path, port: int) -> Iterator[tuple[bytes, bytes]]:
    """One connection's packets: the head in the file, and the frame."""
    data = capture.read_bytes()
    at = 24
    while at < len(data):
        size = struct.unpack_from("=I", data, at + 8)[0]
        frame = data[at + 16 : at + 16 + size]
        segment = segment_of(frame)
        if segment is not None and port in segment[:2]:
            yield data[at : at + 16], frame
        at += 16 + size


def keep_packets(capture: Path, port: int, target: Path) -> Path:
    """Copies one connection's packets out of a capture."""
    target.parent.mkdir(parents=True, exist_ok=True)
    packets = b"".join(head + frame for head, frame in packets_of(capture, port))
    target.write_bytes(capture.read_bytes()[:24] + packets)
    return target


def by_port(talks: list[Talk], outcome: Outcome) -> dict[int, list[Talk]]:
    """The talks that took place, by the client's port."""
    found = defaultdict(list)
    for talk in talks:
        saw = outcome.saw["client"].get(talk.number)
        if saw is None or saw["connect"] != "busy":
            found[talk.client_port].append(talk)
    return found


def report(judges: list[Judge], complaints: list[str], capture: Path) -> str:
    lines = []
    for judge in judges:
        talk = judge.talk
        lines.append(f"{talk.kind}, number {talk.number}, port {talk.client_port}:")
        lines += [f"    {side} saw {saw}" for side, saw in judge.saw.items()]
    return "\n".join([*lines, *(f"    {c}" for c in complaints), f"    packets: {capture}"])


def batches() -> list[Any]:
    """Climate, seed and number of talks of each batch: a few climates with a talk of each kind,
    or as many connections as were asked for."""
    if not CONNECTIONS:
        some = Random(SEED).sample(CLIMATES, 4)
        return [pytest.param(c, SEED + i, len(KINDS), id=c.name) for i, c in enumerate(some)]
    rest = range(0, CONNECTIONS, AT_ONCE)
    climates = [CLIMATES[i % len(CLIMATES)] for i in range(len(rest))]
    return [
        pytest.param(climate, SEED + i, min(AT_ONCE, CONNECTIONS - done), id=f"{climate.name} {i}")
        for i, (climate, done) in enumerate(zip(climates, rest, strict=True))
    ]


def judged(judges: list[Judge], flows: list[Seen]) -> list[str]:
    """What is wrong with the flows on one client port."""
    first = judges[0]
    if all(saw["connect"] == "refused" for saw in first.saw.values()):
        # Both meant to connect, but one after the other: each was refused.
        reasons = {flow.reason for flow in flows}
        return [] if reasons == {"refused"} else [f"refused twice, it ended by {reasons}"]
    unheard = first.fates["out"] <= first.fates["corrupt"]
    complaints = [
        c for judge, flow in zip(judges, flows, strict=False) for c in judge.complaints(flow)
    ]
    others = flows[len(judges) :]
    if (len(flows) < len(judges) and not unheard) or (others and first.honest):
        complaints.append(f"{len(judges)} connections are {len(flows)} flows")
    # A SYN forged when all was over opens another flow, but no socket: none has read from it.
    sizes = [len(data) for flow in others for data in flow.data.values()]
    return [*complaints, *(f"another flow has {size} bytes, for nobody" for size in sizes if size)]


@pytest.mark.parametrize(("climate", "seed", "count"), batches())
def test_117_sockets_agree(climate: Climate, seed: int, count: int, tmp_path: Path) -> None:
    talks = choose(seed, count, slow_network=climate.weather.delay > 0.01)
    if climate.weather.forged:  # what they break does not mend itself, and a SYN can be theirs
        talks = [replace(t, patience=min(t.patience, 5)) for t in talks if t.after is None]
    if climate.weather.missed:  # where an end is sudden, its last bytes may have gone unnoticed
        talks = [talk for talk in talks if talk.polite]
    outcome = hold(climate, talks, seed, tmp_path)
    print(f"{len(talks)} connections, seed {seed}, packets: {outcome.counts}")
    passes = [run(app, read=str(outcome.capture), settings=app.chosen).flows for app in APPS]
    reports = []
    for port, on_port in by_port(talks, outcome).items():
        judges = [Judge(talk, outcome, climate, seed, talk is on_port[-1]) for talk in on_port]
        if complaints := [c for flows in passes for c in judged(judges, flows.get(port, []))]:
            name = f"{seed}-{re.sub('[ ,]+', '_', climate.name)}-{port}.pcap"
            kept = keep_packets(outcome.capture, port, LEFT_BEHIND / name)
            reports.append(report(judges, complaints, kept))
    if reports:
        told = f"{len(reports)} of {len(talks)} connections differ; MOSBOX_ORACLE_SEED={SEED}\n"
        pytest.fail(told + "\n".join(reports), pytrace=False)
    shutil.rmtree(tmp_path)
