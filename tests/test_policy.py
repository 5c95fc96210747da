# SPDX-License-Identifier: BSD-3-Clause
"""The policy language: what is read, what is refused and where, and how it judges."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mosbox
from mosbox.policy import (
    Facts,
    Policy,
    PolicyError,
    Rule,
    address_number,
    parse_policy,
    read_policy,
)
from mosbox.policy.message import normal_path
from mosbox.policy.rules import APPS, TCP, UDP

ICMP = 1


def facts(
    client: str = "10.0.0.1",
    server: str = "192.0.2.1",
    ports: tuple[int, int] = (40000, 80),
    proto: int = TCP,
    **more: object,
) -> Facts:
    ends = address_number(client), address_number(server)
    return Facts(*ends, *ports, proto, **more)  # type: ignore[arg-type]


def one_rule(condition: str, action: str = "drop") -> Policy:
    return parse_policy(f"rules:\n  - action: {action}\n    {condition}\n")


def answer(condition: str, known: Facts) -> bool | None:
    """What a rule with one condition says."""
    return one_rule(condition).rules[0].answer(known)


# ---- what words stand for


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0", "::a00:0"]),
        ("192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]),
        ("10.0.0.5-10.0.0.9", ["10.0.0.5", "10.0.0.9"], ["10.0.0.4", "10.0.0.10"]),
        ('"2001:db8::/32"', ["2001:db8::1"], ["2001:db9::1", "10.0.0.1"]),
        ('"!10.0.0.0/8"', ["192.0.2.1", "2001:db8::1"], ["10.1.2.3"]),
        ('["10.0.0.0/8", "!10.1.0.0/16"]', ["10.2.0.1"], ["10.1.2.3", "192.0.2.1"]),
        ('["::/0", 10.0.0.1]', ["10.0.0.1", "2001:db8::1"], []),
    ],
)
def test_addresses(words: str, inside: list[str], outside: list[str]) -> None:
    for fact in ("client", "server"):
        for address, expected in [*((a, True) for a in inside), *((a, False) for a in outside)]:
            assert answer(f"{fact}: {words}", facts(**{fact: address})) is expected


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("443", [443], [442, 444]),
        ("8000-8999", [8000, 8999], [7999, 9000]),
        ('"!22"', [0, 21, 23, 65535], [22]),
        ('[80, 8000-8010, "!8005"]', [80, 8004, 8006], [81, 8005]),
    ],
)
def test_ports(words: str, inside: list[int], outside: list[int]) -> None:
    for port, expected in [*((p, True) for p in inside), *((p, False) for p in outside)]:
        assert answer(f"server_port: {words}", facts(ports=(1, port))) is expected
        assert answer(f"client_port: {words}", facts(ports=(port, 1))) is expected


def test_a_flow_without_ports_matches_no_condition_on_ports() -> None:
    assert answer('server_port: "!22"', facts(proto=ICMP)) is False


def test_ip_protocols() -> None:
    assert answer("proto: [tcp, 132]", facts()) is True
    assert answer("proto: udp", facts()) is False
    assert answer('proto: "!ICMP"', facts(proto=ICMP)) is False


def http(**message: list[str]) -> Facts:
    return facts(app="http", message={k.replace("_", ":", 1): v for k, v in message.items()})


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        (
            "www.example.com",
            ["www.example.com", "WWW.Example.COM."],
            ["example.com", "xwww.example.com"],
        ),
        (
            '"*.example.com"',
            ["a.example.com", "a.b.example.com"],
            ["example.com", "badexample.com"],
        ),
        (".example.com", ["a.example.com", "example.com"], ["badexample.com", "com"]),
        ("Example.COM", ["example.com"], []),
        ('"glob:ad?.*"', ["ad1.example"], ["adx1.example"]),
        ("re:^ads?[0-9]", ["ad1.example", "ads2"], ["xad1"]),
        ('"!.example.com"', ["example.org"], ["example.com", "a.example.com"]),
        ('[.example.com, "!www.example.com"]', ["example.com"], ["www.example.com", "example.org"]),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.70"]),
    ],
)
def test_names(words: str, inside: list[str], outside: list[str]) -> None:
    for name, expected in [*((n, True) for n in inside), *((n, False) for n in outside)]:
        assert answer(f"host: {words}", http(host=[name])) is expected, name
        assert answer(f"sni: {words}", facts(app="tls", message={"sni": [name]})) is expected
        assert answer(f"dns: {words}", facts(app="dns", message={"dns": [name]})) is expected


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        ("/admin", ["/admin"], ["/Admin", "/admin/", "/admins"]),
        ('"glob:/admin/*"', ["/admin/", "/admin/a/b"], ["/admin", "/x/admin/"]),
        ('"re:[.]php$"', ["/a.php"], ["/a.php/x", "/aphp"]),
        ('"re:(?i)ADMIN"', ["/x/admin"], ["/x"]),
        ("is:glob:x", ["glob:x"], ["x"]),
    ],
)
def test_texts(words: str, inside: list[str], outside: list[str]) -> None:
    for text, expected in [*((t, True) for t in inside), *((t, False) for t in outside)]:
        assert answer(f"path: {words}", http(path=[text])) is expected, text


def test_a_fact_that_a_message_does_not_have() -> None:
    without = facts(app="tls", message={"sni": [], "alpn": []})
    assert answer("sni: a.example", without) is False
    assert answer('sni: "!a.example"', without) is True


def test_of_several_values_one_is_enough_and_none_may_be_left_out() -> None:
    offered = facts(app="tls", message={"alpn": ["h2", "http/1.1"]})
    assert answer("alpn: h2", offered) is True
    assert answer('alpn: "!h2"', offered) is False
    assert answer('alpn: [h2, "!http/1.1"]', offered) is False


def test_headers_by_name_in_any_case() -> None:
    condition = "header: {User-Agent: 'glob:curl/*', X-Two: '2'}"
    policy = one_rule(condition)
    assert policy.headers == {"user-agent", "x-two"}
    both = {"header:user-agent": ["curl/8"], "header:x-two": ["1", "2"]}
    assert policy.rules[0].answer(facts(app="http", message=both)) is True
    assert policy.rules[0].answer(facts(app="http", message={"header:x-two": ["2"]})) is False


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("/a/b?x=/../c", "/a/b"),
        ("/%61dmin", "/admin"),
        ("/a/../admin", "/admin"),
        ("/a/%2e%2e/admin/", "/admin/"),
        ("//admin//x", "/admin/x"),
        ("/./admin/.", "/admin/"),
        ("/../../etc", "/etc"),
        ("*", "*"),
        ("", ""),
        ("/%zz%ff", "/%zz\\xff"),
    ],
)
def test_paths_are_compared_as_a_server_looks_them_up(path: str, normal: str) -> None:
    assert normal_path(path) == normal


def test_groups() -> None:
    policy = parse_policy(
        """
groups:
  addresses:
    office: [10.0.0.0/8]
    all: [$office, 192.168.0.0/16]
  ports: {web: [80, 8000-8999]}
  names: {bad: [.bad.example]}
rules:
  - {action: drop, client: $all, server_port: $web, host: $bad}
  - {action: drop, client: "!$office"}
"""
    )
    first, second = policy.rules
    bad = {"host": ["www.bad.example"]}
    assert first.answer(facts("192.168.1.1", app="http", message=bad)) is True
    assert first.answer(facts("172.16.0.1", app="http", message=bad)) is False
    assert first.answer(facts(ports=(1, 22), app="http", message=bad)) is False
    assert second.answer(facts("192.168.1.1")) is True
    assert second.answer(facts("10.1.1.1")) is False


# ---- when facts are known


def test_a_condition_waits_for_its_fact() -> None:
    assert answer("host: a.example", facts()) is None
    assert answer("host: a.example", facts(app="http")) is None
    assert answer("host: a.example", facts(app="tls")) is False
    assert answer("host: a.example", facts(over=True)) is False
    assert answer('host: "!a.example"', facts(app="tls")) is False
    assert answer("app: tls", facts()) is None
    assert answer('app: "!tls"', facts(app="none")) is True


def test_some_facts_cannot_come() -> None:
    assert answer("host: a.example", facts(proto=UDP)) is False  # no HTTP/1 over UDP
    assert answer("dns: a.example", facts(proto=UDP)) is None
    assert answer("app: [ssh, tls, http]", facts(proto=UDP)) is False
    assert answer("app: none", facts(proto=ICMP)) is True
    assert answer("app: none", facts(over=True)) is True


def test_one_no_is_enough() -> None:
    rule = parse_policy("rules: [{action: drop, client: 10.0.0.9, host: a.example}]").rules[0]
    assert rule.answer(facts("10.0.0.1")) is False
    assert rule.answer(facts("10.0.0.9")) is None


def test_the_first_rule_that_applies_decides() -> None:
    policy = parse_policy(
        """
default: reject
rules:
  - {action: drop, host: a.example}
  - {action: log, name: note, client: 10.0.0.0/8}
  - {action: log, name: later, method: POST}
  - {action: accept, server_port: 80}
"""
    )
    early = policy.judge(facts())
    assert early.rule is None and early.log == ()
    other = policy.judge(facts(app="ssh"))
    assert other.rule is policy.rules[3]
    assert [rule.name for rule in other.log] == ["note"] and not other.waiting
    posted = facts(app="http", message={"host": ["b.example"], "method": ["POST"]})
    assert [rule.name for rule in policy.judge(posted).log] == ["note", "later"]
    default = policy.judge(facts(ports=(1, 22), app="ssh")).rule
    assert default is policy.default and default.action == "reject" and default.number == 0


def test_a_log_rule_keeps_nobody_waiting() -> None:
    policy = parse_policy("rules: [{action: log, host: a.example}, {action: drop}]")
    verdict = policy.judge(facts())
    assert verdict.rule is policy.rules[1] and verdict.waiting


# ---- judging against an evaluator that knows everything

ADDRESSES = ["10.0.0.1", "10.1.0.1", "192.0.2.1", "2001:db8::1"]
NETWORKS = [*ADDRESSES, "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32"]
NAMES = ["a.example", "b.a.example", "c.example"]
NAME_PATTERNS = [*NAMES, "*.a.example", ".a.example", ".example"]
PORTS = [22, 53, 80, 8080]


def sets_of(values: list[str]) -> st.SearchStrategy[list[str]]:
    word = st.builds(lambda no, v: ("!" if no else "") + v, st.booleans(), st.sampled_from(values))
    return st.lists(word, min_size=1, max_size=3)


ABOUT = {
    "http": {"host": NAME_PATTERNS, "method": ["GET", "POST"], "path": ["/", "/a", "glob:/*"]},
    "tls": {"sni": NAME_PATTERNS, "alpn": ["h2", "http/1.1"]},
    "dns": {"dns": NAME_PATTERNS},
    "": {},
}


@st.composite
def rule_texts(draw: st.DrawFn) -> dict[str, object]:
    """A rule as it would stand in a file."""
    about = draw(st.sampled_from(list(ABOUT)))
    words = {
        "client": NETWORKS,
        "server": NETWORKS,
        "server_port": [str(p) for p in PORTS] + ["50-90"],
        "proto": ["tcp", "udp", "icmp"],
        **ABOUT[about],
    }
    if not about:
        words["app"] = list(APPS)
    keys = draw(st.lists(st.sampled_from(list(words)), max_size=3, unique=True))
    rule: dict[str, object] = {key: draw(sets_of(words[key])) for key in keys}
    rule["action"] = draw(st.sampled_from(["accept", "drop", "reject", "log"]))
    return rule


@st.composite
def worlds(draw: st.DrawFn) -> Facts:
    """All there is to know of a flow."""
    proto = draw(st.sampled_from([TCP, UDP, ICMP]))
    app = draw(st.sampled_from({TCP: list(APPS), UDP: ["dns", "none"], ICMP: ["none"]}[proto]))
    message = {
        "http": {
            "host": draw(st.lists(st.sampled_from(NAMES), max_size=1)),
            "method": ["GET"],
            "path": [draw(st.sampled_from(["/", "/a"]))],
        },
        "tls": {"sni": [draw(st.sampled_from(NAMES))], "alpn": draw(st.sampled_from([[], ["h2"]]))},
        "dns": {"dns": draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2))},
    }.get(app)
    return facts(
        draw(st.sampled_from(ADDRESSES)),
        draw(st.sampled_from(ADDRESSES)),
        (40000, draw(st.sampled_from(PORTS))),
        proto,
        app=app,
        message=message,
        over=message is None,
    )


def naive_word(key: str, word: str, world: Facts) -> bool:
    """One word without its `!`, in the plainest way."""
    import fnmatch
    import ipaddress

    if key in ("client", "server"):
        number = getattr(world, key)
        mapped = ipaddress.ip_address(number)
        address = mapped.ipv4_mapped or mapped  # type: ignore[union-attr]
        return address in ipaddress.ip_network(word)
    if key == "server_port":
        low, _, high = word.partition("-")
        return int(low) <= world.server_port <= int(high or low)
    if key == "proto":
        return {"tcp": TCP, "udp": UDP, "icmp": ICMP}[word] == world.proto
    if key == "app":
        return world.app == word
    values = (world.message or {}).get(key, ())
    if key in ("host", "sni", "dns"):
        if word.startswith("*"):
            return any(v.endswith(word[1:]) for v in values)
        if word.startswith("."):
            return any(("." + v).endswith(word) for v in values)
        return word in values
    if word.startswith("glob:"):
        return any(fnmatch.fnmatchcase(v, word[5:]) for v in values)
    return word in values


def naive_rule(rule: dict[str, object], world: Facts) -> bool:
    for key, words in rule.items():
        if key == "action":
            continue
        assert isinstance(words, list)
        if key in ABOUT["http"] and world.app != "http":
            return False
        if key in ABOUT["tls"] and world.app != "tls":
            return False
        if key == "dns" and world.app != "dns":
            return False
        if key == "server_port" and world.proto == ICMP:
            return False
        wanted = [w for w in words if not w.startswith("!")]
        if wanted and not any(naive_word(key, w, world) for w in wanted):
            return False
        if any(naive_word(key, w[1:], world) for w in words if w.startswith("!")):
            return False
    return True


def earlier(world: Facts) -> list[Facts]:
    """What was known of the world before all of it was."""
    return [
        replace(world, app=None, message=None, over=False),
        replace(world, message=None, over=False),
    ]


def yaml_of(rules: list[dict[str, object]]) -> str:
    import json

    return json.dumps({"rules": rules})  # YAML is a superset


@given(st.lists(rule_texts(), max_size=5), worlds())
def test_with_all_known_the_first_rule_that_holds_decides(
    rules: list[dict[str, object]], world: Facts
) -> None:
    policy = parse_policy(yaml_of(rules))
    verdict = policy.judge(world)
    held = [n for n, rule in enumerate(rules, 1) if naive_rule(rule, world)]
    deciding = [n for n in held if rules[n - 1]["action"] != "log"]
    assert verdict.rule is not None
    assert verdict.rule.number == (deciding[0] if deciding else 0)
    before = deciding[0] if deciding else len(rules) + 1
    logged = [n for n in held if rules[n - 1]["action"] == "log" and n < before]
    assert [rule.number for rule in verdict.log] == logged
    assert not verdict.waiting


@given(st.lists(rule_texts(), max_size=5), worlds())
def test_an_early_decision_is_never_taken_back(
    rules: list[dict[str, object]], world: Facts
) -> None:
    policy = parse_policy(yaml_of(rules))
    end = policy.judge(world)
    for known in earlier(world):
        early = policy.judge(known)
        if early.rule is not None:
            assert early.rule is end.rule
        assert set(early.log) <= set(end.log)
        if not early.waiting and early.rule is not None:
            assert early.log == end.log


def test_a_decision_comes_as_soon_as_it_can() -> None:
    rules: list[dict[str, object]] = [
        {"action": "drop", "client": ["10.0.0.1"], "host": ["a.example"]},
        {"action": "accept", "server_port": ["80"]},
    ]
    policy = parse_policy(yaml_of(rules))
    assert policy.judge(facts("10.1.0.1")).rule is policy.rules[1]
    assert policy.judge(facts("10.0.0.1")).rule is None
    assert policy.judge(facts("10.0.0.1", app="ssh")).rule is policy.rules[1]


# ---- mistakes


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        ("", ["1:1: the file is empty, expected rules"]),
        ("groups: {}", ["1:1: expected rules, or a default"]),
        ("- a", ["1:1: expected a policy"]),
        ("rules: 3", ["1:8: expected a list of rules"]),
        ("rules: [3]", ["1:9: expected a rule", "1:9: the rule has no action"]),
        ("defualt: drop\nrules: []", ["1:1: no key 'defualt' in a policy; did you mean default?"]),
        ("default: dorp", ["1:10: 'dorp' is not what to do with the rest; did you mean drop?"]),
        ("default: log", ["1:10: 'log' is not"]),
        ("default:", ["1:9: nothing is here"]),
        ("rules:\n  - action: drop\n    clinet: 10.0.0.1", ["3:5: no key 'clinet'", "client?"]),
        ("rules:\n  - client: 10.0.0.1", ["2:5: the rule has no action"]),
        ("rules: [{action: drop, client: 10.0.0.300}]", ["1:32: '10.0.0.300' is not an address"]),
        (
            "rules: [{action: drop, client: 10.0.0.1/8}]",
            ["bits beyond its prefix: is it 10.0.0.0/8?"],
        ),
        ("rules: [{action: drop, client: 10.0.0.9-10.0.0.1}]", ["1:32: ", "ends before it begins"]),
        (
            "rules: [{action: drop, client: {a: b}}]",
            ["1:32: expected an address", "not a list or keys"],
        ),
        ("rules: [{action: drop, client: [[10.0.0.1]]}]", ["1:33: expected an address"]),
        ("rules: [{action: drop, client: []}]", ["1:32: the list is empty"]),
        ("rules: [{action: drop, server_port: 65536}]", ["1:37: '65536' is not a port"]),
        ("rules: [{action: drop, server_port: 9-1}]", ["ends before it begins"]),
        ("rules: [{action: drop, proto: tpc}]", ["1:31: 'tpc' is not an IP protocol"]),
        ("rules: [{action: drop, app: htpp}]", ["1:29: 'htpp' is not", "did you mean http?"]),
        ("rules: [{action: drop, host: 'a b'}]", ["1:30: 'a b' is not a host name"]),
        (
            "rules: [{action: drop, host: 'ads*.example'}]",
            ["other patterns begin with glob: or re:"],
        ),
        ("rules: [{action: drop, host: 'bücher.example'}]", ["xn--"]),
        ("rules: [{action: drop, path: 're:('}]", ["1:30: 're:(' is not a regular expression"]),
        ("rules: [{action: drop, header: curl}]", ["1:32: expected header names"]),
        (
            "rules: [{action: drop, client: $office}]",
            ["1:32: no group of addresses named 'office'"],
        ),
        (
            "groups: {names: {a: [a.example]}}\nrules: [{action: drop, host: $aa}]",
            ["2:30: no group of names named 'aa' above"],
        ),
        ("groups: {names: {a: ['!a.example']}}\ndefault: drop", ["1:22: a group has no !"]),
        ("groups: {hosts: {}}\ndefault: drop", ["1:10: no key 'hosts' in groups"]),
        (
            "rules:\n  - action: drop\n    action: accept",
            ["3:5: 'action' is there twice, first in line 2"],
        ),
        (
            "rules:\n  - {name: a, action: drop, proto: tcp}\n  - {name: a, action: drop}",
            ["3:12: the rule in line 2 is called 'a' too"],
        ),
        ("rules: [{action: drop, host: a, sni: b}]", ["1:9: no flow is both http and tls"]),
        ("rules: [{action: drop, host: a, app: ssh}]", ["its `app` leaves out"]),
        ("rules: [{action: drop, host: *.a.example}]", ["1:31: ", "written in quotes"]),
        ("rules: [{action: drop, client: !10.0.0.1 }]", ["1:32: ", "written in quotes"]),
        ("rules:\n- action: drop\n  client: !10.0.0.1", ["3:11: ", "written in quotes"]),
        ("rules: [", ["1:9: "]),
        ("rules:\n\t- a", ["2:1: "]),
        ("a: &a [*a]", ["1:1: no key 'a'"]),
        ("rules: &a [*a]", ["expected a rule"]),
        ("rules: " + "[" * 3000, ["nested too deeply"]),
        ("? [a]\n: b", ["1:3: expected a key of a policy, not a list or keys"]),
        ("rules: \x01", ["special characters are not allowed"]),
    ],
)
def test_mistakes_name_line_and_column(text: str, mistakes: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "p.yaml")
    said = str(caught.value)
    assert all(line.startswith("p.yaml:") for line in said.splitlines())
    for mistake in mistakes:
        assert mistake in said


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy("rules: [{action: dorp}, {action: drop, client: x}, {hots: a}]")
    assert len(caught.value.mistakes) == 4  # the last rule has no action either


def test_a_rule_that_is_never_reached_is_a_warning() -> None:
    text = "rules:\n  - action: log\n  - action: accept\n  - {action: drop, proto: tcp}\n"
    policy = parse_policy(text, "p.yaml")
    assert policy.warnings == ["p.yaml:4:5: never reached: the rule in line 3 applies to all"]


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none\.yaml: No such file"):
        read_policy(tmp_path / "none.yaml")
    (tmp_path / "x.yaml").write_bytes(b"default: \xff")
    with pytest.raises(PolicyError, match="not text in UTF-8"):
        read_policy(tmp_path / "x.yaml")


@given(st.text(alphabet="ad:rulesnco{}[]-!*&$'\"\n \t0/.|>%#?,", max_size=60))
def test_any_text_is_a_policy_or_has_mistakes(text: str) -> None:
    policy = Policy()
    with contextlib.suppress(PolicyError):
        policy = parse_policy(text)
    assert policy.judge(facts(over=True)).rule is not None


def test_the_example_in_the_package_is_right() -> None:
    example = Path(mosbox.__file__).parent / "data" / "l7fw.yaml"
    policy = read_policy(example)
    assert not policy.warnings and len(policy.rules) > 5
    tracker = facts(app="tls", message={"sni": ["x.tracker.example"], "alpn": []})
    decided = policy.judge(tracker).rule
    assert decided is not None and decided.action == "drop"


def test_rules_say_who_they_are() -> None:
    assert str(Rule(3, "drop")) == "rule 3"
    assert str(Rule(3, "drop", "ads")) == "ads"
    assert len({Rule(n, "drop") for n, _ in itertools.product((1, 1), repeat=2)}) == 4
