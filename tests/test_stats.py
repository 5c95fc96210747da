# SPDX-License-Identifier: BSD-3-Clause
"""`mosbox stats`: a record of each flow, tables of all of them."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import communityid
import pytest
from program import MOSBOX, environment, mosbox, records
from wire import (
    ACK,
    RST,
    SYN,
    Frame,
    Talk,
    ethernet,
    fragments,
    icmp,
    ip,
    merge,
    tcp_options,
    udp,
    write_pcap,
)

from mosbox.engine import Engine, Source
from mosbox.tally import Tally

TOP = Path(__file__).resolve().parent.parent
CLIENT, SERVER = "10.0.0.1", "192.0.2.80"


def datagram(src: str, dst: str, sport: int, dport: int, payload: bytes) -> bytes:
    return ethernet(ip(src, dst, 17, udp(src, dst, sport, dport, payload)))


def echo(src: str, dst: str, kind: int, ident: int = 7) -> bytes:
    message = icmp(kind, 0, ident.to_bytes(2) + b"\0\1", b"x" * 48)
    return ethernet(ip(src, dst, 1, message))


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A web request, a refused one, a question answered, a ping, a datagram in pieces, ARP."""
    web = Talk().exchange(
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000
    )
    closed = Talk(sport=40001, dport=81)
    refused = [closed.handshake()[0], closed.segment("server", RST | ACK, seq=0)]
    whole = ip("10.0.0.3", SERVER, 17, udp("10.0.0.3", SERVER, 5000, 9, b"y" * 2000))
    frames = [
        *merge(web, refused),
        datagram("10.0.0.2", "192.0.2.53", 5353, 53, b"question"),
        datagram("192.0.2.53", "10.0.0.2", 53, 5353, b"a longer answer"),
        echo(CLIENT, SERVER, 8),
        echo(SERVER, CLIENT, 0),
        *[ethernet(piece) for piece in fragments(whole, 1400)],
        ethernet(b"\0\1\x08\0\6\4\0\1".ljust(28, b"\0"), kind=0x0806),
    ]
    return write_pcap(tmp_path / "mixed.pcap", frames)


def flows(path: Path, *more: str) -> list[dict[str, Any]]:
    run = mosbox("stats", "-r", path, "-o", "json", *more)
    assert (run.returncode, run.stderr) == (0, "")
    return records(run.stdout)


def by_port(found: list[dict[str, Any]], port: int) -> dict[str, Any]:
    return next(f for f in found if f.get("dest_port") == port)


# ---- records


def test_a_record_has_the_facts_of_a_connection(mixed: Path) -> None:
    web = by_port(flows(mixed), 80)
    assert (web["src_ip"], web["src_port"], web["dest_ip"]) == (CLIENT, 40000, SERVER)
    assert (web["event_type"], web["proto"], web["ip_version"]) == ("flow", "TCP", 4)
    assert web["end_reason"] == "fin"
    assert web["midstream"] is False
    client, server = web["client"], web["server"]
    assert (client["packets"], server["packets"]) == (6, 6)
    assert client["flags"] == "FSPA" and server["flags"] == "FSPA"
    assert (client["state"], server["state"]) == ("TIME_WAIT", "CLOSED")
    assert client["mss"] == server["mss"] == 1460
    assert (client["retransmits"], server["out_of_order"], server["missed"]) == (0, 0, 0)
    frames = [len(f) for f in Talk().exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"z" * 5019)]
    assert client["bytes"] + server["bytes"] == sum(frames)


def test_round_trips_of_the_handshake_and_of_timestamps(tmp_path: Path) -> None:
    talk = Talk(syn_options=tcp_options(ts=(100, 0)))
    client, server = 100, 900

    def stamped(side: str, flags: int, payload: bytes = b"") -> bytes:
        mine, other = (client, server) if side == "client" else (server, client)
        frame = talk.segment(side, flags, payload, options=tcp_options(ts=(mine, other)))
        length = len(payload) + bool(flags & SYN)
        if side == "client":
            talk.client_seq += length
        else:
            talk.server_seq += length
        return frame

    # the tap is 10 ms from the server and 40 ms from the client
    frames = [
        Frame(stamped("client", SYN), 1000.000),
        Frame(stamped("server", SYN | ACK), 1000.010),
        Frame(stamped("client", ACK), 1000.050),
    ]
    for turn in range(3):
        client, start = 200 + turn, 1001.0 + turn
        frames.append(Frame(stamped("client", ACK, b"question"), start))
        server = 1000 + turn
        frames.append(Frame(stamped("server", ACK, b"answer"), start + 0.020 + 0.001 * turn))
        client += 50
        frames.append(Frame(stamped("client", ACK), start + 0.060 + 0.001 * turn))
    pcap = write_pcap(tmp_path / "x.pcap", frames)
    [flow] = flows(pcap)
    assert flow["server"]["rtt"] == pytest.approx(0.010, abs=2e-6)
    assert flow["client"]["rtt"] == pytest.approx(0.040, abs=2e-6)
    assert flow["server"]["rtt_min"] == pytest.approx(0.010, abs=2e-6)
    assert flow["server"]["rtt_samples"] == 4
    assert flow["server"]["rtt_mean"] == pytest.approx(
        (0.010 + 0.020 + 0.021 + 0.022) / 4, abs=2e-6
    )
    assert flow["client"]["rtt_mean"] == pytest.approx(0.040, abs=2e-6)
    # packets that somebody looks at are decoded, others are not; a worker has them in a list
    for words in (["--vlan-key"], ["-w", str(tmp_path / "kept.pcap")], ["--workers", "2"]):
        assert flows(pcap, *words) == [flow]


def test_a_flow_that_begins_with_the_answer_to_a_syn_is_timed(tmp_path: Path) -> None:
    talk = Talk()
    frames = []
    for turn in range(4):
        flags = SYN | ACK if turn == 0 else ACK
        options = tcp_options(ts=(70 + turn, 1 + turn))
        frames.append(Frame(talk.segment("server", flags, b"", options=options), 1000.0 + turn))
        talk.server_seq += turn == 0
        options = tcp_options(ts=(2 + turn, 70 + turn))
        frames.append(Frame(talk.segment("client", ACK, b"q", options=options), 1000.03 + turn))
        talk.client_seq += 1
    [flow] = flows(write_pcap(tmp_path / "x.pcap", frames))
    assert flow["midstream"] is False
    assert (flow["client"]["rtt_samples"], flow["server"]["rtt_samples"]) == (1, 3)
    assert flow["client"]["rtt_min"] == pytest.approx(0.030, abs=2e-6)


def test_a_handshake_that_was_repeated_does_not_stop_the_timing(tmp_path: Path) -> None:
    talk = Talk()
    opening = talk.segment("client", SYN, options=tcp_options(ts=(1, 0)))
    frames = [Frame(opening, second) for second in (1, 2, 4)]
    talk.client_seq += 1
    answer = talk.segment("server", SYN | ACK, options=tcp_options(ts=(70, 1)))
    talk.server_seq += 1
    last = talk.segment("client", ACK, options=tcp_options(ts=(8, 70)))
    [flow] = flows(
        write_pcap(tmp_path / "x.pcap", [*frames, Frame(answer, 4.02), Frame(last, 4.05)])
    )
    assert flow["client"]["rtt_min"] == pytest.approx(0.030, abs=2e-6)
    assert (flow["client"]["rtt_samples"], flow["server"]["rtt_samples"]) == (1, 1)


def test_retransmissions_gaps_and_disorder_are_counted(tmp_path: Path) -> None:
    talk = Talk()
    frames = [*talk.handshake()]
    again = talk.segment("client", ACK, b"first")
    frames += [talk.client(b"first"), again]
    late = talk.client(b"second")
    early = talk.client(b"third")
    frames += [early, late]
    talk.client_seq += 100  # lost at the tap, but acknowledged
    frames += [talk.client(b"after"), talk.server(b"", ACK)]
    [flow] = flows(write_pcap(tmp_path / "x.pcap", frames))
    client = flow["client"]
    assert (client["retransmits"], client["out_of_order"], client["missed"]) == (1, 2, 100)
    assert flow["end_reason"] == "shutdown"


def test_records_come_in_the_order_in_which_flows_end(tmp_path: Path) -> None:
    slow, fast = Talk(sport=1), Talk(sport=2)
    opened, done = slow.handshake(), fast.exchange(b"?", b"!")
    frames = [*opened, *done]
    frames += [Frame(slow.client(b"late"), 1_700_000_100.0), *slow.close()]
    assert [f["src_port"] for f in flows(write_pcap(tmp_path / "x.pcap", frames))] == [2, 1]


def test_numbers_and_ids_are_those_of_other_tools(mixed: Path) -> None:
    ids = communityid.CommunityID()
    for flow in flows(mixed):
        assert 0 < flow["flow_id"] < 2**53
        if "src_port" in flow:
            make = getattr(communityid.FlowTuple, f"make_{flow['proto'].lower()}")
            ends = flow["src_ip"], flow["dest_ip"], flow["src_port"], flow["dest_port"]
            assert flow["community_id"] == ids.calc(make(*ends))
        else:
            ping = communityid.FlowTuple.make_icmp(flow["src_ip"], flow["dest_ip"], 8, 0)
            assert (flow["client"]["icmp_type"], flow["server"]["icmp_type"]) == (8, 0)
            assert flow["community_id"] == ids.calc(ping)


def test_csv_has_the_columns_of_json(mixed: Path) -> None:
    run = mosbox("stats", "-r", mixed, "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(run.stdout), strict=True))
    found = flows(mixed)
    assert len(rows) == len(found) == 5
    for row, flow in zip(rows, found, strict=True):
        flat = {k: v for k, v in flow.items() if not isinstance(v, dict)}
        for side in ("client", "server"):
            flat |= {f"{side}_{k}": v for k, v in flow[side].items()}
        filled = {k: v for k, v in row.items() if v != ""}
        assert filled.keys() == flat.keys()
        for key, value in flat.items():
            assert value == (filled[key] if isinstance(value, str) else json.loads(filled[key]))


def test_protocols_are_looked_for_when_asked(mixed: Path) -> None:
    assert all("app_proto" not in f for f in flows(mixed))
    assert by_port(flows(mixed, "--protocols"), 80)["app_proto"] == "http"
    text = mosbox("stats", "-r", mixed, "-o", "table", "--protocols").stdout
    assert {row[0]: row[1] for row in section(text, "Applications")} == {
        "http": "1",
        "unknown": "4",
    }


@pytest.mark.parametrize("output", ["json", "csv", "eve", "table"])
def test_two_runs_write_the_same_bytes(mixed: Path, output: str) -> None:
    first, second = (mosbox("stats", "-r", mixed, "-o", output) for _ in range(2))
    assert first.returncode == 0 and first.stdout
    assert first.stdout == second.stdout


def test_a_filter_chooses_packets(mixed: Path) -> None:
    assert {f["proto"] for f in flows(mixed, "tcp")} == {"TCP"}


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    empty = write_pcap(tmp_path / "empty.pcap", [])
    assert flows(empty) == []
    assert mosbox("stats", "-r", empty, "-o", "table").returncode == 0


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    talks = [Talk(sport=1024 + n).exchange(b"?", b"!") for n in range(4000)]
    path = write_pcap(tmp_path / "many.pcap", [frame for talk in talks for frame in talk])
    with path.open("rb") as capture:
        run = subprocess.Popen(
            [*MOSBOX, "stats", "-r", "-", "-o", "json"],
            stdin=capture,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert run.stdout is not None and run.stderr is not None
        assert json.loads(run.stdout.readline())["event_type"] == "flow"
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait(60) in (0, 141)
        run.stderr.close()


# ---- tables


def section(text: str, title: str) -> list[list[str]]:
    """The cells of the rows under a title."""
    lines = text[text.index(f"{title}\n") :].splitlines()[3:]
    rows = []
    for line in lines:
        if "  " not in line:
            break
        rows.append(re.split(r" {2,}", line.strip()))
    return rows


def test_tables_add_up(mixed: Path) -> None:
    text = mosbox("stats", "-r", mixed, "-o", "table").stdout
    [[frames, _, count, hosts, _]] = section(text, "Totals")
    assert (frames, count, hosts) == ("21", "5", "5")
    protocols = {row[0]: row[1:3] for row in section(text, "Protocols")}
    assert protocols == {"TCP": ["2", "14"], "UDP": ["2", "3"], "ICMP": ["1", "2"]}
    ports = {row[0]: row[1] for row in section(text, "Server ports")}
    assert ports == {"80/tcp": "1", "81/tcp": "1", "53/udp": "1", "9/udp": "1"}
    assert section(text, "Top talkers")[0][:3] == [f"{CLIENT}:40000", f"{SERVER}:80", "TCP"]
    counted = {row[0]: row[1] for row in section(text, "Also counted")}
    assert counted["fragments"] == "2" and counted["reassembled"] == "1"
    assert counted["non ip"] == "1"
    assert counted["flows ended: refused"] == "1"
    assert "0" not in counted.values()


def test_top_and_by(tmp_path: Path) -> None:
    few = [datagram(CLIENT, SERVER, 1, 1001, b"x" * 1000) for _ in range(3)]
    many = [datagram(CLIENT, SERVER, 2, 1002, b"x") for _ in range(9)]
    often = [datagram(CLIENT, SERVER, 100 + n, 1003, b"x") for n in range(4)]
    path = write_pcap(tmp_path / "x.pcap", [*few, *many, *often])
    for by, port in (("bytes", "1001/udp"), ("packets", "1002/udp"), ("flows", "1003/udp")):
        text = mosbox("stats", "-r", path, "-o", "table", "--top", "1", "--by", by).stdout
        assert [row[0] for row in section(text, "Server ports")] == [port]
        assert len(section(text, "Top talkers")) == 1


def test_a_table_each_interval_of_packet_time(tmp_path: Path) -> None:
    frames = [Frame(datagram(CLIENT, SERVER, 1, 2, b"x" * n), 1000.0 + n) for n in range(1, 36)]
    path = write_pcap(tmp_path / "x.pcap", frames)
    text = mosbox("stats", "-r", path, "-o", "table", "--interval", "10").stdout
    ticks = re.findall(
        r"^(1970-01-01 00:1\d:\d\d) UTC: (.*) packets/s, .* 1 flows active$", text, re.M
    )
    assert len(ticks) == 3
    assert [rate for _, rate in ticks[1:]] == ["1", "1"]
    assert text.count(f"{CLIENT}:1 ") == 4


def test_an_interval_without_a_table_is_refused(mixed: Path) -> None:
    done = mosbox("stats", "-r", mixed, "-o", "json", "--interval", "10")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mosbox: --interval shows tables: add -o table\n"


@pytest.mark.parametrize(
    "wrong", [["--top", "0"], ["--by", "size"], ["--interval", "-1"], ["--top", "many"]]
)
def test_a_wrong_option_is_refused(mixed: Path, wrong: list[str]) -> None:
    run = mosbox("stats", "-r", mixed, *wrong)
    assert run.returncode == 2
    assert wrong[0].strip("-") in run.stderr


# ---- tallies from Python


def test_a_tally_counts_live_flows_once(mixed: Path) -> None:
    engine, source = Engine(), Source.file(str(mixed))
    tally = Tally(engine, "protocol")
    while engine.run(source):
        pass
    before = [(g.proto, g.flows, g.packets, g.bytes) for g in tally.top(10)]
    assert before == [(g.proto, g.flows, g.packets, g.bytes) for g in tally.top(10)]
    engine.finish()
    assert before == [(g.proto, g.flows, g.packets, g.bytes) for g in tally.top(10)]
    assert sorted(before)[0][:3] == ("ICMP", 1, 2)
    source.close()
    engine.close()


# ---- the manual


def test_the_manual_describes_each_field(mixed: Path) -> None:
    header = mosbox("stats", "-r", mixed, "-o", "csv").stdout.splitlines()[0].split(",")
    names = {re.sub(r"^(client|server)_", "", column) for column in header}
    page = (TOP / "man" / "mosbox-json.7").read_text()
    described = set(re.findall(r"^\.TP\n\.B (\w+)$", page, re.M))
    assert described == names
