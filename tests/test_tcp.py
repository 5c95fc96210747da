# SPDX-License-Identifier: BSD-3-Clause
"""TCP as the two end hosts see it: segments in, events out."""

import itertools
import random
from typing import Any

import pytest
from event_lines import Lines, lines
from wire import ACK, FIN, PSH, RST, SYN, Talk, tcp_options

from mosbox import Flow

OPENED = [
    "flow_start client 10.0.0.1:40000 server 192.0.2.80:80",
    "state client CLOSED -> SYN_SENT",
    "state server CLOSED -> SYN_RCVD",
    "state client SYN_SENT -> ESTABLISHED",
    "state server SYN_RCVD -> ESTABLISHED",
]


def test_whole_connection() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"hello"), talk.server(b"world"), *talk.close()]
    assert lines(frames) == [
        *OPENED,
        "data client 0 'hello'",
        "data server 0 'world'",
        "state client ESTABLISHED -> FIN_WAIT_1",
        "state server ESTABLISHED -> CLOSE_WAIT",
        "state server CLOSE_WAIT -> LAST_ACK",
        "state client FIN_WAIT_1 -> FIN_WAIT_2",
        "state client FIN_WAIT_2 -> TIME_WAIT",
        "state server LAST_ACK -> CLOSED",
        "flow_end fin 5+3",
    ]


def test_syn_repeated() -> None:
    talk = Talk()
    syn = talk.segment("client", SYN)
    frames = [syn, syn, *talk.handshake()]
    assert lines(frames, "flow_start flow_end") == [OPENED[0], "flow_end shutdown 4+1"]


def test_refused() -> None:
    talk = Talk()
    syn, _, _ = talk.handshake()
    refusal = Talk(client_seq=1001, server_seq=0).segment("server", RST | ACK)
    assert lines([syn, refusal], "state flow_end") == [
        "state client CLOSED -> SYN_SENT",
        "state server CLOSED -> SYN_RCVD",
        "state server SYN_RCVD -> CLOSED",
        "state client SYN_SENT -> CLOSED",
        "flow_end refused 1+1",
    ]


def test_ack_without_syn_ack_establishes_nobody() -> None:
    talk = Talk()
    syn, _, ack = talk.handshake()
    assert lines([syn, ack], "state") == [
        "state client CLOSED -> SYN_SENT",
        "state server CLOSED -> SYN_RCVD",
    ]


def test_syn_ack_of_a_wrong_number_is_not_taken() -> None:
    talk = Talk()
    syn = talk.handshake()[0]
    wrong = Talk(client_seq=777).segment("server", SYN | ACK)
    assert "state client SYN_SENT -> ESTABLISHED" not in lines([syn, wrong])


def test_simultaneous_open() -> None:
    talk = Talk()
    frames = [talk.segment("client", SYN), talk.segment("server", SYN)]
    talk.client_seq += 1
    talk.server_seq += 1
    frames += [
        talk.segment("client", SYN | ACK, seq=1000),
        talk.segment("server", SYN | ACK, seq=5000),
    ]
    assert lines(frames, "flow_start state") == [
        OPENED[0],
        "state client CLOSED -> SYN_SENT",
        "state server CLOSED -> SYN_RCVD",
        "state client SYN_SENT -> SYN_RCVD",
        "state server SYN_RCVD -> ESTABLISHED",
        "state client SYN_RCVD -> ESTABLISHED",
    ]


def test_server_seen_first() -> None:
    talk = Talk()
    frames = talk.handshake()[1:]
    assert lines([*frames, talk.client(b"x")], "flow_start data") == [
        OPENED[0],
        "data client 0 'x'",
    ]


def test_midstream() -> None:
    talk = Talk()
    talk.handshake()
    frames = [talk.client(b"abc"), talk.server(b"de"), talk.client(b"f")]
    assert lines(frames) == [
        OPENED[0],
        "state client CLOSED -> ESTABLISHED",
        "data client 0 'abc'",
        "data server 0 'de'",
        "data client 3 'f'",
        "flow_end shutdown 2+1",
    ]
    assert lines(frames, settings={"midstream": False})[0].startswith("orphan")


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_order_does_not_matter(order: tuple[int, ...]) -> None:
    talk = Talk()
    opening = talk.handshake()
    parts = [talk.client(text) for text in (b"aaa", b"bbb", b"ccc", b"ddd")]
    got = lines([*opening, *(parts[i] for i in order)], "data retransmit")
    assert "".join(line.split("'")[1] for line in got) == "aaabbbcccddd"


def test_exact_duplicate() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"hello")]
    assert lines([*frames, frames[-1]], "data retransmit anomaly") == [
        "data client 0 'hello'",
        "retransmit client 0 'hello'",
    ]


def test_duplicate_with_other_bytes() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"hello")]
    other = talk.segment("client", PSH | ACK, b"HELLO", seq=1001)
    assert lines([*frames, other], "data retransmit anomaly") == [
        "data client 0 'hello'",
        "anomaly tcp_conflict",
        "retransmit client 0 'HELLO' conflicts with 'hello'",
    ]


def test_partial_overlap() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"hello")]
    more = talk.segment("client", PSH | ACK, b"lo world", seq=1004)
    assert lines([*frames, more], "data retransmit anomaly") == [
        "data client 0 'hello'",
        "retransmit client 3 'lo world'",
        "data client 5 ' world'",
    ]


def test_sequence_numbers_wrap() -> None:
    talk = Talk(client_seq=2**32 - 5)
    frames = [*talk.handshake(), talk.client(b"abcdefgh"), talk.client(b"ijkl")]
    assert lines(frames, "data anomaly") == [
        "data client 0 'abcdefgh'",
        "data client 8 'ijkl'",
    ]


def test_gap_is_told_when_acknowledged() -> None:
    talk = Talk()
    frames = talk.handshake()
    talk.client(b"lost")
    frames += [talk.client(b"seen"), talk.server(b"ok")]
    assert lines(frames, "gap data") == [
        "gap client 0 4 bytes",
        "data client 4 'seen'",
        "data server 0 'ok'",
    ]


def test_unacknowledged_hole_waits() -> None:
    talk = Talk()
    frames = talk.handshake()
    talk.client(b"late")
    frames += [talk.client(b"seen")]
    assert lines(frames, "gap data") == []


def test_half_close() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"bye"), talk.client(flags=FIN | ACK)]
    frames += [talk.server(b"x" * 1000) for _ in range(3)]
    assert lines(frames, "data")[1:] == [f"data server {n * 1000} 1000 bytes" for n in range(3)]


def test_fin_out_of_order() -> None:
    talk = Talk()
    frames = talk.handshake()
    first, last = talk.client(b"first"), talk.client(b"last", flags=FIN | PSH | ACK)
    got = lines([*frames, last, first], "data state")[4:]
    assert got == [
        "state client ESTABLISHED -> FIN_WAIT_1",
        "data client 0 'first'",
        "data client 5 'last'",
        "state server ESTABLISHED -> CLOSE_WAIT",
    ]


def test_fin_alone_is_no_data() -> None:
    talk = Talk()
    assert lines([*talk.handshake(), *talk.close()], "data gap retransmit anomaly") == []


def test_reset_with_the_exact_number() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"data"), talk.reset()]
    assert lines(frames, "data flow_end anomaly") == ["data client 0 'data'", "flow_end rst 3+2"]


@pytest.mark.parametrize(("ahead", "reason"), [(100, "tcp_rst_challenge"), (2**30, "tcp_window")])
def test_reset_with_another_number_closes_nothing(ahead: int, reason: str) -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"one")]
    forged = talk.segment("server", RST, seq=talk.server_seq + ahead)
    assert lines([*frames, forged, talk.client(b"two")], "data anomaly flow_end") == [
        "data client 0 'one'",
        f"anomaly {reason}",
        "data client 3 'two'",
        "flow_end shutdown 4+2",
    ]


def test_syn_in_an_established_connection() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.segment("client", SYN, seq=99999), talk.client(b"on")]
    assert lines(frames, "flow_start anomaly data") == [
        OPENED[0],
        "anomaly tcp_syn_challenge",
        "data client 0 'on'",
    ]


def test_reuse_after_close() -> None:
    first, second = Talk(), Talk(client_seq=900000, server_seq=800000)
    frames = [
        *first.handshake(),
        *first.close(),
        *second.handshake(),
        second.client(b"again"),
    ]
    assert lines(frames, "flow_start flow_end data") == [
        OPENED[0],
        "flow_end fin 4+2",
        OPENED[0],
        "data client 0 'again'",
        "flow_end shutdown 3+1",
    ]


def test_data_far_outside_the_window() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"one")]
    far = talk.segment("client", PSH | ACK, b"far", seq=talk.client_seq + 10**6)
    assert lines([*frames, far, talk.client(b"two")], "data anomaly") == [
        "data client 0 'one'",
        "anomaly tcp_window",
        "data client 3 'two'",
    ]


def test_old_timestamp_is_rejected() -> None:
    talk = Talk(syn_options=tcp_options(mss=1460, ts=(1000, 0)))
    talk.options = tcp_options(ts=(1010, 1))
    frames = [*talk.handshake(), talk.client(b"one"), talk.server(b"ok")]
    forged = talk.segment("client", PSH | ACK, b"old", options=tcp_options(ts=(5, 1)))
    talk.options = tcp_options(ts=(1020, 1))
    assert lines([*frames, forged, talk.client(b"new")], "data anomaly") == [
        "data client 0 'one'",
        "data server 0 'ok'",
        "anomaly tcp_paws",
        "data client 3 'new'",
    ]


def test_data_without_ack_is_not_taken() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.segment("client", PSH, b"no"), talk.client(b"yes")]
    assert lines(frames, "data anomaly") == ["anomaly tcp_no_ack", "data client 0 'yes'"]


def test_fast_open_accepted() -> None:
    talk = Talk()
    frames = [talk._send("client", SYN, b"early"), talk._send("server", SYN | ACK)]
    frames += [talk.client(flags=ACK), talk.client(b"later")]
    assert lines(frames, "data gap") == ["data client 0 'early'", "data client 5 'later'"]


def test_fast_open_refused() -> None:
    talk = Talk()
    frames = [talk.segment("client", SYN, b"early")]
    talk.client_seq += 1
    frames += [talk._send("server", SYN | ACK), talk.client(b"early")]
    assert lines(frames, "data gap anomaly") == ["data client 0 'early'"]


def test_flags_that_no_tcp_sends() -> None:
    talk = Talk()
    for flags in (SYN | FIN, SYN | RST, 0, FIN | PSH | 32):
        got = lines([talk.segment("client", flags)])
        assert got[0] == "anomaly tcp_flags"
        assert not any(line.startswith("flow_start") for line in got)


@pytest.mark.parametrize("seed", range(20))
def test_random_cuts_and_orders_give_the_same_bytes(seed: int) -> None:
    rnd = random.Random(seed)
    text = rnd.randbytes(4000)
    talk = Talk()
    frames = talk.handshake()
    start = talk.client_seq
    pieces = []
    for at in range(0, 4000, 100):
        length = rnd.randrange(100, 250)
        piece = text[at : at + length]
        pieces.append(talk.segment("client", PSH | ACK, piece, seq=start + at))
    for at in range(0, len(pieces), 8):
        part = pieces[at : at + 8]
        rnd.shuffle(part)
        frames += part
    got = lines(frames, "data gap")
    assert not any(line.startswith("gap") for line in got)
    offset = 0
    for line in got:
        assert int(line.split()[2]) == offset
        rest = line.split(" ", 3)[3]
        offset += int(rest.split()[0]) if rest.endswith("bytes") else len(eval(rest))
    assert offset == 4000


def test_no_data_after_the_stream_was_stopped() -> None:
    talk = Talk()
    opening = talk.handshake()
    parts = [talk.client(text) for text in (b"aa", b"bb", b"cc")]

    class Stops(Lines):
        def on_data(self, flow: Flow, data: Any) -> None:
            super().on_data(flow, data)
            flow.stop_stream(data.side)

    frames = [*opening, parts[1], parts[2], parts[0], talk.server(b"ok"), talk.client(b"dd")]
    assert lines(frames, "data gap", app=Stops) == ["data client 0 'aa'", "data server 0 'ok'"]


def test_without_reassembly_nothing_is_delivered() -> None:
    talk = Talk()
    frames = [talk._send("client", SYN, b"early"), talk._send("server", SYN | ACK)]
    frames += [talk.client(b"later")]
    assert lines(frames, "data gap", settings={"reassemble": False}) == []


def test_a_dropped_flow_can_be_forgotten() -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"one"), talk.client(b"two"), talk.client(b"three")]

    class Forgets(Lines):
        def on_packet(self, flow: Flow, packet: Any) -> None:
            flow.drop()
            if packet.payload == b"one":
                flow.forget()

    got = lines(frames, "flow_start flow_end", app=Forgets)
    assert [line.split()[0] for line in got] == ["flow_start", "flow_end", "flow_start", "flow_end"]
