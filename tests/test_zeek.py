# SPDX-License-Identifier: BSD-3-Clause
"""`-o zeek:DIR`: conn.log as Zeek writes it."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from program import mosbox
from wire import ACK, RST, Frame, Talk, ethernet, icmp, ip, udp, write_pcap

TOP = Path(__file__).resolve().parent.parent
CORPUS = Path(os.environ.get("MOSBOX_CORPUS", TOP.parent / "shared" / "corpus")) / "zeek"
KEY = ("id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto")
GRADED = (
    "orig_bytes", "resp_bytes", "missed_bytes", "orig_pkts", "orig_ip_bytes", "resp_pkts",
    "resp_ip_bytes", "conn_state", "history", "duration",
)  # fmt: skip

Row = dict[str, str]


def parse(text: str) -> list[Row]:
    names: list[str] = []
    rows = []
    for line in text.splitlines():
        if line.startswith("#fields\t"):
            names = line.split("\t")[1:]
        elif not line.startswith("#"):
            rows.append(dict(zip(names, line.split("\t"), strict=True)))
    return rows


def conn_log(folder: Path, capture: Path, *more: str) -> str:
    out = folder / "zeek"
    run = mosbox("stats", "-r", capture, "-o", f"zeek:{out}", *more)
    assert (run.returncode, run.stderr, run.stdout) == (0, "", "")
    return (out / "conn.log").read_text()


def rows(folder: Path, frames: list[bytes | Frame]) -> list[Row]:
    return parse(conn_log(folder, write_pcap(folder / "x.pcap", frames)))


def datagram(src: str, dst: str, sport: int, dport: int, payload: bytes = b"") -> bytes:
    return ethernet(ip(src, dst, 17, udp(src, dst, sport, dport, payload)))


def test_head_and_foot(tmp_path: Path) -> None:
    capture = write_pcap(tmp_path / "x.pcap", Talk().exchange(b"?", b"!"))
    text = conn_log(tmp_path, capture)
    lines = text.splitlines()
    assert lines[:6] == [
        "#separator \\x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        "#path\tconn",
        "#open\t2023-11-14-22-13-20",
    ]
    fields, types = lines[6].split("\t")[1:], lines[7].split("\t")[1:]
    assert fields == [
        "ts", "uid", *KEY, "service", "duration", "orig_bytes", "resp_bytes", "conn_state",
        "local_orig", "local_resp", "missed_bytes", "history", "orig_pkts", "orig_ip_bytes",
        "resp_pkts", "resp_ip_bytes", "tunnel_parents", "ip_proto",
    ]  # fmt: skip
    assert len(types) == len(fields)
    assert Counter(types) == {
        "time": 1, "string": 4, "addr": 2, "port": 2, "enum": 1, "interval": 1, "count": 8,
        "bool": 2, "set[string]": 1,
    }  # fmt: skip
    assert lines[-1] == "#close\t2023-11-14-22-13-20"
    assert text == conn_log(tmp_path, capture)


def test_a_log_without_connections_is_a_log(tmp_path: Path) -> None:
    text = conn_log(tmp_path, write_pcap(tmp_path / "x.pcap", []))
    assert parse(text) == []
    assert text.startswith("#separator") and text.splitlines()[-1].startswith("#close\t")


def test_a_connection(tmp_path: Path) -> None:
    [row] = rows(tmp_path, Talk().exchange(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"))
    assert re.fullmatch(r"C[0-9A-Za-z]{11}", row["uid"])
    assert row["ts"] == "1700000000.001000"
    assert [row[k] for k in KEY] == ["10.0.0.1", "40000", "192.0.2.80", "80", "tcp"]
    assert (row["service"], row["conn_state"]) == ("http", "SF")
    assert (row["orig_bytes"], row["resp_bytes"], row["missed_bytes"]) == ("18", "19", "0")
    assert row["history"] == "ShADdFf"
    assert (row["orig_pkts"], row["orig_ip_bytes"]) == ("6", str(6 * 40 + 4 + 18))
    assert (row["resp_pkts"], row["resp_ip_bytes"]) == ("3", str(3 * 40 + 4 + 19))
    # the last ACK is not part of it
    assert float(row["duration"]) == pytest.approx(0.007, abs=2e-6)
    assert (row["local_orig"], row["local_resp"]) == ("T", "F")
    assert (row["tunnel_parents"], row["ip_proto"]) == ("-", "6")


def test_what_is_unset(tmp_path: Path) -> None:
    [row] = rows(tmp_path, [datagram("10.0.0.1", "10.0.0.2", 1, 9, b"x" * 10)])
    assert (row["duration"], row["orig_bytes"], row["resp_bytes"]) == ("-", "-", "-")
    assert (row["service"], row["history"], row["conn_state"]) == ("-", "D", "S0")


def test_attempts(tmp_path: Path) -> None:
    refused = Talk(sport=1)
    alone = Talk(sport=2)
    frames = [*refused.handshake()[:1], refused.segment("server", RST | ACK, seq=0)]
    found = {r["id.orig_p"]: r for r in rows(tmp_path, [*frames, *alone.handshake()[:1]])}
    assert (found["1"]["conn_state"], found["1"]["history"]) == ("REJ", "Sr")
    assert (found["2"]["conn_state"], found["2"]["history"]) == ("S0", "S")


def test_the_server_was_seen_first(tmp_path: Path) -> None:
    talk = Talk()
    [_, answer, *_] = talk.handshake()
    frames = [answer, talk.segment("client", ACK), talk.client(b"hello")]
    [row] = rows(tmp_path, frames)
    assert (row["id.orig_h"], row["history"], row["conn_state"]) == ("10.0.0.1", "^hAD", "S1")


def test_lost_and_repeated_bytes(tmp_path: Path) -> None:
    talk = Talk()
    frames = [*talk.handshake()]
    again = talk.segment("client", ACK, b"x" * 10)
    frames += [talk.client(b"x" * 10), again]
    talk.client_seq += 100
    frames += [talk.client(b"y" * 10), talk.server(flags=ACK), talk.client(b"z")]
    [row] = rows(tmp_path, frames)
    assert row["missed_bytes"] == "100"
    assert row["orig_bytes"] == "121"
    assert row["history"] == "ShADTaG"


def test_pings_of_two_hosts_are_one_connection(tmp_path: Path) -> None:
    frames = []
    for ident in (7, 8, 9):
        rest = ident.to_bytes(2) + b"\0\1"
        frames.append(ethernet(ip("10.0.0.1", "10.0.0.2", 1, icmp(8, 0, rest, b"x" * 56))))
        frames.append(ethernet(ip("10.0.0.2", "10.0.0.1", 1, icmp(0, 0, rest, b"x" * 56))))
    frames.append(ethernet(ip("10.0.0.2", "10.0.0.1", 1, icmp(3, 1, payload=b"x" * 28))))
    echo, unreachable = sorted(rows(tmp_path, frames), key=lambda r: r["ts"])
    assert [echo[k] for k in KEY] == ["10.0.0.1", "8", "10.0.0.2", "0", "icmp"]
    assert (echo["orig_pkts"], echo["resp_pkts"]) == ("3", "3")
    assert (echo["orig_bytes"], echo["orig_ip_bytes"]) == ("168", "252")
    assert (echo["conn_state"], echo["history"]) == ("OTH", "-")
    assert [unreachable[k] for k in KEY] == ["10.0.0.2", "3", "10.0.0.1", "1", "icmp"]


def test_unknown_transports_share_a_line(tmp_path: Path) -> None:
    sctp = [
        ethernet(ip("10.0.0.1", "10.0.0.2", 132, port.to_bytes(2) * 2 + b"\0" * 24))
        for port in (1000, 2000)
    ]
    [row] = rows(tmp_path, sctp)
    assert [row[k] for k in KEY] == ["10.0.0.1", "0", "10.0.0.2", "0", "unknown_transport"]
    assert (row["orig_pkts"], row["orig_bytes"], row["ip_proto"]) == ("2", "0", "132")


def test_a_service_seen_first_is_the_responder(tmp_path: Path) -> None:
    [row] = rows(tmp_path, [datagram("192.0.2.53", "10.0.0.1", 53, 40000, b"answer")])
    assert [row[k] for k in KEY] == ["10.0.0.1", "40000", "192.0.2.53", "53", "udp"]
    assert (row["history"], row["conn_state"], row["resp_pkts"]) == ("^d", "SHR", "1")


def test_an_idle_connection_is_over(tmp_path: Path) -> None:
    question = datagram("10.0.0.1", "10.0.0.2", 1, 9, b"x")
    frames = [Frame(question, 1000.0), Frame(question, 1030.0), Frame(question, 1200.0)]
    assert [r["orig_pkts"] for r in rows(tmp_path, frames)] == ["2", "1"]


def test_a_long_capture_in_slices_is_the_same(tmp_path: Path) -> None:
    """More flows than the first tables hold, and the same text twice."""
    talks = [Talk(sport=1024 + n).exchange(b"?", b"!") for n in range(500)]
    pings = [
        ethernet(ip(f"10.1.{n // 250}.{n % 250 + 1}", "10.0.0.2", 1, icmp(8, 0)))
        for n in range(500)
    ]
    capture = write_pcap(tmp_path / "x.pcap", [*[f for t in talks for f in t], *pings])
    text = conn_log(tmp_path, capture)
    assert len(parse(text)) == 1000
    assert len({row["uid"] for row in parse(text)}) == 1000
    assert text == conn_log(tmp_path, capture, "--seed", "5")


# ---- the records that Zeek has published of captures of its tests


def agrees(name: str, want: str, got: str) -> bool:
    if name == "duration" and "-" not in (want, got):
        return abs(float(want) - float(got)) < 2e-6
    return want == got


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no captures in {CORPUS}")
@pytest.mark.slow
def test_records_of_the_corpus(tmp_path: Path) -> None:
    cases = json.loads((CORPUS / "expected.json").read_text())
    right, wrong = 0, []
    for name, case in sorted(cases.items()):
        text = conn_log(tmp_path, CORPUS / name, "--checksums", case["checksums"])
        left = defaultdict(list)
        for row in parse(text):
            left[tuple(row[k] for k in KEY)].append(row)
        for want in case["conn"]:
            key = tuple(want[k] for k in KEY)
            same = [r for r in left[key] if all(agrees(f, want[f], r[f]) for f in GRADED)]
            right += bool(same)
            if not same:
                wrong.append(f"{name} {key}")
    assert right >= 0.95 * (right + len(wrong)), wrong
