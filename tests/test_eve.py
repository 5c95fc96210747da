# SPDX-License-Identifier: BSD-3-Clause
"""EVE flow records: Suricata 7's names and values, whatever else mosbox knows apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from program import mosbox, records
from wire import ACK, FIN, RST, SYN, Frame, Talk, ethernet, icmp, ip, udp, write_pcap

# What Suricata 7.0 writes in a flow record; "mosbox" is the one object of ours.
TOP_LEVEL = {
    "timestamp", "flow_id", "in_iface", "event_type", "vlan", "src_ip", "src_port", "dest_ip",
    "dest_port", "proto", "icmp_type", "icmp_code", "response_icmp_type", "response_icmp_code",
    "app_proto", "flow", "tcp", "community_id", "mosbox",
}  # fmt: skip
FLOW = {
    "pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient", "start", "end", "age",
    "bypass", "bypassed", "state", "reason", "alerted", "wrong_thread", "action",
    "exception_policy",
}  # fmt: skip
TCP = {
    "tcp_flags", "tcp_flags_ts", "tcp_flags_tc", "syn", "fin", "rst", "psh", "ack", "urg", "ecn",
    "cwr", "state", "ts_gap", "tc_gap", "ts_max_regions", "tc_max_regions",
}  # fmt: skip
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d{4}")


def eve(folder: Path, frames: list[bytes | Frame]) -> list[dict[str, Any]]:
    run = mosbox("stats", "-r", write_pcap(folder / "x.pcap", frames), "-o", "eve:-")
    assert (run.returncode, run.stderr) == (0, "")
    return records(run.stdout)


def one(folder: Path, frames: list[bytes | Frame]) -> dict[str, Any]:
    [record] = eve(folder, frames)
    return record


def test_names_and_values_of_a_connection(tmp_path: Path) -> None:
    frames = Talk(vlans=(1111,)).exchange(b"?" * 100, b"!" * 2000)
    record = one(tmp_path, frames)
    assert set(record) <= TOP_LEVEL
    assert set(record["flow"]) <= FLOW
    assert set(record["tcp"]) <= TCP
    assert (record["event_type"], record["proto"], record["vlan"]) == ("flow", "TCP", [1111])
    assert (record["src_ip"], record["src_port"]) == ("10.0.0.1", 40000)
    assert (record["dest_ip"], record["dest_port"]) == ("192.0.2.80", 80)
    assert 0 < record["flow_id"] < 2**53
    flow = record["flow"]
    assert flow["pkts_toserver"] + flow["pkts_toclient"] == len(frames)
    assert flow["bytes_toserver"] + flow["bytes_toclient"] == sum(map(len, frames))
    assert (flow["state"], flow["reason"], flow["alerted"]) == ("closed", "shutdown", False)
    assert record["timestamp"] == flow["start"]
    for stamp in (record["timestamp"], flow["start"], flow["end"]):
        assert STAMP.fullmatch(stamp)
    tcp = record["tcp"]
    assert tcp["tcp_flags"] == tcp["tcp_flags_ts"] == tcp["tcp_flags_tc"] == "1b"
    assert (tcp["syn"], tcp["fin"], tcp["psh"], tcp["ack"]) == (True, True, True, True)
    assert "rst" not in tcp and "urg" not in tcp
    assert tcp["state"] == "closed"
    assert record["mosbox"]["end_reason"] == "fin"


@pytest.mark.parametrize(
    ("packets", "tcp", "flow"),
    [
        ("s", "syn_sent", "new"),
        ("sh", "syn_recv", "new"),
        ("sha", "established", "established"),
        ("shaf", "fin_wait1", "established"),
        ("shafA", "close_wait", "established"),
        ("shafFa", "closed", "closed"),
        ("shar", "closed", "closed"),
    ],
)
def test_states(tmp_path: Path, packets: str, tcp: str, flow: str) -> None:
    """s h a f r as in a history, F and A by the server."""
    talk = Talk()
    steps = {
        "s": ("client", SYN),
        "h": ("server", SYN | ACK),
        "a": ("client", ACK),
        "A": ("server", ACK),
        "f": ("client", FIN | ACK),
        "F": ("server", FIN | ACK),
        "r": ("client", RST | ACK),
    }
    record = one(tmp_path, [talk._send(*steps[letter]) for letter in packets])
    assert (record["tcp"]["state"], record["flow"]["state"]) == (tcp, flow)
    assert record["flow"]["reason"] == "shutdown"


def test_datagrams(tmp_path: Path) -> None:
    ask = ethernet(ip("2001:db8::1", "2001:db8::2", 17, udp("2001:db8::1", "2001:db8::2", 9, 53)))
    answer = ethernet(
        ip("2001:db8::2", "2001:db8::1", 17, udp("2001:db8::2", "2001:db8::1", 53, 9, b"x"))
    )
    alone = one(tmp_path, [ask])
    assert alone["flow"]["state"] == "new"
    assert "tcp" not in alone
    both = one(tmp_path, [ask, answer])
    assert both["flow"]["state"] == "established"
    assert both["src_ip"] == "2001:0db8:0000:0000:0000:0000:0000:0001"


def test_messages_have_types(tmp_path: Path) -> None:
    ping = ethernet(ip("10.0.0.1", "10.0.0.2", 1, icmp(8, 0)))
    pong = ethernet(ip("10.0.0.2", "10.0.0.1", 1, icmp(0, 0)))
    record = one(tmp_path, [ping, pong])
    assert set(record) <= TOP_LEVEL
    assert (record["proto"], record["icmp_type"], record["icmp_code"]) == ("ICMP", 8, 0)
    assert (record["response_icmp_type"], record["response_icmp_code"]) == (0, 0)
    assert "src_port" not in record


def test_age_counts_the_seconds_of_the_clock(tmp_path: Path) -> None:
    frames = [
        Frame(ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp("10.0.0.1", "10.0.0.2", 1, 2))), time)
        for time in (1000.9, 1003.1)
    ]
    assert one(tmp_path, frames)["flow"]["age"] == 3


def test_idle_flows_end_by_timeout(tmp_path: Path) -> None:
    question = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp("10.0.0.1", "10.0.0.2", 1, 2)))
    first, second = eve(tmp_path, [Frame(question, 1000.0), Frame(question, 1100.0)])
    assert (first["flow"]["reason"], second["flow"]["reason"]) == ("timeout", "shutdown")
    assert first["flow_id"] != second["flow_id"]


def test_closed_flows_that_nobody_waits_for_any_more_end_by_timeout(tmp_path: Path) -> None:
    later = Frame(Talk(sport=9).handshake()[0], 1_700_000_100.0)
    first, second = eve(tmp_path, [*Talk().exchange(b"?", b"!"), later])
    assert (first["flow"]["state"], first["flow"]["reason"]) == ("closed", "timeout")
    assert (second["flow"]["state"], second["flow"]["reason"]) == ("new", "shutdown")
