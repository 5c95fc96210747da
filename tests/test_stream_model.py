# SPDX-License-Identifier: BSD-3-Clause
"""Any stream, however it is cut, disordered, repeated and overlapped, is the same stream.

Two properties, for both directions at once, over IPv4 and IPv6, with sequence numbers that wrap
and packets in fragments:

- where all copies of a byte agree, what is delivered is the stream, each byte once and in order;
- where they do not, it is what a receiver with its policy holds: `Receiver` below, a second
  implementation that knows single bytes and nothing of how the core keeps them.

MOSBOX_EXAMPLES=N tries N streams of each kind, other ones in every run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire import ACK, FIN, PSH, Frame, Talk, ethernet, fragments, ip, udp, write_pcap

from mosbox import App, Flow, run

EXAMPLES = int(os.environ.get("MOSBOX_EXAMPLES", "0"))
SIDES = ("client", "server")
PIECE = 24  # longest segment, so that a short stream has many

many = settings(max_examples=EXAMPLES or 200, derandomize=not EXAMPLES, database=None)


# ---- what is heard


class Heard(App):
    """Bytes and gaps of each side, which must follow one another."""

    def start(self) -> None:
        self.bytes = dict.fromkeys(SIDES, b"")
        self.gaps: dict[str, list[tuple[int, int]]] = {side: [] for side in SIDES}
        self.next = dict.fromkeys(SIDES, 0)
        self.anomalies: list[str] = []
        self.ends: list[str] = []

    def on_data(self, flow: Flow, data: Any) -> None:
        assert data.offset == self.next[data.side]
        self.next[data.side] += len(data)
        self.bytes[data.side] += data.bytes

    def on_gap(self, flow: Flow, gap: Any) -> None:
        assert gap.offset == self.next[gap.side]
        self.next[gap.side] += gap.length
        self.bytes[gap.side] += b"_" * gap.length

    def on_anomaly(self, flow: Flow | None, anomaly: Any) -> None:
        self.anomalies.append(anomaly.reason)

    def on_flow_end(self, flow: Flow) -> None:
        self.ends.append(flow.end_reason or "")


class Remembering(Heard):
    """The same with a history, which takes other ways through the core."""

    history = 64


def play(path: Path, frames: list[Frame], app: type[Heard] = Heard, **choices: Any) -> Heard:
    return run(app, read=str(write_pcap(path / "x.pcap", frames)), settings=choices)


# ---- streams and how they are sent


@dataclass
class Segment:
    """Bytes [begin, begin + len(data)) of what a side sends."""

    side: str
    begin: int
    data: bytes
    acks: int = 0  # bytes of the other side that it acknowledges

    @property
    def end(self) -> int:
        return self.begin + len(self.data)


def stream(side: str, length: int) -> bytes:
    """Bytes that are unlike their neighbours."""
    start = SIDES.index(side) * 101
    return bytes((start + i * 7 + (i >> 5)) % 251 for i in range(length))


@st.composite
def ways(draw: st.DrawFn, side: str) -> list[Segment]:
    """A stream cut into segments that cover it, in any order, some again or across the cuts."""
    whole = stream(side, draw(st.integers(0, 120)))
    cuts, at = [0], 0
    while at < len(whole):
        at += draw(st.integers(1, PIECE))
        cuts.append(min(at, len(whole)))
    pieces = list(pairwise(cuts))
    place = st.integers(0, len(whole))
    again = draw(st.lists(st.tuples(place, st.integers(1, PIECE)), max_size=8)) if whole else []
    pieces += [(begin, min(begin + n, len(whole))) for begin, n in again if begin < len(whole)]
    order = draw(st.permutations(pieces)) if draw(st.booleans()) else pieces
    return [Segment(side, begin, whole[begin:end]) for begin, end in order]


@st.composite
def both_ways(draw: st.DrawFn) -> list[Segment]:
    """Segments of both sides in turns; each acknowledges what its sender has, or less."""
    left = {side: draw(ways(side)) for side in SIDES}
    sent: list[Segment] = []
    have: dict[str, set[int]] = {side: set() for side in SIDES}
    while any(left.values()):
        side = draw(st.sampled_from([s for s in SIDES if left[s]]))
        segment = left[side].pop(0)
        other = have["server" if side == "client" else "client"]
        edge = next(i for i in range(len(other) + 1) if i not in other)
        segment.acks = draw(st.sampled_from((0, edge // 2, edge)))
        sent.append(segment)
        have[side].update(range(segment.begin, segment.end))
    return sent


@dataclass
class Journey:
    """How packets travel."""

    ipv6: bool = False
    isn: tuple[int, int] = (1000, 5000)
    cut: int = 0  # bytes of a fragment, 0: none
    reverse: bool = False  # fragments in reverse
    frames: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        ends = ("2001:db8::1", "2001:db8::2") if self.ipv6 else ("10.0.0.1", "192.0.2.80")
        self.talk = Talk(*ends, client_seq=self.isn[0], server_seq=self.isn[1])
        for frame in self.talk.handshake():
            self._put(frame)
        self.ident = 1

    def _put(self, frame: bytes) -> None:
        self.frames.append(Frame(frame, 1000 + len(self.frames) / 1000))

    def send(self, segment: Segment, flags: int = ACK | PSH) -> None:
        mine, other = self.isn if segment.side == "client" else self.isn[::-1]
        self.ident += 1
        packet = self.talk.packet(
            segment.side,
            flags,
            segment.data,
            seq=mine + 1 + segment.begin,
            ack=other + 1 + segment.acks & 0xFFFFFFFF,
            ident=self.ident,
        )
        packets = fragments(packet, self.cut) if self.cut and not self.ipv6 else [packet]
        for piece in reversed(packets) if self.reverse else packets:
            self._put(ethernet(piece))

    def close(self, lengths: dict[str, int]) -> list[Frame]:
        """Both sides have sent all, and acknowledge it."""
        client, server = lengths["client"], lengths["server"]
        self.send(Segment("client", client, b"", server), FIN | ACK)
        self.send(Segment("server", server, b"", client + 1), FIN | ACK)
        self.send(Segment("client", client + 1, b"", server + 1), ACK)
        return self.frames


numbers = st.sampled_from([0, 1000, 2**31 - 60, 2**32 - 60, 2**32 - 2, 2**32 - 1])
journeys = st.builds(
    Journey,
    ipv6=st.booleans(),
    isn=st.tuples(numbers, numbers),
    cut=st.sampled_from((0, 0, 8, 16)),
    reverse=st.booleans(),
)


# ---- copies that agree


@many
@given(both_ways(), journeys, st.sampled_from((Heard, Remembering)))
def test_whatever_way_it_is_sent_a_stream_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    segments: list[Segment],
    way: Journey,
    app: type[Heard],
) -> None:
    lengths = {s: max((g.end for g in segments if g.side == s), default=0) for s in SIDES}
    for segment in segments:
        way.send(segment)
    told = play(tmp_path_factory.getbasetemp(), way.close(lengths), app)
    assert told.bytes == {side: stream(side, lengths[side]) for side in SIDES}
    assert (told.anomalies, told.ends) == ([], ["fin"])


@many
@given(
    ways("client"),
    st.sets(st.integers(0, 7)),
    journeys,
    st.sampled_from((Heard, Remembering)),
)
def test_what_is_lost_is_told_where_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    segments: list[Segment],
    lost: set[int],
    way: Journey,
    app: type[Heard],
) -> None:
    """Segments that the capture does not hold but the server acknowledged are gaps."""
    length = max((segment.end for segment in segments), default=0)
    here = [segment for n, segment in enumerate(segments) if n not in lost]
    expected = bytearray(b"_" * length)
    for segment in here:
        way.send(segment)
        expected[segment.begin : segment.end] = segment.data
    told = play(tmp_path_factory.getbasetemp(), way.close({"client": length, "server": 0}), app)
    got = told.bytes["client"]
    holes = [i for i in range(length) if not any(s.begin <= i < s.end for s in here)]
    assert [i for i in range(length) if got[i] != expected[i]] == []
    assert len(got) == length
    assert (told.ends, set(told.anomalies)) == (["fin"], set())
    assert told.next["client"] == length
    assert len(holes) == length - len({i for s in here for i in range(s.begin, s.end)})


@many
@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_datagram_is_the_same_whatever_way_it_is_fragmented(
    tmp_path_factory: pytest.TempPathFactory, payload: bytes, data: st.DataObject
) -> None:
    """Fragments in any order, some twice; of IPv4 also such that overlap and agree."""
    ipv6 = data.draw(st.booleans())
    ends = ("2001:db8::1", "2001:db8::2") if ipv6 else ("10.0.0.1", "192.0.2.80")
    body = udp(*ends, 4000, 53, payload)
    pieces = cut_in_eights(data, len(body))
    again = data.draw(st.lists(st.sampled_from(pieces), max_size=3))
    across = [] if ipv6 else data.draw(st.lists(spans(len(body)), max_size=3))
    order = data.draw(st.permutations(pieces + again + across))
    first_whole = whole_after(order, len(body))
    order = order[: first_whole + 1]  # what comes later begins another datagram
    frames = [fragment(ends, body, begin, end) for begin, end in order]
    told = play(tmp_path_factory.getbasetemp(), frames)
    assert told.bytes["client"] == payload
    assert set(told.anomalies) <= {"frag_overlap"}


def cut_in_eights(data: st.DataObject, length: int) -> list[tuple[int, int]]:
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, (length - 1) // 8)), max_size=6)))
    edges = [0, *(8 * cut for cut in cuts if 8 * cut < length), length]
    return list(pairwise(edges))


def spans(length: int) -> st.SearchStrategy[tuple[int, int]]:
    """Fragments of a datagram that begin and end anywhere."""
    eighth = st.integers(0, (length - 1) // 8)
    both = st.tuples(eighth, eighth).map(sorted)
    return both.map(lambda pair: (8 * pair[0], min(8 * pair[1] + 8, length)))


def whole_after(order: list[tuple[int, int]], length: int) -> int:
    """After which of the fragments the datagram is whole."""
    here: set[int] = set()
    for n, (begin, end) in enumerate(order):
        here.update(range(begin, end))
        if len(here) == length:
            return n
    raise AssertionError("these fragments are not all")


def fragment(ends: tuple[str, str], body: bytes, begin: int, end: int) -> Frame:
    more = end < len(body)
    return Frame(ethernet(ip(*ends, 17, body[begin:end], ident=7, fragment=begin, more=more)), 1000)


# ---- copies that do not agree

Wins = Callable[[int, int, int, int], bool]

# Whether a newcomer [nb, ne) stands where it overlaps what is there, [ob, oe).
TCP_RULES: dict[str, Wins] = {
    "first": lambda nb, ne, ob, oe: False,
    "last": lambda nb, ne, ob, oe: True,
    "bsd": lambda nb, ne, ob, oe: nb < ob,
    "bsd_right": lambda nb, ne, ob, oe: nb >= ob,
    "linux": lambda nb, ne, ob, oe: nb < ob or (nb == ob and ne > oe),
    "old_linux": lambda nb, ne, ob, oe: nb < ob or (nb == ob and ne >= oe),
    "windows": lambda nb, ne, ob, oe: nb < ob,
    "windows2003": lambda nb, ne, ob, oe: nb < ob,
    "macos": lambda nb, ne, ob, oe: nb < ob,
    "solaris": lambda nb, ne, ob, oe: ne >= oe if nb <= ob else ne > oe,
    "hpux": lambda nb, ne, ob, oe: ne >= oe if nb <= ob else ne > oe,
}
IP_RULES = TCP_RULES | {
    "linux": lambda nb, ne, ob, oe: nb <= ob,
    "old_linux": lambda nb, ne, ob, oe: nb <= ob,
    "windows": lambda nb, ne, ob, oe: nb < ob and ne > oe,
    "windows2003": lambda nb, ne, ob, oe: nb < ob and ne > oe,
    "solaris": lambda nb, ne, ob, oe: nb < ob and ne >= oe,
    "hpux": lambda nb, ne, ob, oe: False,
    "macos": lambda nb, ne, ob, oe: False,
}


@dataclass
class Receiver:
    """What a host holds that waits for bytes in front: each byte and whose it is."""

    rule: Wins
    as_sent: bool = False  # Linux: a segment that was cut still begins where it began
    mentat: bool = False  # Solaris, HP-UX
    held: dict[int, tuple[int, int]] = field(default_factory=dict)  # place -> byte, segment
    begins: list[int] = field(default_factory=list)  # of each segment, as it was sent
    read: bytes = b""

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """What is left of each segment: begin, end, and where it was sent to begin."""
        places = sorted(self.held)
        while places:
            begin, owner = places[0], self.held[places[0]][1]
            end = begin
            while end in self.held and self.held[end][1] == owner:
                end += 1
            yield begin, end, self.begins[owner]
            places = places[end - begin :]

    def take(self, begin: int, data: bytes) -> None:
        """A segment or fragment arrives; what is in order is read at once."""
        skip = max(0, len(self.read) - begin)
        begin, data = begin + skip, data[skip:]
        runs = list(self.runs())
        end = begin + len(data)
        if self.mentat:  # cut where something begins that it does not cover
            end = min([ob for ob, oe, _ in runs if begin < ob < end < oe], default=end)
        number = len(self.begins)
        self.begins.append(begin)
        for place in range(begin, end):
            under = next((r for r in runs if r[0] <= place < r[1]), None)
            if under is None or self.stands(begin, end, under, under == runs[0]):
                self.held[place] = (data[place - begin], number)
        while len(self.read) in self.held:
            self.read += bytes([self.held.pop(len(self.read))[0]])

    def stands(self, begin: int, end: int, old: tuple[int, int, int], first: bool) -> bool:
        ob, oe, sent = old
        if self.mentat and first and begin == ob:
            return end > oe
        return self.rule(begin, end, sent if self.as_sent else ob, oe)


def receiver(policy: str) -> Receiver:
    return Receiver(
        TCP_RULES[policy],
        as_sent=policy in ("linux", "old_linux"),
        mentat=policy in ("solaris", "hpux"),
    )


pieces = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 16)), min_size=1, max_size=12)


def told_apart(found: list[tuple[int, int]], unit: int = 1) -> list[tuple[int, bytes]]:
    """Pieces with contents of their own: 0..., 1..., 2... in letters."""
    return [(unit * at, bytes([65 + n]) * (unit * size)) for n, (at, size) in enumerate(found)]


@pytest.mark.parametrize("policy", TCP_RULES)
@settings(many, max_examples=EXAMPLES or 80)
@given(pieces, journeys)
def test_segments_that_disagree_are_the_receivers_to_choose(
    tmp_path_factory: pytest.TempPathFactory,
    policy: str,
    found: list[tuple[int, int]],
    way: Journey,
) -> None:
    """The first byte comes last, so that all wait; then the rest that was not sent yet."""
    host = receiver(policy)
    sent = told_apart(found)
    end = max(at + len(data) for at, data in sent)
    rest = [(at, b"-") for at in range(end) if at not in host.held]
    for at, data in [*sent, *rest]:
        host.take(at, data)
        way.send(Segment("client", at, data))
    told = play(
        tmp_path_factory.getbasetemp(),
        way.close({"client": end, "server": 0}),
        overlap=policy,
    )
    assert told.bytes["client"] == host.read
    assert set(told.anomalies) <= {"tcp_conflict"}


@pytest.mark.parametrize("policy", IP_RULES)
@settings(many, max_examples=EXAMPLES or 40)
@given(pieces)
def test_fragments_that_disagree_are_the_receivers_to_choose(
    tmp_path_factory: pytest.TempPathFactory, policy: str, found: list[tuple[int, int]]
) -> None:
    """Eight bytes of UDP header are in front, and the last fragment closes the datagram."""
    ends, host = ("10.0.0.1", "192.0.2.80"), Receiver(IP_RULES[policy])
    sent = [(8 + at, data) for at, data in told_apart(found, 8)]
    end = max(at + len(data) for at, data in sent)
    here = {place for at, data in sent for place in range(at, at + len(data))}
    gaps = [(at, b"-" * 8) for at in range(8, end, 8) if at not in here]
    head = udp(*ends, 4000, 53, b"")[:4] + (end + 8).to_bytes(2, "big") + b"\0\0"
    order = [*sent, *gaps, (end, b"." * 8), (0, head)]
    for at, data in order:
        host.take(at, data)
    frames = [
        Frame(ethernet(ip(*ends, 17, data, ident=7, fragment=at, more=at != end)), 1000)
        for at, data in order
    ]
    told = play(tmp_path_factory.getbasetemp(), frames, overlap=policy)
    assert told.bytes["client"] == host.read[8:]
    assert set(told.anomalies) <= {"frag_overlap"}
