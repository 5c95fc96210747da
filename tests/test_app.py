# SPDX-License-Identifier: BSD-3-Clause
"""The interface that apps are written on."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from program import scan
from wire import ACK, FIN, PSH, Talk, write_pcap

import mosbox
from mosbox import (
    App,
    Data,
    Flow,
    MosboxError,
    Packet,
    Retransmit,
    StateChange,
    event,
    hook,
    option,
)
from mosbox._core import ffi, lib
from mosbox.events import EVENTS
from mosbox.testing import Capture

SCANNER, WEB_CLIENT, SERVER = "10.0.0.1", "10.0.0.9", "10.0.0.2"


@pytest.fixture
def pcap(tmp_path: Path) -> Path:
    return scan(tmp_path / "scan.pcap")


# ---- what a class may be


def test_a_misspelt_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(TypeError, match=r"Typo\.on_flow_strat: .*did you mean on_flow_start\?"):

        class Typo(App):
            def on_flow_strat(self, flow: Flow) -> None: ...


def test_a_method_has_to_take_what_its_event_gives() -> None:
    with pytest.raises(TypeError, match=r"on_data has to take \(self, flow, data\)"):

        class Short(App):
            def on_data(self, flow: Flow) -> None: ...


@pytest.mark.parametrize("name", ["read", "config", "alert", "table"])
def test_an_option_cannot_take_a_name_that_means_something(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        type("Taken", (App,), {name: option(1, help="no"), "__annotations__": {name: int}})


def test_an_option_needs_a_type() -> None:
    class Untyped(App):
        limit = option(1, help="how many")

    with pytest.raises(TypeError, match="limit: an option needs a type"):
        Untyped()


def test_an_event_needs_a_parent_that_exists() -> None:
    with pytest.raises(TypeError, match="no event 'flow_edn'; did you mean flow_end"):

        class Lost(App):
            big = event("flow_edn", where="bytes > 1")


def test_an_event_has_one_filter() -> None:
    with pytest.raises(TypeError, match="one filter"):
        event("flow_end", where="bytes > 1", bpf="tcp")


def test_every_builtin_event_of_the_core_has_a_method_name() -> None:
    names = {ffi.string(lib.mb_event_name(i)).decode() for i in range(lib.MB_EV_BUILTIN)}
    assert set(EVENTS) == names - {"timer"}
    for name, kind in EVENTS.items():
        assert ffi.string(lib.mb_event_name(kind.id)).decode() == name


# ---- options


class Options(App):
    number: int = option(3, help="a number", min=1, max=9)
    words: list[str] = option([], help="words")
    place: Path | None = option(None, help="a place")
    needed: str = option(help="needed")


def test_options_have_the_type_of_their_annotation() -> None:
    app = Options(needed="x", number="7", words=("a", "b"), place="/tmp")
    assert (app.number, app.words, app.place, app.needed) == (7, ["a", "b"], Path("/tmp"), "x")


def test_a_default_list_is_not_shared() -> None:
    first, second = Options(needed="x"), Options(needed="x")
    first.words.append("mine")
    assert second.words == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "needs the option 'needed'"),
        ({"needed": "x", "nubmer": 1}, "no option 'nubmer'; did you mean number"),
        ({"needed": "x", "number": "many"}, "number: 'many' is not a whole number"),
        ({"needed": "x", "number": 2.5}, "number: 2.5 is not a whole number"),
        ({"needed": "x", "number": 0}, "number: 0 is less than 1"),
        ({"needed": "x", "number": 10}, "number: 10 is more than 9"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Options(**options)


# ---- events


def test_flows_begin_and_end_once(pcap: Path) -> None:
    class Log(App):
        def start(self) -> None:
            self.log_lines: list[str] = []

        def on_flow_start(self, flow: Flow) -> None:
            assert flow.end_reason is None
            self.log_lines.append(f"{flow.id} start {flow}")

        def on_flow_end(self, flow: Flow) -> None:
            self.log_lines.append(f"{flow.id} end {flow.end_reason}")

    app = mosbox.run(Log, read=pcap, bpf="port 80 or port 3")
    assert sorted(app.log_lines) == [
        "8 end fin",
        f"8 start TCP {WEB_CLIENT}:49153 -> {SERVER}:80",
        "88 end refused",
        f"88 start TCP {SCANNER}:49156 -> {SERVER}:3",
    ]


def test_data_is_both_streams_in_order(tmp_path: Path) -> None:
    said = [b"a" * 5000, b"b" * 3000, b"c"]
    with Capture(tmp_path / "x.pcap") as capture:
        capture.tcp("2001:db8::1", "2001:db8::2", 80, *said)

    class Streams(App):
        def start(self) -> None:
            self.streams = {"client": b"", "server": b""}

        def on_data(self, flow: Flow, data: Data) -> None:
            assert len(self.streams[data.side]) == data.offset
            assert len(data) == len(data.bytes) == len(data.view)
            self.streams[data.side] += data.bytes

    app = mosbox.run(Streams, read=tmp_path / "x.pcap")
    assert app.streams == {"client": said[0] + said[2], "server": said[1]}


def test_packets_of_a_flow_and_raw_frames(pcap: Path) -> None:
    class Packets(App):
        def start(self) -> None:
            self.raw = self.packets = 0

        def on_raw(self, packet: Packet) -> None:
            self.raw += 1
            assert packet.number == self.raw

        @hook("rcv")
        def on_packet(self, flow: Flow, packet: Packet) -> None:
            self.packets += 1
            assert {packet.src, packet.dst} == {flow.client.ip, flow.server.ip}

    app = mosbox.run(Packets, read=pcap)
    assert app.raw == app.packets > 0


def test_user_defined_events_nest(pcap: Path) -> None:
    class Nested(App):
        tried = event("flow_start", when=lambda flow: flow.server.port != 80)
        high = event(tried, when=lambda flow: flow.server.port > 3)

        def start(self) -> None:
            self.seen: dict[str, list[int]] = {"tried": [], "high": []}

        def on_tried(self, flow: Flow) -> None:
            self.seen["tried"].append(flow.server.port)

        def on_high(self, flow: Flow) -> None:
            self.seen["high"].append(flow.server.port)

    app = mosbox.run(Nested, read=pcap)
    assert app.seen == {"tried": [1, 2, 3, 4, 5], "high": [4, 5]}


def test_a_method_can_be_a_filter(pcap: Path) -> None:
    class Chooser(App):
        port: int = option(2, help="which")

        def is_mine(self, flow: Flow) -> bool:
            return flow.server.port == self.port

        mine = event("flow_start", when=is_mine)

        def start(self) -> None:
            self.seen: list[int] = []

        def on_mine(self, flow: Flow) -> None:
            self.seen.append(flow.server.port)

    assert mosbox.run(Chooser, read=pcap, port=4).seen == [4]


@pytest.mark.parametrize("filter", [{"where": "server.port == 80"}, {"bpf": "port 80"}])
def test_filters_in_c(pcap: Path, filter: dict[str, str]) -> None:
    class Filtered(App):
        web = event("flow_start", **filter)

        def start(self) -> None:
            self.seen: list[int] = []

        def on_web(self, flow: Flow) -> None:
            self.seen.append(flow.server.port)

    assert mosbox.run(Filtered, read=pcap).seen == [80]


@pytest.mark.parametrize("filter", [{"where": "bytes >"}, {"bpf": "port and"}])
def test_a_wrong_filter_names_its_event(pcap: Path, filter: dict[str, str]) -> None:
    class Wrong(App):
        web = event("flow_start", **filter)

        def on_web(self, flow: Flow) -> None: ...

    with pytest.raises(ValueError, match="event web: "):
        mosbox.run(Wrong, read=pcap)


def test_an_event_without_a_filter_is_raised_by_the_app(pcap: Path) -> None:
    class Raiser(App):
        third = event("flow_start")

        def start(self) -> None:
            self.seen: list[int] = []

        def on_flow_start(self, flow: Flow) -> None:
            if flow.server.port == 3:
                self.raise_event("third")

        def on_third(self, flow: Flow) -> None:
            self.seen.append(flow.server.port)

    assert mosbox.run(Raiser, read=pcap).seen == [3]


def test_listening_to_one_flow(pcap: Path) -> None:
    class Picky(App):
        def start(self) -> None:
            self.seen: list[bytes] = []

        def on_flow_start(self, flow: Flow) -> None:
            if flow.server.port == 80:
                flow.on("data", self.hear)

        def hear(self, flow: Flow, data: Data) -> None:
            self.seen.append(data.bytes)
            flow.off("data")

    assert mosbox.run(Picky, read=pcap).seen == [b"GET / HTTP/1.0\r\n\r\n"]


def test_listening_from_the_last_bytes_on_hears_of_the_fin_beside_them(tmp_path: Path) -> None:
    class Late(App):
        def start(self) -> None:
            self.seen: list[str] = []

        def on_data(self, flow: Flow, data: Data) -> None:
            flow.on("state_change", self.note)

        def note(self, flow: Flow, change: StateChange) -> None:
            self.seen.append(f"{change.side} {change.old} -> {change.new}")

    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"bye", FIN | PSH | ACK)]
    frames += [talk.server(flags=FIN | ACK), talk.client(flags=ACK)]
    assert mosbox.run(Late, read=write_pcap(tmp_path / "late.pcap", frames)).seen == [
        "server ESTABLISHED -> CLOSE_WAIT",
        "server CLOSE_WAIT -> LAST_ACK",
        "client FIN_WAIT_1 -> FIN_WAIT_2",
        "client FIN_WAIT_2 -> TIME_WAIT",
        "server LAST_ACK -> CLOSED",
    ]


def test_scope_leaves_flows_out(pcap: Path) -> None:
    class Scoped(App):
        scope = "port 80"

        def start(self) -> None:
            self.seen: list[int] = []

        def on_flow_start(self, flow: Flow) -> None:
            self.seen.append(flow.server.port)

    assert mosbox.run(Scoped, read=pcap).seen == [80]


# ---- flows


def test_a_flow_remembers_what_the_app_put_there(pcap: Path) -> None:
    class Remember(App):
        def start(self) -> None:
            self.seen: dict[int, Any] = {}

        def on_flow_start(self, flow: Flow) -> None:
            assert flow.data is None
            flow.data = f"port {flow.server.port}"

        def on_flow_end(self, flow: Flow) -> None:
            self.seen[flow.server.port] = flow.data

    seen = mosbox.run(Remember, read=pcap).seen
    assert seen == {port: f"port {port}" for port in (80, 1, 2, 3, 4, 5)}


def test_a_flow_may_be_kept_until_its_end(pcap: Path) -> None:
    class Keeper(App):
        def start(self) -> None:
            self.flows: dict[int, Flow] = {}
            self.same = 0

        def on_flow_start(self, flow: Flow) -> None:
            self.flows[flow.id] = flow
            assert self.flows[flow.id].server.port == flow.server.port

        def on_flow_end(self, flow: Flow) -> None:
            self.same += self.flows[flow.id] is flow
            assert self.flows[flow.id].client.port == flow.client.port

    app = mosbox.run(Keeper, read=pcap)
    assert app.same == len(app.flows) == 6
    for flow in app.flows.values():
        with pytest.raises(MosboxError, match="after its time"):
            print(flow.client.ip)
        with pytest.raises(MosboxError, match="after its time"):
            flow.data = 1
        assert "over" in repr(flow)


def test_kept_flows_are_not_mixed_up(pcap: Path) -> None:
    class Mixed(App):
        def start(self) -> None:
            self.ends: list[tuple[int, Any]] = []

        def on_flow_start(self, flow: Flow) -> None:
            if flow.server.port in (1, 4):
                self.ends.append((flow.server.port, flow.server))

        def on_flow_end(self, flow: Flow) -> None:
            for port, end in self.ends:
                if flow.server.port == port:
                    assert end.port == port

    mosbox.run(Mixed, read=pcap)


def test_records_end_with_their_event(pcap: Path) -> None:
    class Hoarder(App):
        def start(self) -> None:
            self.packets: list[Packet] = []
            self.views: list[memoryview] = []
            self.copies: list[dict[str, Any]] = []

        def on_packet(self, flow: Flow, packet: Packet) -> None:
            self.packets.append(packet)
            self.copies.append(packet.copy())

        def on_data(self, flow: Flow, data: Data) -> None:
            self.views.append(data.view)

    app = mosbox.run(Hoarder, read=pcap)
    assert len({id(packet) for packet in app.packets}) == len(app.packets)
    for packet in app.packets:
        with pytest.raises(MosboxError, match="after its time"):
            packet.src  # noqa: B018
    for view in app.views:
        with pytest.raises(ValueError, match="released"):
            bytes(view)
    assert [copy["number"] for copy in app.copies] == list(range(1, len(app.copies) + 1))


def test_flows_of_a_capture_that_is_cut_off_come_with_a_warning(pcap: Path) -> None:
    whole = len(list(mosbox.flows(pcap)))
    pcap.write_bytes(pcap.read_bytes()[:-5])
    with pytest.warns(UserWarning, match=r"\.pcap") as caught:
        assert len(list(mosbox.flows(pcap))) == whole
    assert len(caught) == 1


def test_copies_outlive_the_run(pcap: Path) -> None:
    flows = list(mosbox.flows(pcap))
    assert [flow.server.port for flow in flows] == [80, 1, 2, 3, 4, 5]
    web = flows[0]
    assert (web.proto, web.client.ip, web.end_reason) == ("TCP", WEB_CLIENT, "fin")
    assert web.packets == web.client.packets + web.server.packets
    assert web.client.payload == len(b"GET / HTTP/1.0\r\n\r\n")
    assert web.rtt == pytest.approx(0.002)
    assert web.community_id.startswith("1:")


def test_flows_can_be_left_half_way(pcap: Path) -> None:
    walk = mosbox.flows(pcap)
    assert next(walk).server.port == 80
    walk.close()
    gc.collect()


# ---- what is sent again


class Again(App):
    """Retransmissions, as they differ."""

    def start(self) -> None:
        self.heard: list[tuple[bool, bytes, bytes]] = []

    def on_retransmit(self, flow: Flow, again: Retransmit) -> None:
        self.heard.append((again.conflict, again.old, again.bytes))


class Conflicts(App):
    """Only those that do."""

    other = event("retransmit", where="conflict")

    def start(self) -> None:
        self.heard: list[tuple[bool, bytes, bytes]] = []

    def on_other(self, flow: Flow, again: Retransmit) -> None:
        self.heard.append((again.conflict, again.old, again.bytes))


class Forgetful(Again):
    """Who wants nothing kept cannot know."""

    history = 0


@pytest.mark.parametrize(
    ("app", "heard"),
    [
        (Again, [(False, b"hello", b"hello"), (True, b"hello", b"HELLO")]),
        (Conflicts, [(True, b"hello", b"HELLO")]),
        (Forgetful, [(False, b"", b"hello"), (False, b"", b"HELLO")]),
    ],
)
def test_retransmissions_show_both_contents(
    app: type[App], heard: list[tuple[bool, bytes, bytes]], tmp_path: Path
) -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"hello")]
    frames += [
        talk.segment("client", ACK | PSH, text, seq=talk.client_seq - 5)
        for text in (b"hello", b"HELLO")
    ]
    assert mosbox.run(app, read=write_pcap(tmp_path / "x.pcap", frames)).heard == heard


# ---- verdicts


def test_dropped_flows_are_not_written(pcap: Path, tmp_path: Path) -> None:
    class Wall(App):
        def on_flow_start(self, flow: Flow) -> None:
            if flow.server.port != 80:
                flow.drop()

    mosbox.run(Wall, read=pcap, write=str(tmp_path / "kept.pcap"))
    assert [flow.server.port for flow in mosbox.flows(tmp_path / "kept.pcap")] == [80]


def test_one_packet_can_be_dropped(pcap: Path, tmp_path: Path) -> None:
    class NoReset(App):
        def on_packet(self, flow: Flow, packet: Packet) -> None:
            if packet.tcp_flags & 4:
                packet.drop()

    mosbox.run(NoReset, read=pcap, write=str(tmp_path / "kept.pcap"))
    before = sum(flow.packets for flow in mosbox.flows(pcap))
    after = sum(flow.packets for flow in mosbox.flows(tmp_path / "kept.pcap"))
    assert before - after == 5


@pytest.mark.parametrize(
    ("frames", "states"), [(1, ("SYN_SENT", "CLOSED")), (2, ("SYN_SENT", "SYN_RCVD"))]
)
def test_a_handshake_frame_dropped_before_its_flow_does_not_arrive(
    frames: int, states: tuple[str, str], tmp_path: Path
) -> None:
    write_pcap(tmp_path / "x.pcap", Talk().handshake()[:frames])

    class Raw(App):
        def on_raw(self, packet: Packet) -> None:
            if packet.number == frames:
                packet.drop()

        def on_flow_end(self, flow: Flow) -> None:
            self.seen = flow.client.state, flow.server.state, flow.rtt_server

    assert mosbox.run(Raw, read=tmp_path / "x.pcap").seen == (*states, None)


def test_a_verdict_needs_an_event_of_the_flow(pcap: Path) -> None:
    class Late(App):
        def start(self) -> None:
            self.first: Flow | None = None

        def on_flow_start(self, flow: Flow) -> None:
            if self.first is None:
                self.first = flow
                flow.data = "keep it"
            else:
                self.first.drop()

    with pytest.raises(MosboxError):
        mosbox.run(Late, read=pcap)


# ---- time


def test_every_is_packet_time_from_the_first_packet(tmp_path: Path) -> None:
    with Capture(tmp_path / "x.pcap", start=1_000_000) as capture:
        for _ in range(12):
            capture.udp("10.0.0.1", "10.0.0.2", 53, b"x")
            capture.wait(0.37)

    class Clock(App):
        def start(self) -> None:
            self.ticks: list[float] = []
            self.once: list[float] = []
            self.every(1.0, lambda: self.ticks.append(self.now))
            self.after(2.5, lambda: self.once.append(self.now))

    app = mosbox.run(Clock, read=tmp_path / "x.pcap")
    assert [int(tick - 1_000_000) for tick in app.ticks] == [1, 2, 3, 4]
    assert [round(time - 1_000_000, 2) for time in app.once] == [2.6]


def test_a_flow_timer_dies_with_its_flow(tmp_path: Path) -> None:
    with Capture(tmp_path / "x.pcap") as capture:
        capture.tcp("10.0.0.1", "10.0.0.2", 1, refused=True)
        capture.udp("10.0.0.1", "10.0.0.2", 2, b"x", b"y")
        capture.wait(20)
        capture.udp("10.0.0.1", "10.0.0.2", 3, b"x")

    class Timers(App):
        def start(self) -> None:
            self.fired: list[int] = []

        def on_flow_start(self, flow: Flow) -> None:
            flow.after(10, lambda flow: self.fired.append(flow.server.port))

    settings = {"timeouts.tcp_reset": "1s", "timeouts.udp": "30s"}
    assert mosbox.run(Timers, read=tmp_path / "x.pcap", settings=settings).fired == [2]


# ---- failures


class Fails(App):
    def start(self) -> None:
        self.starts = 0

    def on_flow_start(self, flow: Flow) -> None:
        self.starts += 1
        if flow.server.port in (2, 4):
            raise ZeroDivisionError("oh")


def test_an_exception_comes_out_and_names_the_flow(pcap: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        mosbox.run(Fails, read=pcap)
    [note] = caught.value.__notes__
    assert note.startswith("in on_flow_start of fails, flow 104 (TCP 10.0.0.1:")
    assert note.endswith("-> 10.0.0.2:2)")


def test_failures_can_be_passed_over(pcap: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mosbox.run(Fails, read=pcap, on_error="continue").starts == 6
    assert "2 failures were passed over, the first: ZeroDivisionError" in capsys.readouterr().err


def test_stop_ends_the_run_in_order(pcap: Path) -> None:
    class Stops(App):
        def start(self) -> None:
            self.ended: list[int] = []
            self.finished = False

        def on_flow_start(self, flow: Flow) -> None:
            if flow.server.port == 2:
                self.stop()

        def on_flow_end(self, flow: Flow) -> None:
            self.ended.append(flow.server.port)

        def finish(self) -> None:
            self.finished = True

    app = mosbox.run(Stops, read=pcap)
    assert app.finished
    assert sorted(app.ended) == [1, 2, 80]


def test_a_missing_capture_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        mosbox.run(Fails, read=tmp_path / "none.pcap")


def test_garbage_is_a_mosbox_error(tmp_path: Path) -> None:
    (tmp_path / "x.pcap").write_bytes(b"this is no capture, whatever its name says")
    with pytest.raises(MosboxError) as caught:
        mosbox.run(Fails, read=tmp_path / "x.pcap")
    assert caught.value.code == "MB_EFORMAT"


def test_alerts_are_kept_when_there_is_no_output(pcap: Path) -> None:
    class Alerts(App):
        def on_flow_start(self, flow: Flow) -> None:
            if flow.server.port == 80:
                self.alert("web", flow, n=1)
                self.emit("seen", None, what="it")

    alert, seen = mosbox.run(Alerts, read=pcap).records
    assert alert["alert"] == "web"
    assert (alert["src_ip"], alert["dest_port"], alert["n"]) == (WEB_CLIENT, 80, 1)
    assert (seen["event_type"], seen["what"]) == ("seen", "it")
    assert "src_ip" not in seen
