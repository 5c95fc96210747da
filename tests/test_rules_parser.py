# SPDX-License-Identifier: BSD-3-Clause
"""Rule files: what they say, and where their mistakes are."""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosbox._core import ffi, lib
from mosbox.rules import ranges
from mosbox.rules.compiler import Compiler
from mosbox.rules.config import DEFAULT_VARIABLES, Classification, Settings, read_thresholds
from mosbox.rules.errors import RuleError, UnsupportedError
from mosbox.rules.loader import Loaded, Loader
from mosbox.rules.parser import logical_lines, parse_rule
from mosbox.rules.program import HEAD, INSPECT, OP, Program
from mosbox.rules.words import pattern

ANY4 = 0xFFFF << 32


def v4(text: str) -> int:
    """An address as the number that ranges hold."""
    a, b, c, d = map(int, text.split("."))
    return ANY4 | a << 24 | b << 16 | c << 8 | d


def load(tmp_path: Path, text: str, **options: object) -> Loaded:
    """What becomes of a rule file."""
    file = tmp_path / "test.rules"
    file.write_text(text)
    return Loader(DEFAULT_VARIABLES, Classification(), **options).load([file])  # type: ignore[arg-type]


def rule(options: str, head: str = "alert tcp any any -> any any") -> str:
    return f"{head} ({options} sid:1;)"


# ---- the text


def test_parts_of_a_rule() -> None:
    parsed = parse_rule('drop tcp $HOME_NET any -> [10.0.0.1, 10.0.0.2] 80 (msg:"a\\;b"; sid:7;)')
    assert (parsed.action, parsed.proto, parsed.direction) == ("drop", "tcp", "->")
    assert (parsed.src, parsed.dst, parsed.dport) == ("$HOME_NET", "[10.0.0.1, 10.0.0.2]", "80")
    assert [(o.name, o.value) for o in parsed.options] == [("msg", '"a\\;b"'), ("sid", "7")]


def test_comments_and_continued_lines() -> None:
    text = "# a comment\n\nalert tcp any any -> any any ( \\\n  sid:1; \\\n  rev:2;)\nlast"
    first, last = logical_lines(text)
    assert [o.name for o in parse_rule(first.text).options] == ["sid", "rev"]
    where = parse_rule(first.text).options[1].where
    assert first.place(where) == (5, 3)
    assert (last.line, last.text) == (6, "last")


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("alert tcp any any -> any any (sid:1;", 37, "closing"),
        ("alert tcp any any -> any any (sid:1;) x", 39, "follow"),
        ("shout tcp any any -> any any (sid:1;)", 1, "action 'shout'"),
        ("alert tcp any any <- any any (sid:1;)", 19, "direction"),
        ("alert tcp 1.2.3.400 any -> any any (sid:1;)", 11, "1.2.3.400"),
        ("alert tcp any any -> any 99999 (sid:1;)", 26, "99999"),
        ("alert tcp any any -> $NOWHERE any (sid:1;)", 22, "$NOWHERE"),
        ("alert tcp any any -> any any (nocase; sid:1;)", 31, "needs a content"),
        ('alert tcp any any -> any any (content:"|4x|"; sid:1;)', 31, "hex"),
        ('alert tcp any any -> any any (pcre:"/(/"; sid:1;)', 1, "pcre"),
        ("alert tcp any any -> any any (rev:1;)", 1, "no sid"),
    ],
)
def test_mistakes_have_a_place(tmp_path: Path, text: str, column: int, says: str) -> None:
    loaded = load(tmp_path, "\n" + text + "\n")
    assert loaded.count == 0
    (problem,) = loaded.errors
    assert (problem.line, problem.column) == (2, column)
    assert says in problem.message
    assert str(problem).startswith(f"{tmp_path}/test.rules:2:{column}: ")


def test_unknown_keywords_are_told_once(tmp_path: Path) -> None:
    text = "\n".join(
        f"alert tcp any any -> any any (frobnicate:1; sid:{number};)" for number in (1, 2, 3)
    )
    loaded = load(tmp_path, text + "\n" + rule("").replace("sid:1", "sid:9"))
    assert loaded.count == 1
    assert [(p.line, p.column, p.what) for p in loaded.unsupported] == [(1, 31, "frobnicate")]
    assert loaded.left_out["frobnicate"] == loaded.skipped == 3


def test_the_higher_revision_of_a_rule_counts(tmp_path: Path) -> None:
    text = rule("rev:1;") + "\n" + rule("rev:3;") + "\n" + rule("rev:2;")
    loaded = load(tmp_path, text)
    assert loaded.count == 1
    assert len(loaded.notes) == 2


# ---- contents


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("abc", b"abc"),
        ("a|0d 0A|b", b"a\r\nb"),
        ("|00|", b"\0"),
        ("a|3 a20|", b"a: "),
        ('\\"\\;\\\\\\:', b'";\\:'),
        ("caf\xe9", b"caf\xe9"),
    ],
)
def test_pattern_bytes(text: str, data: bytes) -> None:
    assert pattern(text) == data


@pytest.mark.parametrize("text", ["|0", "|0g|", "a|00", "|000|"])
def test_bad_patterns(text: str) -> None:
    with pytest.raises(RuleError):
        pattern(text)


def compile_text(text: str) -> Program:
    return Compiler(DEFAULT_VARIABLES, Classification()).compile(parse_rule(text)).program


def test_sticky_buffers_and_modifiers_say_the_same() -> None:
    sticky = compile_text(rule('http.uri; content:"a"; nocase; content:"b"; distance:1;'))
    old = compile_text(rule('content:"a"; nocase; http_uri; content:"b"; distance:1; http_uri;'))
    chains = []
    for program in (sticky, old):
        ((key, chain),) = program.inspections.items()
        assert key == (lib.MB_BUF_HTTP_URI, ())
        chains.append([(op.data, op.flags, op.c) for op in chain])
    assert chains[0] == chains[1]


def test_the_longest_content_is_looked_for_first() -> None:
    program = compile_text(rule('content:"aa"; content:"bbbb"; content:!"cccccc";'))
    (chain,) = program.inspections.values()
    assert [bool(o.flags & lib.MB_OPF_FAST) for o in chain] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("alert ip any any -> any any (sid:1;)", lib.MB_RULE_IPONLY),
        ("alert tcp any any -> any 80 (sid:1;)", lib.MB_RULE_PACKET),
        ("alert tcp any any -> any any (dsize:1; sid:1;)", lib.MB_RULE_PACKET),
        ('alert tcp any any -> any any (content:"a"; sid:1;)', lib.MB_RULE_STREAM),
        ('alert http any any -> any any (content:"a"; sid:1;)', lib.MB_RULE_STREAM),
        ("alert http any any -> any any (sid:1;)", lib.MB_RULE_APP),
        ('alert tcp any any -> any any (http.uri; content:"a"; sid:1;)', lib.MB_RULE_TX),
        (
            "alert pkthdr any any -> any any (decode-event:ipv4.trunc_pkt; sid:1;)",
            lib.MB_RULE_DECODE,
        ),
        ("alert tcp any any -> any any (app-layer-protocol:!tls; sid:1;)", lib.MB_RULE_PROTO),
    ],
)
def test_kinds_of_rules(text: str, kind: int) -> None:
    assert compile_text(text).kind == kind


def test_buffers_of_opposite_directions_exclude_each_other() -> None:
    with pytest.raises(RuleError, match="opposite directions"):
        compile_text(rule('http.uri; content:"a"; http.stat_code; content:"200";'))


def test_a_protocol_that_is_not_known() -> None:
    with pytest.raises(UnsupportedError) as caught:
        compile_text("alert gopher any any -> any any (sid:1;)")
    assert caught.value.where == 6


# ---- addresses and ports


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10.0.0.1", [("10.0.0.1", "10.0.0.1")]),
        ("10.0.0.0/30", [("10.0.0.0", "10.0.0.3")]),
        ("10.0.0.7/255.255.255.252", [("10.0.0.4", "10.0.0.7")]),
        ("10.0.0.1-10.0.0.3", [("10.0.0.1", "10.0.0.3")]),
        ("[10.0.0.1,10.0.0.2, 10.0.0.9]", [("10.0.0.1", "10.0.0.2"), ("10.0.0.9", "10.0.0.9")]),
        ("[10.0.0.0/30,!10.0.0.1]", [("10.0.0.0", "10.0.0.0"), ("10.0.0.2", "10.0.0.3")]),
        (
            "[10.0.0.0/29,![10.0.0.0/30,10.0.0.6]]",
            [("10.0.0.4", "10.0.0.5"), ("10.0.0.7", "10.0.0.7")],
        ),
        ("[$A,10.9.9.9]", [("10.0.0.1", "10.0.0.1"), ("10.9.9.9", "10.9.9.9")]),
    ],
)
def test_address_expressions(text: str, wanted: list[tuple[str, str]]) -> None:
    found = ranges.addresses({"A": "10.0.0.1"}).parse(text)
    assert found == tuple((v4(low), v4(high)) for low, high in wanted)


def test_negation_is_the_complement() -> None:
    found = ranges.addresses({}).parse("!10.0.0.1")
    assert found == ((0, v4("10.0.0.0")), (v4("10.0.0.2"), ranges.MAX_ADDRESS))
    assert ranges.addresses({}).parse("2001:db8::/32") == (
        (0x20010DB8 << 96, (0x20010DB8 << 96) + (1 << 96) - 1),
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80", ((80, 80),)),
        ("1024:", ((1024, 65535),)),
        (":1023", ((0, 1023),)),
        ("[80,81,8000:8080]", ((80, 81), (8000, 8080))),
        ("!80", ((0, 79), (81, 65535))),
        ("[1:100,!50]", ((1, 49), (51, 100))),
        ("any", ((0, 65535),)),
    ],
)
def test_port_expressions(text: str, wanted: ranges.Ranges) -> None:
    assert ranges.ports({}).parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "[", "[80", "80]", "[80,]", "80,81", "!any", "x", ":", "90:80", "$A", "[" * 50 + "80"],
)
def test_bad_port_expressions(text: str) -> None:
    with pytest.raises(RuleError):
        ranges.ports({"A": "[$B]", "B": "$A"}).parse(text)


PORT_RANGES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 40)).map(lambda p: (p[0], p[0] + p[1])),
    max_size=8,
)


@given(PORT_RANGES, PORT_RANGES)
def test_sets_of_ranges_behave_like_sets(
    yes: list[tuple[int, int]], no: list[tuple[int, int]]
) -> None:
    def members(found: ranges.Ranges) -> set[int]:
        return {n for low, high in found for n in range(low, high + 1)}

    left, right = ranges.merge(yes), ranges.merge(no)
    assert members(ranges.subtract(left, right, 400)) == members(left) - members(right)
    assert members(ranges.complement(left, 400)) == set(range(401)) - members(left)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(left))


# ---- files beside the rules


def test_classification(tmp_path: Path) -> None:
    file = tmp_path / "classification.config"
    file.write_text("# x\nconfig classification: bad-thing,A bad thing, really,1\nnonsense\n")
    classes = Classification()
    (problem,) = classes.read(file)
    assert problem.line == 3
    assert classes.look_up("bad-thing") == (1, "A bad thing, really")
    assert classes.look_up("other") == (3, "")


def test_threshold_file(tmp_path: Path) -> None:
    file = tmp_path / "threshold.config"
    file.write_text(
        "suppress gen_id 1, sig_id 1, track by_src, ip [10.0.0.1, 10.0.0.2]\n"
        "threshold gen_id 1, sig_id 1, type limit, track by_src, count 1, seconds 60 # often\n"
        "rubbish\n"
    )
    adjustments, (problem,) = read_thresholds(file)
    assert [a.kind for a in adjustments] == ["suppress", "threshold"]
    assert adjustments[0].arguments["ip"] == "[10.0.0.1, 10.0.0.2]"
    assert problem.line == 3
    assert load(tmp_path, rule(""), adjustments=adjustments).count == 1


def test_settings_of_a_suricata_yaml(tmp_path: Path) -> None:
    file = tmp_path / "suricata.yaml"
    file.write_text(
        "%YAML 1.1\n---\n"
        "vars:\n  address-groups:\n    HOME_NET: '[10.1.0.0/16]'\n  port-groups:\n    WEB: 81\n"
        "stream:\n  midstream: yes\naction-order: [alert, pass]\n"
        "app-layer: {protocols: {http: {libhtp: {default-config: {response-body-limit: 2mb}}}}}\n"
        "outputs:\n  - eve-log:\n      types:\n        - alert: {payload: yes}\n        - flow\n"
    )
    found = Settings()
    found.read_yaml(file)
    assert found.variables()["HOME_NET"] == "[10.1.0.0/16]"
    assert found.variables()["WEB"] == "81"
    assert found.core()["midstream"] is True
    assert found.action_order() == ["alert", "pass", "drop", "reject"]
    limit = "app-layer.protocols.http.libhtp.default-config.response-body-limit"
    assert found.number(limit, 0) == 2 << 20
    assert found.alert_options()["payload"] is True
    found.set(["stream.midstream=no"])
    assert found.core()["midstream"] is False
    assert found.core()["urgent"] == "inline"
    found.set(["stream.reassembly.urgent.policy=oob"])
    assert found.core()["urgent"] == "oob"
    assert not found.take("nonsense.key", "1")


def test_host_os_policy_of_a_suricata_yaml(tmp_path: Path) -> None:
    file = tmp_path / "suricata.yaml"
    file.write_text(
        "%YAML 1.1\n---\n"
        "host-os-policy:\n  windows: [0.0.0.0/0]\n  bsd: []\n"
        "  linux: [10.0.0.0/8, '2001:db8::/32']\n  vista: 192.0.2.7\n"
    )
    found = Settings()
    found.read_yaml(file)
    core = found.core()
    assert core["overlap"] == "bsd"
    assert {key: value for key, value in core.items() if key.startswith("hosts.")} == {
        "hosts.windows": ["0.0.0.0/0"],
        "hosts.linux": ["10.0.0.0/8", "2001:db8::/32"],
        "hosts.first": ["192.0.2.7"],
    }


# ---- what the core is given


def test_the_layout_is_that_of_the_header() -> None:
    assert HEAD.size == ffi.sizeof("struct mb_rule_head")
    assert INSPECT.size == ffi.sizeof("struct mb_rule_inspect")
    assert OP.size == ffi.sizeof("struct mb_rule_op")


@given(st.binary(max_size=400), st.integers(0, 400))
def test_damaged_programs_are_refused(noise: bytes, at: int) -> None:
    rules, err = lib.mb_rules_new(), ffi.new("char[]", lib.MB_ERRBUF_SIZE)
    head = struct.pack("=I", lib.MB_RULE_MAGIC) + bytes(HEAD.size - 4)
    assert lib.mb_rules_add(rules, head, len(head), err) == 0  # the smallest rule there is
    program = bytearray(head + noise)
    program[at % len(program)] ^= 0x55
    code = lib.mb_rules_add(rules, bytes(program), len(program), err)
    assert code >= 0 or ffi.string(err)
    lib.mb_rules_free(rules)


WORDS = st.sampled_from(
    """alert tcp udp http any -> <> ( ) [ ] ! $HOME_NET 80 1: :9 ; : " | 0d content msg sid rev pcre
    http.uri http_uri nocase depth offset within distance byte_test byte_jump relative flow
    established flowbits set,a isset,b threshold dsize 1<>9 1,=,2,3 /a/ \\ \n""".split(" ")
)


@settings(max_examples=300)
@given(st.lists(st.one_of(WORDS, st.text(max_size=5)), max_size=30).map(" ".join))
def test_whatever_stands_in_a_file_there_is_no_traceback(text: str) -> None:
    compiler = Compiler(DEFAULT_VARIABLES, Classification())
    for source in logical_lines(text):
        try:
            compiler.compile(parse_rule(source.text))
        except RuleError as error:
            line, column = source.place(error.where)
            assert line >= 1
            assert column >= 1


@settings(max_examples=300)
@given(
    st.sampled_from(
        """content uricontent pcre byte_test byte_jump byte_extract isdataat bsize base64_decode
        flow flowbits hostbits xbits threshold detection_filter dsize flags fragbits ipopts ttl
        seq ip_proto urilen stream_size fast_pattern depth within metadata msg target priority
        tls.version""".split()
    ),
    st.text(alphabet='abc019<>=!,:-|"/\\ +*_relativ', max_size=20),
)
def test_whatever_an_option_says_there_is_no_traceback(name: str, value: str) -> None:
    compiler = Compiler(DEFAULT_VARIABLES, Classification())
    text = rule(f'content:"ab"; {name}:{value.replace(";", "")};')
    with contextlib.suppress(RuleError):
        assert compiler.compile(parse_rule(text)).program.sid == 1
