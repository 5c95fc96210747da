# SPDX-License-Identifier: BSD-3-Clause
"""Scenario 119 as an app sees it: no memory for this or that. core/tests/test_fault.c has each
allocation of a run fail; here it is the limit that says no, at every size."""

from __future__ import annotations

from typing import Any

from event_lines import Lines, lines
from wire import ACK, Talk, ethernet, fragments, ip, merge, udp

REASONS = ("flow_limit", "stream_limit", "frag_limit")


class Memory(Lines):
    """The events, and what was let go."""

    history = 256
    let_go = 0

    def on_http_request(self, flow: Any, request: Any) -> None:
        self._say("request", request.path)

    def finish(self) -> None:
        stats = self.engine.stats()
        counts = [stats["anomalies"].get(reason, 0) for reason in REASONS]
        Memory.let_go = sum(counts) + stats["memory_refused"]
        ended = sum(stats["flows_ended"].values())
        assert (stats["flows"], stats["stream_memory"]) == (ended, 0)


def conversation(number: int) -> list[bytes]:
    """A request in two pieces, and an answer of which the first comes last."""
    talk = Talk(src=f"10.0.0.{number}")
    text = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
    pieces = [talk.client(text[:20]), talk.client(text[20:])]
    first, second, third = (talk.server(bytes([65 + i]) * 500) for i in range(3))
    answer = [second, third, first]
    return [*talk.handshake(), *pieces, *answer, talk.client(flags=ACK), *talk.close()]


def datagram() -> list[bytes]:
    whole = ip("10.0.0.9", "192.0.2.80", 17, udp("10.0.0.9", "192.0.2.80", 4000, 9, b"d" * 900))
    return [ethernet(piece) for piece in reversed(fragments(whole, 304))]


def test_119_what_finds_no_memory_is_counted_and_the_run_goes_on() -> None:
    frames = list(merge(*(conversation(number) for number in range(1, 5)), datagram()))
    whole = lines(frames, app=Memory)
    assert Memory.let_go == 0
    seen = set()
    for limit in range(0, 60_000, 300):
        told = lines(frames, app=Memory, settings={"limits.memory": limit})
        seen.add(told == whole)
        assert told == whole or Memory.let_go > 0, f"limits.memory={limit}"
        for event in ("flow_start", "flow_end"):
            count = sum(line.startswith(event) for line in told)
            assert count == sum(line.startswith("flow_end") for line in told)
    assert seen == {True, False}
