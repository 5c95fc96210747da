# SPDX-License-Identifier: BSD-3-Clause
"""`mosbox ids`: what rules find, wherever the bytes are, and how often they say so."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from make_demo import DEMO, demo, question, request, response
from program import mosbox
from wire import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Frame,
    Talk,
    ethernet,
    fragments,
    icmp,
    ip,
    tcp,
    udp,
    write_pcap,
)

from mosbox import run
from mosbox.apps.ids import Ids as App

CLIENT, SERVER = "10.0.0.1", "192.0.2.80"
FIND = 'alert tcp any any -> any any (msg:"found"; content:"attack pattern"; sid:1;)'
Alerts = list[dict[str, Any]]


class Ids:
    """Runs rules over frames and gives the EVE records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, rules: str, frames: Iterable[Frame | bytes], *options: str | Path) -> Alerts:
        """All EVE records of a run that went well; without options in this process."""
        capture = write_pcap(self.folder / "x.pcap", frames)
        file, eve = self.folder / "x.rules", self.folder / "eve.json"
        file.write_text(rules)
        if options:
            done = mosbox("ids", "-r", capture, "--rules", file, "-o", f"eve:{eve}", *options)
            assert done.returncode == 0, done.stderr
        else:
            run(App, capture, output=f"eve:{eve}", rules=[file])
        return [json.loads(line) for line in eve.read_text().splitlines()]

    def alerts(self, rules: str, frames: Iterable[Frame | bytes], *options: str | Path) -> Alerts:
        """The alerts of a run."""
        return [e for e in self.run(rules, frames, *options) if e["event_type"] == "alert"]

    def count(
        self, rules: str, frames: Iterable[Frame | bytes], *options: str | Path
    ) -> dict[int, int]:
        """How often each rule alerted."""
        found = self.alerts(rules, frames, *options)
        return dict(Counter(e["alert"]["signature_id"] for e in found))


@pytest.fixture
def ids(tmp_path: Path) -> Ids:
    return Ids(tmp_path)


def says(*parts: bytes, **talk: Any) -> list[bytes]:
    """A connection in which the client sends parts, each acknowledged."""
    with_acks = Talk(**talk)
    frames = with_acks.handshake()
    for part in parts:
        frames += [with_acks.client(part), with_acks.server(flags=ACK)]
    return frames + with_acks.close()


def test_a_datagram_that_a_network_card_will_mend(ids: Ids) -> None:
    datagram = bytearray(udp("10.0.0.1", "10.0.0.2", 4000, 53, b"an attack pattern"))
    datagram[6] ^= 0xFF
    frame = ethernet(ip("10.0.0.1", "10.0.0.2", 17, bytes(datagram)))
    rule = 'alert udp any any -> any 53 (msg:"u"; content:"attack"; sid:1;)'
    assert ids.count(rule, [frame], "--checksums", "verify") == {1: 1}


def web(*exchanges: tuple[bytes, bytes], **talk: Any) -> list[bytes]:
    """Requests and responses on one connection."""
    both = Talk(**talk)
    frames = both.handshake()
    for question_, answer in exchanges:
        frames += [both.client(question_), both.server(answer)]
    return frames + both.close()


# ---- wherever the bytes are


def test_a_pattern_split_over_two_segments(ids: Ids) -> None:
    assert ids.count(FIND, says(b"an attack pat", b"tern, here")) == {1: 1}


def test_a_pattern_split_over_many_segments(ids: Ids) -> None:
    text = b"x" * 50 + b"attack pattern" + b"y" * 50
    assert ids.count(FIND, says(*(text[at : at + 1] for at in range(len(text))))) == {1: 1}


def test_reversed_segments(ids: Ids) -> None:
    talk = Talk()
    start = talk.handshake()
    first, second = talk.client(b"an attack pat"), talk.client(b"tern, here")
    assert ids.count(FIND, [*start, second, first, talk.server(flags=ACK), *talk.close()]) == {1: 1}


def test_across_ip_fragments(ids: Ids) -> None:
    talk = Talk()
    start = talk.handshake()
    whole = talk.client(b"x" * 30 + b"attack pattern" + b"y" * 30)[14:]
    pieces = [ethernet(piece) for piece in fragments(whole, 56)]
    assert len(pieces) > 1
    assert not any(b"attack pattern" in piece for piece in pieces)
    assert ids.count(FIND, [*start, *reversed(pieces), *talk.close()]) == {1: 1}


@pytest.mark.parametrize(
    "talk",
    [
        {"vlans": (42,)},
        {"vlans": (7, 42)},
        {"src": "2001:db8::1", "dst": "2001:db8::2"},
        {"src": "2001:db8::1", "dst": "2001:db8::2", "vlans": (42,)},
    ],
    ids=["vlan", "qinq", "ipv6", "ipv6 in a vlan"],
)
def test_in_vlans_and_over_ipv6(ids: Ids, talk: dict[str, Any]) -> None:
    assert ids.count(FIND, says(b"an attack pat", b"tern", **talk)) == {1: 1}


def test_not_again_in_a_retransmission(ids: Ids) -> None:
    talk = Talk()
    frames = talk.handshake()
    again = talk.client(b"one attack pattern")
    frames += [again, again, talk.server(flags=ACK), again, talk.client(b"more"), *talk.close()]
    assert ids.count(FIND, frames) == {1: 1}


def test_again_for_new_bytes(ids: Ids) -> None:
    parts = [b"one attack pattern", b"and nothing", b"another attack pattern"]
    assert ids.count(FIND, says(*parts)) == {1: 2}


def test_what_nobody_acknowledged_is_found_at_the_end(ids: Ids) -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"attack pattern")]
    (alert,) = ids.alerts(FIND, frames)
    assert alert["pkt_src"] == "stream (flow timeout)"
    assert (alert["src_ip"], alert["dest_port"], alert["direction"]) == (CLIENT, 80, "to_server")


def test_bytes_before_and_after_a_gap_are_apart(ids: Ids) -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"attack pattern")]
    talk.client(b"lost")
    frames += [talk.client(b"attack pattern"), talk.server(flags=ACK), *talk.close()]
    assert ids.count(FIND, frames) == {1: 2}
    split = [*frames[:3], Talk(client_seq=1001, server_seq=5001).client(b"attack ")]
    lost = Talk(client_seq=1015, server_seq=5001)
    split += [lost.client(b"pattern"), lost.server(flags=ACK), *lost.close()]
    assert ids.count(FIND, split) == {}


def test_in_a_tunnel(ids: Ids) -> None:
    inner = ip("10.9.0.1", "10.9.0.2", 17, udp("10.9.0.1", "10.9.0.2", 1, 2, b"attack pattern"))
    gre = ethernet(ip(CLIENT, SERVER, 47, b"\0\0\x08\0" + inner))
    (alert,) = ids.alerts(FIND.replace("tcp", "udp"), [gre])
    assert alert["src_ip"] == "10.9.0.1"


def test_a_connection_whose_start_was_not_seen(ids: Ids) -> None:
    talk = Talk()
    talk.handshake()
    frames = [talk.client(b"an attack pat"), talk.server(flags=ACK), talk.client(b"tern")]
    assert ids.count(FIND, frames) == {}
    assert ids.count(FIND, frames, "--set", "stream.midstream=true") == {1: 1}


def test_an_urgent_byte_inside_a_pattern(ids: Ids) -> None:
    """A socket that does not ask for it in line never gives it to its reader."""
    talk = Talk()
    hiding = [*talk.handshake(), talk.client(b"an attack")]
    hiding += [talk.segment("client", ACK | URG, b"! pattern", urgent=1)]
    assert ids.count(FIND, hiding) == {}
    assert ids.count(FIND, hiding, "--set", "urgent=oob") == {1: 1}
    assert ids.count(FIND, hiding, "--set", "stream.reassembly.urgent.policy=oob") == {1: 1}


def test_a_wrong_checksum(ids: Ids) -> None:
    frames = says(b"nothing", b"here")
    bad = bytearray(says(b"attack pattern")[3])
    bad[50] ^= 0xFF
    rule = 'alert tcp any any -> any any (flow:established; content:"pattern"; sid:1;)'
    assert ids.count(rule, [*frames[:3], bytes(bad)], "--checksums", "verify") == {1: 1}


# ---- contents


@pytest.mark.parametrize(
    ("options", "matches"),
    [
        ('content:"GET"', True),
        ('content:"get"', False),
        ('content:"get"; nocase', True),
        ('content:"GET"; depth:3', True),
        ('content:"index"; depth:9', False),
        ('content:"index"; depth:10', True),
        ('content:"index"; offset:5', True),
        ('content:"index"; offset:6', False),
        ('content:"GET"; content:"index"; distance:2; within:5', True),
        ('content:"GET"; content:"index"; distance:3', False),
        ('content:"GET"; content:"index"; within:6', False),
        ('content:"GET"; content:"index"; within:7', True),
        ('content:"GET"; content:"HTTP"; distance:0; content:"1."; distance:1; within:2', True),
        ('content:"a="; content:"b"; distance:1; within:1', True),
        ('content:"GET"; startswith', True),
        ('content:"index"; startswith', False),
        ('content:"|0d 0a 0d 0a|"; endswith', True),
        ('content:"HTTP"; endswith', False),
        ('content:!"POST"', True),
        ('content:"GET"; content:!"HTTP"', False),
        ('content:"index"; content:!"html"; within:5', False),
        ('content:"index"; content:!"html"; within:4', True),
        ('content:"GET"; isdataat:10,relative', True),
        ('content:"GET"; isdataat:!500,relative', True),
        ('content:"GET"; isdataat:500', False),
        ('pcre:"/^get .*index/i"', True),
        ('pcre:"/^index/"', False),
        ('content:"GET /"; pcre:"/^index/R"', True),
        ('pcre:!"/POST/"', True),
        ('pcre:"/a=(\\d)/"', True),
        ('byte_test:3,=,4670804,0', True),
        ('content:"HTTP/1."; byte_test:1,=,1,0,relative,string,dec', True),
        ('content:"len="; byte_jump:2,0,relative,string,dec; content:"X"; within:1', True),
        ('content:"len="; byte_extract:2,0,n,relative,string,dec; content:"X"; distance:n', True),
        ('content:"len="; byte_extract:2,0,n,relative,string,dec; byte_test:1,>,n,0', True),
        ("byte_math:bytes 1,offset 0,oper -,rvalue 70,result n; isdataat:n", True),
        ("byte_math:bytes 1,offset 0,oper *,rvalue 70,result n; isdataat:n", False),
    ],
)  # fmt: skip
def test_contents(ids: Ids, options: str, matches: bool) -> None:
    text = b"GET /index.html?a=1&a=2b&len=03...X HTTP/1.1\r\nHost: a\r\n\r\n"
    rule = f"alert tcp-stream any any -> any any ({options}; sid:1;)"
    assert ids.count(rule, says(text)) == ({1: 1} if matches else {})
    rule = rule.replace("-stream", "-pkt")
    assert ids.count(rule, says(text)) == ({1: 1} if matches else {})


def test_a_later_place_is_tried_if_the_first_leads_nowhere(ids: Ids) -> None:
    rule = 'alert tcp any any -> any any (content:"ab"; content:"cd"; distance:0; within:2; sid:1;)'
    assert ids.count(rule, says(b"ab ab abcd")) == {1: 1}
    assert ids.count(rule, says(b"ab ab ab cd")) == {}


def test_contents_found_in_different_segments(ids: Ids) -> None:
    rule = 'alert tcp any any -> any any (content:"first"; content:"second"; sid:1;)'
    assert ids.count(rule, says(b"the first", b"nothing", b"the second", b"nothing")) == {1: 1}


def test_hostile_bytes_cannot_hang_an_expression(ids: Ids) -> None:
    rule = 'alert tcp any any -> any any (content:"a"; pcre:"/(a+)+(a+)+(a+)+b/"; sid:1;)'
    assert ids.count(rule, says(*[b"a" * 1400] * 20)) == {}


# ---- packets


def test_fields_of_packets(ids: Ids) -> None:
    rules = "\n".join(
        f"alert {proto} any any -> any any ({options}; sid:{sid};)"
        for sid, (proto, options) in enumerate(
            [
                ("icmp", "itype:8; icode:0; icmp_id:7; icmp_seq:9"),
                ("icmp", "itype:0"),
                ("icmp", "ttl:63"),
                ("icmp", "ttl:>64"),
                ("icmp", "dsize:3"),
                ("ip", "ip_proto:1; id:77"),
                ("icmp", 'content:"abc"'),
                ("icmp", 'icmpv4.hdr; content:"|08 00|"; startswith'),
                ("ip", 'ipv4.hdr; content:"|3f 01|"; offset:8; depth:2'),
                ("udp", 'content:"abc"'),
            ],
            1,
        )
    )
    ping = ip(CLIENT, SERVER, 1, icmp(8, 0, b"\0\7\0\11", b"abc"), ttl=63, ident=77)
    assert ids.count(rules, [ethernet(ping)]) == {1: 1, 3: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1}


def test_addresses_ports_and_directions(ids: Ids) -> None:
    heads = [
        f"{CLIENT} any -> {SERVER} 80",
        f"{SERVER} 80 -> {CLIENT} any",
        f"{SERVER} any <> {CLIENT} any",
        "any !80 -> any 80",
        "[10.0.0.0/8,!10.0.0.1] any -> any any",
        "$HOME_NET any -> $EXTERNAL_NET [79:81]",
        "any any -> any 81",
    ]
    rules = "\n".join(
        f'alert tcp {head} (flow:established; content:"GET"; sid:{sid};)'
        for sid, head in enumerate(heads, 1)
    )
    assert ids.count(rules, says(b"GET /")) == {1: 1, 3: 1, 4: 1, 6: 1}


def test_addresses_alone_alert_once_a_direction(ids: Ids) -> None:
    rules = f"alert ip {CLIENT} any -> any any (sid:1;)\nalert ip any any -> any any (sid:2;)"
    assert ids.count(rules, says(b"a", b"b", b"c")) == {1: 1, 2: 2}


def test_flow_states(ids: Ids) -> None:
    rules = """alert tcp any any -> any any (flow:established,to_server; content:"ask"; sid:1;)
    alert tcp any any -> any any (flow:established,to_client; content:"ask"; sid:2;)
    alert tcp any any -> any any (flow:to_client; content:"answer"; sid:3;)
    alert tcp any any -> any any (flow:not_established; flags:S; sid:4;)
    alert tcp any any -> any any (flow:established; flags:S; sid:5;)"""
    assert ids.count(rules, web((b"ask", b"answer"))) == {1: 1, 3: 1, 4: 1}


# ---- bits and thresholds


def test_flowbits(ids: Ids) -> None:
    rules = """alert tcp any any -> any any (content:"one"; flowbits:set,seen; noalert; sid:1;)
    alert tcp any any -> any any (content:"two"; flowbits:isset,seen; sid:2;)
    alert tcp any any -> any any (content:"two"; flowbits:isnotset,seen; sid:3;)
    alert tcp any any -> any any (content:"two"; flowbits:isset,other|seen; sid:4;)"""
    assert ids.count(rules, says(b"one", b"two")) == {2: 1, 4: 1}
    assert ids.count(rules, says(b"two")) == {3: 1}


def test_xbits_are_of_addresses(ids: Ids) -> None:
    rules = """alert tcp any any -> any any (content:"one"; noalert; sid:1; \\
        xbits:set,x,track ip_src,expire 60;)
    alert tcp any any -> any any (content:"two"; xbits:isset,x,track ip_src; sid:2;)"""
    first, same, other = says(b"one"), says(b"two", sport=2), says(b"two", src="10.0.0.2")
    assert ids.count(rules, [*first, *same, *other]) == {2: 1}
    late = [Frame(frame, 1_700_000_100.0 + at) for at, frame in enumerate(same)]
    assert ids.count(rules, [*first, *late]) == {}


@pytest.mark.parametrize(
    ("threshold", "count"),
    [
        ("type limit, track by_src, count 2, seconds 60", 2),
        ("type threshold, track by_src, count 3, seconds 60", 3),
        ("type both, track by_src, count 3, seconds 60", 1),
        ("type limit, track by_dst, count 1, seconds 60", 1),
    ],
)
def test_thresholds(ids: Ids, threshold: str, count: int) -> None:
    pings = [ethernet(ip(CLIENT, SERVER, 1, icmp(8, 0))) for _ in range(10)]
    rule = f"alert icmp any any -> any any (itype:8; threshold:{threshold}; sid:1;)"
    assert ids.count(rule, pings) == {1: count}


def test_detection_filter(ids: Ids) -> None:
    pings = [ethernet(ip(CLIENT, SERVER, 1, icmp(8, 0))) for _ in range(10)]
    rate = "track by_src, count 7, seconds 60"
    rule = f"alert icmp any any -> any any (itype:8; detection_filter:{rate}; sid:1;)"
    assert ids.count(rule, pings) == {1: 3}


def test_a_threshold_file(ids: Ids, tmp_path: Path) -> None:
    file = tmp_path / "threshold.config"
    pings = [ethernet(ip(CLIENT, SERVER, 1, icmp(8, 0))) for _ in range(10)]
    pings += [ethernet(ip("10.0.0.2", SERVER, 1, icmp(8, 0))) for _ in range(10)]
    rule = "alert icmp any any -> any any (itype:8; sid:1;)"
    file.write_text("suppress gen_id 1, sig_id 1, track by_src, ip 10.0.0.2\n")
    assert ids.count(rule, pings, "--threshold-file", file) == {1: 10}
    file.write_text("threshold gen_id 1, sig_id 1, type limit, track by_src, count 1, seconds 60\n")
    assert ids.count(rule, pings, "--threshold-file", file) == {1: 2}


def test_a_reload_says_that_rules_stay(tmp_path: Path) -> None:
    class Reloaded(App):
        name = "ids"

        def finish(self) -> None:
            moved = Path(self.fast_log or "").rename(tmp_path / "old.log")
            with pytest.raises(ValueError, match="ids reads its rules only at the start"):
                self.reload()
            self.outputs.reopen()  # as after every reload, whatever became of it
            assert moved.is_file()
            super().finish()

    capture = write_pcap(tmp_path / "x.pcap", [ethernet(ip(CLIENT, SERVER, 1, icmp(8, 0)))])
    run(Reloaded, capture, fast_log=str(tmp_path / "fast.log"))
    assert sorted(path.name for path in tmp_path.glob("*.log")) == ["fast.log", "old.log"]


def test_files_that_a_yaml_names(ids: Ids, tmp_path: Path) -> None:
    pings = [ethernet(ip(CLIENT, SERVER, 1, icmp(8, 0))) for _ in range(10)]
    rule = "alert icmp any any -> any any (itype:8; sid:1;)"
    (tmp_path / "etc").mkdir()
    yaml = tmp_path / "etc" / "suricata.yaml"
    yaml.write_text("%YAML 1.1\n---\ninclude: more.yaml\n")
    (tmp_path / "etc" / "more.yaml").write_text("threshold-file: threshold.config\n")
    limit = "threshold gen_id 1, sig_id 1, type limit, track by_src, count 1, seconds 60\n"
    (tmp_path / "etc" / "threshold.config").write_text(limit)
    assert ids.count(rule, pings, "--suricata-yaml", yaml) == {1: 1}

    yaml.write_text("%YAML 1.1\n---\ninclude: gone.yaml\nthreshold-file: /gone\n")
    words = ["ids", "-r", tmp_path / "x.pcap", "--rules", tmp_path / "x.rules"]
    done = mosbox(*words, "--suricata-yaml", yaml)
    assert done.returncode == 0
    assert f"mosbox: {yaml}: include gone.yaml: no such file\n" in done.stderr
    assert f"mosbox: {yaml}: threshold-file /gone: no such file\n" in done.stderr
    done = mosbox(*words, "--suricata-yaml", yaml, "--strict")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mosbox: {yaml}: include gone.yaml: no such file\n"


# ---- applications

REQUEST = request(
    "POST",
    "/a%2Fb/../c.php?q=1",
    "WWW.Example.org:8080",
    "User-Agent: Some Tool/1",
    "Cookie: id=7",
    body=b"user=me&pw=%41",
)
ANSWER = response(b"<html>Secret   Words</html>")


@pytest.mark.parametrize(
    ("options", "matches"),
    [
        ('http.method; content:"POST"', True),
        ('content:"POST"; http_method', True),
        ('http.uri; content:"/a/c.php?q=1"; bsize:12', True),
        ('uricontent:"c.php"', True),
        ('http.uri.raw; content:"%2F"', True),
        ("urilen:12; http.method; content:\"POST\"", True),
        ("urilen:<12; http.method; content:\"POST\"", False),
        ('http.host; content:"www.example.org"; bsize:15', True),
        ('http.host.raw; content:"WWW.Example.org:8080"', True),
        ('http.user_agent; content:"Tool"; nocase; endswith', False),
        ('http.user_agent; content:"Tool/1"; endswith', True),
        ('http.cookie; content:"id=7"', True),
        ('http.header; content:"Cookie"', False),
        ('http.header; content:"User-Agent|3a 20|Some"', True),
        ('http.header.raw; content:"Cookie|3a 20|id"', True),
        ('http.header_names; content:"|0d 0a|Host|0d 0a|User-Agent|0d 0a|"', True),
        ('http.request_header; content:"Cookie: id=7"; bsize:12', True),
        ('http.request_line; content:"POST /a%2Fb"; startswith', True),
        ('http.protocol; content:"HTTP/1.1"; flow:to_server', True),
        ('http.request_body; content:"user=me"', True),
        ('http.request_body; url_decode; content:"pw=A"', True),
        ('pcre:"/^user=\\w+/P"', True),
        ('http.stat_code; content:"200"', True),
        ('http.stat_msg; content:"OK"', True),
        ('http.response_line; content:"HTTP/1.1 200 OK"', True),
        ('http.response_body; content:"Secret"', True),
        ('file.data; content:"Secret"', True),
        ('file_data; to_lowercase; content:"secret"', True),
        ('file_data; strip_whitespace; content:"SecretWords"', True),
        ('file_data; compress_whitespace; content:"Secret Words"', True),
        ('file_data; to_uppercase; content:"SECRET"', True),
        ('file_data; content:"secret"', False),
        ('file.name; content:"c.php"; endswith', True),
        ('http.method; content:"POST"; http.uri; content:"nothing"', False),
        ('http.method; content:"POST"; content:"user=me"; http_client_body', True),
        ('content:"Tool/1"; http.method; content:"POST"', True),
        ('http.host; dotprefix; content:".example.org"; endswith', True),
        ('http.host; to_md5; content:"|43 f1|"; startswith', False),
    ],
)  # fmt: skip
def test_http(ids: Ids, options: str, matches: bool) -> None:
    rule = f"alert http any any -> any any ({options}; sid:1;)"
    assert ids.count(rule, web((REQUEST, ANSWER), dport=8080)) == ({1: 1} if matches else {})


def test_http_transactions_are_apart(ids: Ids) -> None:
    one, two = request("GET", "/one", "a"), request("GET", "/two", "b", "User-Agent: x")
    rules = """alert http any any -> any any (uricontent:"one"; http.host; content:"b"; sid:1;)
    alert http any any -> any any (uricontent:"two"; http.host; content:"b"; sid:2;)
    alert http any any -> any any (http.method; content:"GET"; sid:3;)
    alert http any any -> any any (http.stat_code; content:"200"; sid:4;)"""
    frames = web((one, ANSWER), (two, ANSWER))
    assert ids.count(rules, frames) == {2: 1, 3: 2, 4: 2}


def test_a_body_in_pieces_and_packed(ids: Ids) -> None:
    body = gzip.compress(b"x" * 3000 + b"attack pattern" + b"y" * 3000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7])
        for at in range(0, len(body), 7)
    )
    talk = Talk()
    frames = talk.exchange(request("GET", "/", "a"), head + chunks + b"0\r\n\r\n", mss=30)
    rule = 'alert http any any -> any any (file.data; content:"xattack patterny"; sid:1;)'
    assert ids.count(rule, frames) == {1: 1}


@pytest.mark.parametrize("finish", ["close", "cut"])
def test_the_end_of_a_body_that_is_acknowledged_late(ids: Ids, finish: str) -> None:
    rule = 'alert http any any -> any any (file.data; content:"attack pattern"; sid:1;)'
    talk = Talk()
    answer = response(b"x" * 300 + b"an attack pattern")
    frames = [*talk.handshake(), talk.client(request("GET", "/", "a"))]
    frames += [talk.server(answer[:100]), talk.client(flags=ACK)]
    frames += [talk.server(answer[at : at + 100]) for at in range(100, len(answer), 100)]
    if finish == "close":
        frames += [talk.client(flags=ACK), *talk.close()]
    assert ids.count(rule, frames) == {1: 1}


def test_base64(ids: Ids) -> None:
    secret = base64.b64encode(b"some secret thing").decode()
    frames = web((request("GET", "/", "a", f"Cookie: data={secret}"), ANSWER))
    rules = "\n".join(
        f'alert http any any -> any any (http.cookie; content:"data="; base64_decode:{how}; '
        f'base64_data; content:"secret"; sid:{sid};)'
        for sid, how in enumerate(["relative", "bytes 4,relative"], 1)
    )
    assert ids.count(rules, frames) == {1: 1}


def test_dns(ids: Ids) -> None:
    packet = ethernet(
        ip(CLIENT, SERVER, 17, udp(CLIENT, SERVER, 5353, 53, question("www.Example.org")))
    )
    rules = """alert dns any any -> any any (dns.query; content:"example.org"; nocase; sid:1;)
    alert dns any any -> any any (dns.query; content:"www."; startswith; bsize:15; sid:2;)
    alert dns any any -> any any (dns.opcode:0; sid:3;)
    alert dns any any -> any any (dns.opcode:!0; sid:4;)
    alert dns any any -> any any (dns.rrtype:1; sid:5;)
    alert udp any any -> any 53 (content:"|07|Example|03|org"; sid:6;)"""
    (first, *_) = found = ids.alerts(rules, [packet])
    assert {e["alert"]["signature_id"] for e in found} == {1, 2, 3, 5, 6}
    assert first["dns"]["query"][0]["rrname"] == "www.Example.org"


def test_ssh(ids: Ids) -> None:
    rules = """alert ssh any any -> any any (ssh.software; content:"OpenSSH"; sid:1;)
    alert ssh any any -> any any (ssh.proto; content:"2.0"; flow:to_client; sid:2;)"""
    frames = web((b"SSH-2.0-Tool_1\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"), dport=2222)
    found = ids.alerts(rules, frames)
    assert {e["alert"]["signature_id"] for e in found} == {1, 2}
    assert found[0]["ssh"]["server"]["software_version"] == "OpenSSH_9.2"


def test_the_protocol_whatever_the_port(ids: Ids) -> None:
    rules = """alert tcp any any -> any 443 (app-layer-protocol:!tls; flow:to_server; sid:1;)
    alert tcp any any -> any 443 (app-layer-protocol:http; flow:to_server; sid:2;)
    alert tcp any any -> any 443 (app-layer-protocol:tls; flow:to_server; sid:3;)"""
    frames = web((request("GET", "/", "a"), ANSWER), dport=443)
    assert ids.count(rules, frames) == {1: 1, 2: 1}


@pytest.mark.parametrize("forged", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
@pytest.mark.parametrize("end", [0, FIN, RST])
def test_a_forged_answer_does_not_blind(ids: Ids, forged: bytes, end: int) -> None:
    """A SYN/ACK, first bytes and an end that the client never gets hide nothing."""
    talk = Talk()
    syn, answer, ack = talk.handshake()
    early = [talk.segment("server", SYN | ACK, seq=900000, ack=1001, ttl=2)]
    if forged:
        early.append(talk.segment("server", PSH | ACK, forged, seq=900001, ack=1001, ttl=2))
    if end:
        early.append(talk.segment("server", end | ACK, seq=900001 + len(forged), ack=1001, ttl=2))
    real = [answer, ack, talk.client(request("GET", "/", "a")), talk.server(ANSWER), *talk.close()]
    rules = """alert http any any -> any any (http.method; content:"GET"; flow:to_server; sid:1;)
    alert http any any -> any any (http.stat_code; content:"200"; flow:to_client; sid:2;)"""
    assert ids.count(rules, [syn, *early, *real]) == {1: 1, 2: 1}


def test_a_forged_syn_does_not_blind(ids: Ids) -> None:
    """The server acknowledges the one that it got."""
    talk = Talk()
    syn, answer, ack = talk.handshake()
    forged = talk.segment("client", SYN, seq=900000, ttl=2)
    frames = [syn, forged, answer, ack, talk.client(request("GET", "/bad", "a")), *talk.close()]
    rules = 'alert http any any -> any any (http.uri; content:"/bad"; flow:to_server; sid:1;)'
    assert ids.count(rules, frames) == {1: 1}


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("end", [FIN | ACK, RST, RST | ACK])
def test_a_forged_end_does_not_blind(ids: Ids, side: str, end: int) -> None:
    """A FIN or a reset that does not reach the other side hides nothing of what goes on."""
    talk = Talk()
    frames = [*talk.handshake(), talk.client(request("GET", "/", "a")), talk.server(ANSWER)]
    frames.append(talk.client(flags=ACK))
    frames.append(talk.segment(side, end, ttl=2))
    frames += [talk.client(request("GET", "/bad", "a")), talk.server(ANSWER)]
    frames += talk.close()
    rules = """alert http any any -> any any (http.uri; content:"/bad"; flow:to_server; sid:1;)
    alert http any any -> any any (http.stat_code; content:"200"; flow:to_client; sid:2;)"""
    assert ids.count(rules, frames) == {1: 1, 2: 2}


# ---- verdicts


def test_inline_a_forged_answer_does_not_blind(ids: Ids, tmp_path: Path) -> None:
    """What is sent before the client has told which SYN/ACK it took does not pass."""
    talk = Talk()
    syn, answer, ack = talk.handshake()
    forged = talk.segment("server", SYN | ACK, seq=900000, ack=1001, ttl=2)
    early = talk.segment("server", PSH | ACK, b"early bird")
    attack, later = talk.client(b"an attack"), talk.client(b"more of it")
    rules = 'drop tcp any any -> any any (content:"attack"; flow:to_server; sid:1;)'
    kept = tmp_path / "kept.pcap"
    frames = [syn, forged, answer, early, ack, talk.server(b"early bird"), attack, later]
    assert ids.count(rules, frames, "--simulate-inline", "-w", kept) == {1: 1}
    passed = kept.read_bytes()
    assert passed.count(b"early bird") == 1
    assert b"attack" not in passed and b"more" not in passed


def test_a_pass_rule_silences_the_rest(ids: Ids) -> None:
    rules = """pass tcp 10.0.0.1 any -> any any (content:"pattern"; sid:1;)
    alert tcp any any -> any any (content:"attack"; sid:2;)"""
    assert ids.count(rules, says(b"attack pattern")) == {}
    assert ids.count(rules, says(b"attack pattern", src="10.0.0.2")) == {2: 1}


@pytest.mark.parametrize("end", [FIN | ACK, RST])
def test_inline_nothing_passes_behind_a_forged_end(ids: Ids, tmp_path: Path, end: int) -> None:
    talk = Talk()
    frames = [*talk.handshake(), talk.client(b"hello"), talk.server(flags=ACK)]
    frames += [
        talk.segment("client", end, ttl=2),
        talk.client(b"an attack"),
        talk.server(flags=ACK),
    ]
    rules = 'drop tcp any any -> any any (content:"attack"; flow:to_server; sid:1;)'
    kept = tmp_path / "kept.pcap"
    ids.run(rules, frames, "--simulate-inline", "-w", kept)
    assert b"hello" in kept.read_bytes() and b"attack" not in kept.read_bytes()


def test_a_drop_rule_ends_the_flow(ids: Ids, tmp_path: Path) -> None:
    rules = """drop tcp any any -> any any (content:"attack"; sid:1;)
    alert tcp any any -> any any (content:"later"; sid:2;)"""
    frames = says(b"an attack", b"and later", sport=1) + says(b"later", sport=2)
    kept = tmp_path / "kept.pcap"
    found = ids.alerts(rules, frames, "--simulate-inline", "-w", kept)
    told = [(e["alert"]["signature_id"], e["alert"]["action"]) for e in found]
    assert told == [(1, "blocked"), (2, "allowed")]
    assert b"attack" not in kept.read_bytes()
    assert kept.read_bytes().count(b"later") == 1
    assert ids.alerts(rules, frames, "-w", kept)[0]["alert"]["action"] == "allowed"
    assert b"attack" in kept.read_bytes()


# ---- records


def test_an_alert_tells_all_about_it(ids: Ids, tmp_path: Path) -> None:
    classes = tmp_path / "classification.config"
    classes.write_text("config classification: evil,Something evil,1\n")
    rule = (
        'alert http any any -> any any (msg:"Evil \\"thing\\""; http.uri; content:"/evil"; '
        "classtype:evil; metadata:tag one, tag two; gid:3; sid:4; rev:5;)"
    )
    frames = web((request("GET", "/evil?\x01", "h.example", "User-Agent: x"), ANSWER))
    records = ids.run(rule, frames, "--classification", classes)
    alert = next(e for e in records if e["event_type"] == "alert")
    flow = next(e for e in records if e["event_type"] == "flow")
    assert alert["alert"] == {
        "action": "allowed",
        "gid": 3,
        "signature_id": 4,
        "rev": 5,
        "signature": 'Evil "thing"',
        "category": "Something evil",
        "severity": 1,
        "metadata": {"tag": ["one", "two"]},
    }
    assert alert["flow_id"] == flow["flow_id"]
    assert flow["flow"]["alerted"] is True
    assert alert["app_proto"] == "http"
    assert alert["http"]["hostname"] == "h.example"
    assert alert["http"]["http_method"] == "GET"
    assert alert["tx_id"] == 0
    assert alert["timestamp"].endswith("+0000")


def test_fast_log(ids: Ids, tmp_path: Path) -> None:
    fast = tmp_path / "fast.log"
    ids.run(FIND, says(b"attack pattern"), "--fast-log", fast)
    (line,) = fast.read_text().splitlines()
    assert line.endswith(
        "  [**] [1:1:0] found [**] [Classification: (null)] [Priority: 3] {TCP} "
        f"{CLIENT}:40000 -> {SERVER}:80"
    )


def test_alerts_of_one_packet_are_bounded(ids: Ids) -> None:
    rules = "\n".join(
        f"alert icmp any any -> any any (itype:8; sid:{sid};)" for sid in range(1, 101)
    )
    ping = [ethernet(ip(CLIENT, SERVER, 1, icmp(8, 0)))]
    assert len(ids.alerts(rules, ping)) == 15
    assert len(ids.alerts(rules, ping, "--set", "packet-alert-max=40")) == 40


# ---- the command


def test_strict(tmp_path: Path) -> None:
    capture = write_pcap(tmp_path / "x.pcap", says(b"attack pattern"))
    file = tmp_path / "x.rules"
    file.write_text(FIND + "\nalert tcp any any -> any any (frobnicate; sid:2;)\n")
    done = mosbox("ids", "-r", capture, "--rules", file, "-o", "json")
    assert done.returncode == 0
    assert f"{file}:2:31: keyword 'frobnicate' is unknown" in done.stderr
    assert '"signature_id":1' in done.stdout
    assert mosbox("ids", "-r", capture, "--rules", file, "--strict").returncode == 2


def test_rules_that_are_not_there(tmp_path: Path) -> None:
    capture = write_pcap(tmp_path / "x.pcap", says(b"x"))
    done = mosbox("ids", "-r", capture, "--rules", tmp_path / "none.rules")
    assert done.returncode in (1, 2)
    assert "none.rules" in done.stderr
    assert "Traceback" not in done.stderr


def test_variables(ids: Ids) -> None:
    rule = 'alert tcp $HERE any -> any $WEB (content:"GET"; sid:1;)'
    frames = says(b"GET /")
    assert ids.count(rule, frames, "--var", "HERE=10.0.0.0/24", "--var", "WEB=80") == {1: 1}
    assert ids.count(rule, frames, "--var", "HERE=10.0.1.0/24", "--var", "WEB=80") == {}


def test_two_runs_are_equal(tmp_path: Path) -> None:
    runs = [mosbox("ids", "-r", DEMO, "-o", "eve:-") for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert runs[0].stdout


# ---- the demonstration


def test_the_demo_is_what_its_program_makes(tmp_path: Path) -> None:
    made = write_pcap(tmp_path / "demo.pcap", demo(), step=0.02)
    assert made.read_bytes() == DEMO.read_bytes()


def test_the_starter_rules_find_the_demo() -> None:
    done = mosbox("ids", "-r", DEMO, "-o", "table", "--strict")
    assert done.returncode == 0, done.stderr
    found = [line.split("[1:")[1].split(":")[0] for line in done.stdout.splitlines()]
    assert sorted(found) == [
        "1000001", "1000002", "1000003", "1000006", "1000010", "1000012",
        "1000020", "1000021", "1000025", "1000030", "1000041", "1000043",
    ]  # fmt: skip


def test_ordinary_traffic_makes_no_starter_rule_speak(tmp_path: Path) -> None:
    pages = [
        (request("GET", f"/{n}", "news.example", "User-Agent: Mozilla/5.0"), ANSWER)
        for n in range(5)
    ]
    frames = web(*pages)
    frames += [
        ethernet(ip(CLIENT, SERVER, 1, icmp(8, 0))),
        ethernet(ip(SERVER, CLIENT, 1, icmp(0, 0))),
    ]
    frames += [ethernet(ip(CLIENT, SERVER, 6, tcp(CLIENT, SERVER, 9, 9, PSH | ACK, payload=b"x")))]
    capture = write_pcap(tmp_path / "x.pcap", frames)
    done = mosbox("ids", "-r", capture, "-o", "table")
    assert (done.returncode, done.stdout) == (0, "")


# ---- bytes that the capture does not hold

PAYLOADS = """\
outputs:
  - eve-log:
      enabled: yes
      types:
        - alert:
            payload: yes
            payload-printable: yes
"""


def with_gaps(*lost: bytes) -> list[bytes]:
    """Words of the client; the capture does not hold those in `lost`, all are acknowledged."""
    talk = Talk()
    frames = talk.handshake()
    for word in (b"VERY", b"GOOD", b"DATA", b"MORE", b"LAST"):
        frame = talk.client(word)
        frames += [] if word in lost else [frame]
    return [*frames, talk.server(flags=ACK), *talk.close()]


def words(*wanted: str) -> str:
    return "\n".join(
        f'alert tcp-stream any any -> any any (content:"{word}"; sid:{number};)'
        for number, word in enumerate(wanted, 1)
    )


def test_an_alert_shows_both_sides_of_a_gap(ids: Ids) -> None:
    config = ids.folder / "suricata.yaml"
    config.write_text(PAYLOADS)
    rules = words("VERY", "GOOD", "DATA", "VERYDATA")
    found = ids.alerts(rules, with_gaps(b"GOOD"), "--suricata-yaml", config)
    told = {e["alert"]["signature_id"]: e["payload_printable"] for e in found}
    whole = "VERY[4 bytes missing]DATAMORELAST"
    assert told == {1: whole, 3: whole}
    assert {base64.b64decode(e["payload"]).decode() for e in found} == {whole}


def test_what_is_between_two_gaps_is_looked_at_once(ids: Ids) -> None:
    rules = words("VERY", "DATA", "LAST", "ERYDAT")
    assert ids.count(rules, with_gaps(b"GOOD", b"MORE")) == {1: 1, 2: 1, 3: 1}
