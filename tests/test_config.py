# SPDX-License-Identifier: BSD-3-Clause
"""YAML files and --set become options and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from program import mosbox, portwatch, records, scan

from mosbox._core import ffi, lib
from mosbox.config import OVERLAPS, TUNNELS, Config, core_keys, parse_decap, read_config
from mosbox.options import Option, parse_duration, parse_size

LIMIT = {"limit": Option(100, "ports", name="limit", type=int)}


def read(tmp_path: Path, text: str, *settings: str, **more: Any) -> Config:
    path = tmp_path / "mosbox.yaml"
    path.write_text(text)
    words: dict[str, Any] = {"app": "portwatch", "options": LIMIT, "apps": ["ids"], **more}
    return read_config(str(path), settings, **words)


def test_a_file_of_all_kinds(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        checksums: verify
        decap: [gre, vxlan]
        output: [json:x.json, eve:y.json]
        vlan-key: yes
        timeouts: {tcp: 1h, udp: 1.5s}
        limits:
          flows: 200k
          stream-bytes: 4MiB
        portwatch:
          limit: 7
        ids:
          whatever: it likes
        """.replace("[gre, vxlan]", "gre,vxlan"),
    )
    assert config.core == {
        "checksums": lib.MB_CHECKSUMS_VERIFY,
        "decap": lib.MB_TUNNEL_GRE | lib.MB_TUNNEL_VXLAN,
        "key_vlan": 1,
        "timeout_tcp": 3600 * 10**9,
        "timeout_udp": 1_500_000_000,
        "max_flows": 200_000,
        "max_stream_bytes": 4 << 20,
    }
    assert config.common == {"output": ["json:x.json", "eve:y.json"]}
    assert config.app == {"limit": 7}


def test_settings_come_on_top_of_the_file(tmp_path: Path) -> None:
    config = read(tmp_path, "timeouts: {udp: 1s}", "timeouts.udp=2s", "portwatch.limit=3")
    assert config.core == {"timeout_udp": 2_000_000_000}
    assert config.app == {"limit": 3}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_no_mistake(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == Config()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("checksum: verify\n", ":1: no key 'checksum'; did you mean checksums"),
        ("\n\ntimeouts:\n  tpc: 1s\n", ":4: no key 'timeouts.tpc'; did you mean timeouts.tcp"),
        ("timeouts: 3\n", ":1: no key 'timeouts'"),
        ("portwatch: {limt: 3}\n", ":1: no key 'portwatch.limt'; did you mean portwatch.limit"),
        ("portwatch:\n  limit: many\n", ":2: limit: 'many' is not a whole number"),
        ("timeouts: {tcp: soon}\n", ":1: timeouts.tcp: 'soon' is not a time"),
        ("limits: {flows: many}\n", ":1: limits.flows: 'many' is not a number"),
        ("checksums: maybe\n", ":1: checksums: 'maybe' is none of ignore, verify"),
        ("limits: {flows: 99999999999}\n", ":1: limits.flows: 99999999999 is too large"),
        ("timeouts:\n  tcp: 999999d\n", ":2: timeouts.tcp: 999999d is too large"),
        (f"timeouts: {{tcp: {'9' * 400}}}\n", " is too large"),
        ("seed: 99999999999999999999\n", ":1: seed: 99999999999999999999 is too large"),
        ("decap: {gre: 1}\n", ":1: no key 'decap.gre'"),
        ("checksums: [verify]\n", ":1: checksums: ['verify'] is none of"),
        ("seed: 1\nchecksums: !!foo 1\n", ":2: could not determine a constructor"),
        ("midstream: !!bool maybe\n", ":1: 'maybe' does not fit its tag"),
        ("seed: " + "[" * 5000, ": nested too deeply"),
        ("decap: gre,foo\n", "yaml:1: decap: no tunnel 'foo'"),
        ("- a\n- b\n", ":1: the file holds no keys"),
        ("hosts: {linux: 10.0.0.0/99}\n", ":1: hosts.linux: '10.0.0.0/99'"),
        ("hosts: {plan9: 10.0.0.0/8}\n", ":1: no key 'hosts.plan9'"),
        ("hops: {256: 10.0.0.0/8}\n", ":1: no key 'hops.256'"),
        ("hops: {3: everywhere}\n", ":1: hops.3: 'everywhere'"),
        ("urgent: maybe\n", ":1: urgent: 'maybe' is none of inline, oob"),
        ("table_full: explode\n", ":1: table_full: 'explode' is none of evict, open, close"),
        ("a: [1\nb: 2\n", ":2: "),
        ("a: \x00\n", "mosbox.yaml"),
        ("config: other.yaml\n", ":1: no key 'config'"),
    ],
)
def test_mistakes_name_file_and_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=r"mosbox\.yaml") as caught:
        read(tmp_path, text)
    assert complaint in str(caught.value)


def test_overlap_policies_of_hosts(tmp_path: Path) -> None:
    text = "overlap: bsd\nhosts:\n  linux: [10.0.0.0/8, 2001:db8::1]\n  windows: 192.0.2.7\n"
    config = read(tmp_path, text)
    linux, windows = OVERLAPS["linux"], OVERLAPS["windows"]
    assert config.core == {
        "overlap": OVERLAPS["bsd"],
        "hosts": [
            ("10.0.0.0", 8, linux),
            ("2001:db8::1", 128, linux),
            ("192.0.2.7", 32, windows),
        ],
    }


def test_how_far_hosts_are(tmp_path: Path) -> None:
    config = read(tmp_path, "hops:\n  3: [10.0.0.0/8, 2001:db8::1]\n  0: 10.1.0.0/16\n")
    found = [("10.0.0.0", 8, 3), ("2001:db8::1", 128, 3), ("10.1.0.0", 16, 0)]
    assert config.core == {"hops": found}


def test_all_tunnels_are_what_the_core_takes_off_by_itself() -> None:
    assert parse_decap("all") == parse_decap("default") == lib.MB_TUNNEL_DEFAULT
    assert parse_decap(",".join(TUNNELS)) == lib.MB_TUNNEL_DEFAULT
    assert parse_decap("none") == 0


def test_the_largest_values_are_taken(tmp_path: Path) -> None:
    text = f"seed: {2**64 - 1}\nlimits: {{flows: {2**32 - 1}}}\n"
    assert read(tmp_path, text).core == {"seed": 2**64 - 1, "max_flows": 2**32 - 1}


def test_too_large_a_setting_is_code_2(tmp_path: Path) -> None:
    pcap = scan(tmp_path / "x.pcap")
    run = mosbox("stats", "-r", pcap, "--set", "limits.flows=99999999999")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "mosbox: limits.flows: 99999999999 is too large\n"


def test_a_section_of_another_app_may_be_spelt_with_either_dash(tmp_path: Path) -> None:
    text = "nat_monitor: {window: 2}\nnat-monitor: {window: 2}\n"
    assert read(tmp_path, text, apps=["nat-monitor"]) == Config()


def test_every_field_of_the_core_has_a_key() -> None:
    fields = {name for name, _ in ffi.typeof("struct mb_config").fields if name != "spare"}
    assert {name for name, _ in core_keys().values()} == fields


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5s", 1.5), ("250ms", 0.25), ("5m", 300), ("1h", 3600), (7, 7), ("10us", 1e-5)],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "number"),
    [("4096", 4096), ("64k", 64_000), ("64KiB", 65_536), ("1M", 10**6), ("2GB", 2 * 10**9), (5, 5)],
)
def test_sizes(text: object, number: int) -> None:
    assert parse_size(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1x", "1 day", "s", "1e3"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_duration(text)
    with pytest.raises(ValueError, match="is not"):
        parse_size(text)


def test_a_file_configures_a_run_and_the_command_line_wins(tmp_path: Path) -> None:
    apps, pcap = portwatch(tmp_path / "apps"), scan(tmp_path / "x.pcap")
    out = tmp_path / "out.json"
    (tmp_path / "c.yaml").write_text(f"output: json:{out}\nportwatch: {{limit: 4}}\n")
    words = ("--app-dir", apps, "portwatch", "-r", pcap, "-c", tmp_path / "c.yaml")
    assert mosbox(*words).stdout == ""
    assert [alert["ports"] for alert in records(out.read_text())] == [4]
    mosbox(*words, "--limit", "2")
    assert [alert["ports"] for alert in records(out.read_text())] == [2]


def test_a_wrong_file_is_code_2(tmp_path: Path) -> None:
    apps, pcap = portwatch(tmp_path / "apps"), scan(tmp_path / "x.pcap")
    (tmp_path / "c.yaml").write_text("lmits: {}\n\nportwatch: {limt: 4}\n")
    run = mosbox("--app-dir", apps, "portwatch", "-r", pcap, "-c", tmp_path / "c.yaml")
    assert run.returncode == 2
    assert run.stderr == (
        f"mosbox: {tmp_path}/c.yaml:3: no key 'portwatch.limt'; did you mean portwatch.limit?\n"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    apps, pcap = portwatch(tmp_path / "apps"), scan(tmp_path / "x.pcap")
    run = mosbox("--app-dir", apps, "portwatch", "-r", pcap, "-c", tmp_path / "none.yaml")
    assert (run.returncode, run.stderr) == (
        2,
        f"mosbox: {tmp_path}/none.yaml: No such file or directory\n",
    )
