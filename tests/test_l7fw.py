# SPDX-License-Identifier: BSD-3-Clause
"""`mosbox l7fw` on traffic where no port tells what is spoken on it."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from program import MOSBOX, environment, mosbox, records
from wire import ACK, Talk, ethernet, ip, read_pcap, udp, write_pcap

import mosbox as package
from mosbox.apps.l7fw import L7fw
from mosbox.policy import PolicyError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def get(host: str, path: str = "/", *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def client_hello(sni: str, alpn: Iterable[str] = ("h2", "http/1.1")) -> bytes:
    """A ClientHello (RFC 8446 4.1.2) in one record."""
    name = sni.encode()
    extensions = struct.pack("!HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    offered = b"".join(bytes([len(p)]) + p.encode() for p in alpn)
    extensions += struct.pack("!HHH", 16, len(offered) + 2, len(offered)) + offered
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body += struct.pack("!H", len(extensions)) + extensions
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(hello)) + hello


def dns_query(name: str) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def datagram(sport: int, dport: int, payload: bytes, back: bool = False) -> bytes:
    ends = ("192.0.2.53", "10.0.0.1") if back else ("10.0.0.1", "192.0.2.53")
    return ethernet(ip(*ends, 17, udp(*ends, sport, dport, payload)))


def mixture() -> list[bytes]:
    """Each protocol twice, once to be dropped (odd client port) and once to be kept."""
    frames: list[bytes] = []
    for bad in (True, False):
        name = "x.bad.example" if bad else "good.example"
        port = 1001 if bad else 1000
        frames += Talk(sport=port, dport=8081).exchange(get(name), OK)
        frames += Talk(sport=port + 10, dport=8443).exchange(
            client_hello(name), b"\x15\x03\x03\0\x02\x02\x28"
        )
        frames += Talk(sport=port + 20, dport=25).exchange(
            client_hello(name), b"\x15\x03\x03\0\x02\x02\x28"
        )
        query = dns_query(name)
        frames += [datagram(port + 30, 5353, query), datagram(5353, port + 30, query, back=True)]
        over_tcp = struct.pack("!H", len(query)) + query
        frames += Talk(sport=port + 40, dport=5300).exchange(over_tcp, over_tcp)
        ssh = Talk(sport=port + 50, dport=2222 if bad else 22)
        frames += [
            *ssh.handshake(),
            ssh.server(b"SSH-2.0-a\r\n"),
            ssh.client(b"SSH-2.0-b\r\n"),
            *ssh.close(),
        ]
    return frames


POLICY = """
default: accept
groups: {names: {bad: [.bad.example]}}
rules:
  - {name: web, action: drop, host: $bad}
  - {name: tls, action: drop, sni: $bad}
  - {name: dns, action: drop, dns: $bad}
  - {name: ssh, action: reject, app: ssh, server_port: "!22"}
"""


def run(tmp_path: Path, frames: Iterable[bytes], policy: str, **more: Any) -> L7fw:
    pcap = write_pcap(tmp_path / "in.pcap", frames)
    (tmp_path / "policy.yaml").write_text(policy)
    return package.run(L7fw, read=pcap, policy=tmp_path / "policy.yaml", **more)


def kept(tmp_path: Path, frames: Iterable[bytes], policy: str) -> list[bytes]:
    """The frames that are passed on."""
    run(tmp_path, frames, policy, write=str(tmp_path / "out.pcap"))
    return read_pcap(tmp_path / "out.pcap")


def decisions(app: L7fw) -> list[tuple[str, str]]:
    return [(r["event_type"], r["mosbox"]["name"]) for r in app.records]


# ---- what passes


def test_the_pipeline_shows_only_what_the_policy_lets_through(tmp_path: Path) -> None:
    pcap = write_pcap(tmp_path / "in.pcap", mixture())
    (tmp_path / "p.yaml").write_text(POLICY)
    words = ["l7fw", "-r", str(pcap), "-P", str(tmp_path / "p.yaml"), "-w", "-"]
    first = subprocess.Popen(
        [*MOSBOX, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    second = subprocess.run(
        [*MOSBOX, "stats", "-r", "-", "-o", "json"],
        stdin=first.stdout,
        capture_output=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert first.stdout is not None and first.stderr is not None
    first.stdout.close()
    assert (first.stderr.read(), first.wait(60)) == (b"", 0)
    assert (second.stderr, second.returncode) == (b"", 0)
    flows = {r["src_port"]: r for r in records(second.stdout.decode())}
    for port in (1000, 1010, 1020, 1040, 1050):
        assert flows[port]["end_reason"] == "fin", port
    assert 1030 in flows and 1031 not in flows
    for port in (1001, 1011, 1021, 1041, 1051):  # the handshake had passed, no more did
        assert (flows[port]["client"]["packets"], flows[port]["server"]["packets"]) == (2, 1)


def test_each_decision_is_a_record_with_its_reason(tmp_path: Path) -> None:
    app = run(tmp_path, mixture(), POLICY)
    dropped = [r for r in app.records if r["event_type"] == "drop"]
    assert [r["mosbox"]["rule"] for r in dropped] == [1, 2, 2, 3, 3, 4]
    web = dropped[0]
    assert web["app_proto"] == "http" and web["src_port"] == 1001 and web["dest_port"] == 8081
    assert web["http"] == {"hostname": "x.bad.example", "url": "/", "http_method": "GET"}
    assert web["mosbox"] == {
        "app": "l7fw",
        "rule": 1,
        "name": "web",
        "action": "drop",
        "when": "message",
    }
    assert dropped[1]["tls"] == {"sni": "x.bad.example", "client_alpns": ["h2", "http/1.1"]}
    assert dropped[3]["dns"] == {"type": "query", "rrname": "x.bad.example"}
    assert dropped[5]["mosbox"]["action"] == "reject" and dropped[5]["mosbox"]["when"] == "protocol"
    accepted = [r for r in app.records if r["event_type"] == "accept"]
    assert all(r["mosbox"]["name"] == "default" for r in accepted)
    assert {r["src_port"] for r in accepted} == {1000, 1010, 1020, 1030, 1040, 1050}


def test_the_table_counts_by_rule(tmp_path: Path) -> None:
    app = run(tmp_path, mixture(), POLICY)
    rows = {row["name"]: row for row in app.table()}
    assert [(n, r["effect"], r["flows"]) for n, r in rows.items()] == [
        ("web", "drop", 1),
        ("tls", "drop", 2),
        ("dns", "drop", 2),
        ("ssh", "drop", 1),
        ("default", "accept", 6),
    ]
    assert sum(row["packets"] for row in rows.values()) == len(mixture())
    assert sum(row["bytes"] for row in rows.values()) == sum(map(len, mixture()))


def test_a_decision_by_address_keeps_the_first_packet_back(tmp_path: Path) -> None:
    frames = [
        *Talk(sport=1).exchange(get("a"), OK),
        *Talk(sport=2, src="10.0.0.9").exchange(get("a"), OK),
    ]
    passed = kept(tmp_path, frames, "rules: [{action: drop, client: 10.0.0.9}]")
    assert passed == frames[: len(frames) // 2]


def test_a_later_request_may_drop_the_flow(tmp_path: Path) -> None:
    talk = Talk()
    first = [*talk.handshake(), talk.client(get("good.example")), talk.server(OK)]
    rest = [
        talk.client(get("x.bad.example")),
        talk.server(OK),
        talk.client(get("good.example")),
        *talk.close(),
    ]
    assert kept(tmp_path, [*first, *rest], POLICY) == first
    app = run(tmp_path, [*first, *rest], POLICY)
    assert decisions(app) == [("accept", "default"), ("drop", "web")]


def test_pipelined_requests_share_a_packet_and_its_fate(tmp_path: Path) -> None:
    talk = Talk()
    frames = [
        *talk.handshake(),
        talk.client(get("good.example") + get("x.bad.example")),
        *talk.close(),
    ]
    app = run(tmp_path, frames, POLICY)
    assert decisions(app) == [("accept", "default"), ("drop", "web")]
    assert kept(tmp_path, frames, POLICY) == frames[:3]


def test_a_request_in_pieces_is_judged_when_it_is_whole(tmp_path: Path) -> None:
    talk, request = Talk(), get("x.bad.example")
    frames = [
        *talk.handshake(),
        *(talk.client(request[at : at + 5]) for at in range(0, len(request), 5)),
    ]
    passed = kept(tmp_path, frames, POLICY)
    assert passed == frames[:-1]  # what came before its last byte is past recall


def test_a_dns_message_on_a_flow_that_was_fine_until_then(tmp_path: Path) -> None:
    good, bad = dns_query("good.example"), dns_query("bad.example")
    frames = [datagram(9, 5353, good), datagram(5353, 9, good, back=True)]
    rest = [datagram(9, 5353, bad), datagram(5353, 9, bad, back=True), datagram(9, 5353, good)]
    assert kept(tmp_path, [*frames, *rest], POLICY) == frames


def test_paths_and_headers(tmp_path: Path) -> None:
    policy = """
rules:
  - {name: admin, action: drop, path: "glob:/admin*"}
  - {name: curl, action: drop, header: {user-agent: "re:^curl/"}}
"""
    frames: list[bytes] = []
    requests = [
        get("a", "/%61dmin/x?y"),
        get("a", "/x/../admin"),
        get("a", "/x", "USER-AGENT: curl/8"),
        get("a", "/x?/admin", "User-Agent: x curl/8"),
    ]
    for port, request in enumerate(requests, 1):
        frames += Talk(sport=port).exchange(request, OK)
    app = run(tmp_path, frames, policy)
    assert decisions(app) == [
        ("drop", "admin"),
        ("drop", "admin"),
        ("drop", "curl"),
        ("accept", "default"),
    ]


def test_bytes_of_no_known_protocol(tmp_path: Path) -> None:
    talk = Talk(dport=443)
    frames = [
        *talk.handshake(),
        talk.client(b"xyzzy\r\n" * 100),
        talk.server(b"plugh\r\n" * 100),
        *talk.close(),
    ]
    policy = "rules: [{name: odd, action: drop, app: none, server_port: 443}]"
    app = run(tmp_path, frames, policy)
    assert decisions(app) == [("drop", "odd")]
    assert app.records[0]["mosbox"]["when"] == "protocol"
    assert len(kept(tmp_path, frames, policy)) < len(frames) - 2


def test_a_flow_that_ends_undecided_has_passed(tmp_path: Path) -> None:
    frames = Talk().handshake()
    policy = "default: drop\nrules: [{action: accept, host: a.example}]"
    app = run(tmp_path, frames, policy)
    assert decisions(app) == [("accept", "default")]
    assert (
        app.records[0]["mosbox"]["action"] == "drop" and app.records[0]["mosbox"]["when"] == "end"
    )
    assert kept(tmp_path, frames, policy) == frames


def test_a_flow_that_another_one_replaces_takes_none_of_its_packets(tmp_path: Path) -> None:
    old, new = Talk(client_seq=1000), Talk(client_seq=900000)
    frames = [*old.handshake(), old.client(b"xy", ACK), old.reset(), *new.exchange(get("a"), OK)]
    policy = "rules: [{name: odd, action: drop, app: none}]"
    assert decisions(run(tmp_path, frames, policy)) == [("accept", "odd"), ("accept", "default")]
    assert kept(tmp_path, frames, policy) == frames


def test_log_rules_are_written_and_passed_by(tmp_path: Path) -> None:
    policy = """
rules:
  - {name: client, action: log, client: 10.0.0.1}
  - {name: get, action: log, method: GET}
  - {name: all, action: accept}
"""
    talk = Talk()
    frames = [
        *talk.handshake(),
        talk.client(get("a")),
        talk.server(OK),
        talk.client(get("b")),
        *talk.close(),
    ]
    app = run(tmp_path, frames, policy)
    assert decisions(app) == [("log", "client"), ("accept", "all"), ("log", "get"), ("log", "get")]
    assert [r["http"]["hostname"] for r in app.records if "http" in r] == ["a", "b"]
    assert [(r["name"], r["effect"], r["flows"]) for r in app.table()] == [
        ("client", "log", 1),
        ("get", "log", 1),
        ("all", "accept", 1),
    ]


def test_ipv6_and_other_protocols(tmp_path: Path) -> None:
    talk = Talk(src="2001:db8::1", dst="2001:db8::2")
    ping = ethernet(ip("10.0.0.1", "10.0.0.2", 1, b"\x08\0\xf7\xff\0\0\0\0"))
    frames = [*talk.exchange(get("a"), OK), ping]
    policy = 'rules: [{action: drop, client: "2001:db8::/64"}, {action: drop, proto: icmp}]'
    assert kept(tmp_path, frames, policy) == []


# ---- the program


def test_two_runs_are_alike_and_an_empty_capture_is_fine(tmp_path: Path) -> None:
    pcap = write_pcap(tmp_path / "in.pcap", mixture())
    (tmp_path / "p.yaml").write_text(POLICY)
    runs = [mosbox("l7fw", "-r", pcap, "-P", tmp_path / "p.yaml") for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != "" and runs[0].returncode == 0
    empty = mosbox("l7fw", "-r", write_pcap(tmp_path / "e.pcap", []), "-P", tmp_path / "p.yaml")
    assert (empty.stdout, empty.stderr, empty.returncode) == ("", "", 0)


def test_mistakes_end_it_before_it_begins(tmp_path: Path) -> None:
    pcap = write_pcap(tmp_path / "in.pcap", mixture())
    (tmp_path / "p.yaml").write_text(
        "rules:\n  - {action: drop, clinet: 10.0.0.1}\n  - action: dorp\n"
    )
    done = mosbox("l7fw", "-r", pcap, "-P", tmp_path / "p.yaml")
    assert done.returncode == 2 and done.stdout == ""
    assert f"{tmp_path}/p.yaml:2:20: no key 'clinet'" in done.stderr
    assert f"{tmp_path}/p.yaml:3:13: 'dorp' is not an action" in done.stderr
    for words in (["-P", tmp_path / "none"], []):
        done = mosbox("l7fw", "-r", pcap, *words)
        assert done.returncode == 2 and "Traceback" not in done.stderr


def test_on_a_mistake_the_old_rules_stay(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("default: drop")
    app = L7fw(policy=path)
    app.reload()
    path.write_text("default: dorp")
    with pytest.raises(PolicyError, match=r"1:10: 'dorp'"):
        app.reload()
    assert app.rules.default.action == "drop"
    path.write_text("default: reject")
    app.reload()
    assert app.rules.default.action == "reject"


def test_a_table_says_it_in_a_line(tmp_path: Path) -> None:
    pcap = write_pcap(tmp_path / "in.pcap", Talk().exchange(get("x.bad.example"), OK))
    (tmp_path / "p.yaml").write_text(POLICY)
    first = mosbox(
        "l7fw", "-r", pcap, "-P", tmp_path / "p.yaml", "-o", "table"
    ).stdout.splitlines()[0]
    assert "  drop  TCP 10.0.0.1:40000 -> 192.0.2.80:80  " in first
    assert "http.hostname=x.bad.example" in first and "mosbox.name=web" in first


def test_warnings_are_said(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("rules: [{action: accept}, {action: drop}]")
    pcap = write_pcap(tmp_path / "in.pcap", [])
    done = mosbox("l7fw", "-r", pcap, "-P", tmp_path / "p.yaml")
    assert "p.yaml:1:27: never reached" in done.stderr and done.returncode == 0


@pytest.mark.parametrize("words", [["-w", "-"], ["-o", "json"]])
def test_a_reader_that_closes_ends_it_quietly(tmp_path: Path, words: list[str]) -> None:
    pcap = write_pcap(tmp_path / "in.pcap", mixture() * 200)
    (tmp_path / "p.yaml").write_text("default: accept")
    command = [*MOSBOX, "l7fw", "-r", str(pcap), "-P", str(tmp_path / "p.yaml"), *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_the_app_is_small() -> None:
    lines = Path(L7fw.__module__.replace(".", "/") + ".py")
    source = Path(package.__file__).parent.parent / lines
    code = [
        x for x in source.read_text().splitlines() if x.strip() and not x.strip().startswith("#")
    ]
    assert len(code) < 150
