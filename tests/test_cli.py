# SPDX-License-Identifier: BSD-3-Clause
"""The program mosbox from outside: what it prints, where, and with which exit code."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from program import MOSBOX, environment, mosbox, portwatch, records, scan
from wire import write_pcap

import mosbox as package
from mosbox.testing import Capture


@pytest.fixture
def pcap(tmp_path: Path) -> Path:
    return scan(tmp_path / "scan.pcap")


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    return portwatch(tmp_path / "apps")


def app(folder: Path, name: str, text: str) -> Path:
    (folder / f"{name}.py").write_text("from mosbox import App, Flow, option\n\n\n" + text)
    return folder


# ---- help


def test_help_lists_apps_with_their_first_line(apps: Path) -> None:
    run = mosbox("--app-dir", apps, "--help")
    assert run.returncode == 0
    assert re.search(r"^  portwatch +Report clients that try many\b", run.stdout, re.M)
    assert run.stderr == ""


def test_without_arguments_it_is_help() -> None:
    assert mosbox().stdout == mosbox("--help").stdout


def test_help_of_an_app_has_its_options_and_the_common_ones(apps: Path) -> None:
    run = mosbox("--app-dir", apps, "portwatch", "--help")
    assert run.returncode == 0
    assert "--limit N  ports before a client is reported (default: 100)" in run.stdout
    for flag in ("-r, --read FILE", "-i, --interface IF", "-o, --output OUT", "--decap LIST"):
        assert flag in run.stdout


def test_help_imports_neither_apps_nor_the_core(apps: Path) -> None:
    app(apps, "bomb", 'class Bomb(App):\n    """Loud."""\n\n\nraise SystemExit("imported")\n')
    code = (
        "import sys; from mosbox.cli import main; main(['--help']);"
        "print(sorted(m for m in sys.modules if m.startswith('mosbox.')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(MOSBOX_APP_DIR=str(apps)),
    )
    assert "bomb" in run.stdout
    loaded = run.stdout.splitlines()[-1]
    assert "mosbox._core" not in loaded
    assert "mosbox.app" not in loaded


@pytest.mark.parametrize("what", ["--help", "portwatch --help", "portwatch -o json -r"])
def test_no_more_is_loaded_than_is_needed(apps: Path, pcap: Path, what: str) -> None:
    words = ["--app-dir", str(apps), *what.split(), *([str(pcap)] if what.endswith("-r") else [])]
    code = (
        f"import sys; sys.stdout = sys.stderr; from mosbox.cli import main; main({words!r});"
        "print(sorted({'pydantic', 'rich', 'tabulate', 'yaml', 'pygount'} & set(sys.modules)),"
        " file=sys.__stdout__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment()
    )
    assert run.stdout == "[]\n"


def test_version() -> None:
    assert mosbox("--version").stdout == f"mosbox {package.__version__}\n"


# ---- running an app


def test_the_app_of_the_readme_runs(apps: Path, pcap: Path) -> None:
    run = mosbox("--app-dir", apps, "portwatch", "-r", pcap, "--limit", "3")
    assert (run.returncode, run.stderr) == (0, "")
    [alert] = records(run.stdout)
    assert (alert["event_type"], alert["alert"], alert["ports"]) == ("alert", "port scan", 3)
    assert (alert["src_ip"], alert["dest_ip"], alert["dest_port"]) == ("10.0.0.1", "10.0.0.2", 3)


def test_an_app_can_be_named_by_its_file(apps: Path, pcap: Path) -> None:
    run = mosbox(apps / "portwatch.py", "-r", pcap, "--limit", "5")
    assert len(records(run.stdout)) == 1


def test_two_runs_are_alike_byte_for_byte(apps: Path, pcap: Path) -> None:
    words = ("portwatch", "-r", pcap, "--limit", "2", "-o", "json")
    first, second = (mosbox("--app-dir", apps, *words) for _ in range(2))
    assert first.stdout == second.stdout != ""


def test_a_filter_is_trailing_words_or_a_file(apps: Path, pcap: Path, tmp_path: Path) -> None:
    file = tmp_path / "filter"
    file.write_text("# web only\ntcp port 80   # and no other\n")
    words = ["--app-dir", apps, "portwatch", "-r", pcap, "--limit", "1"]
    for filter in (["tcp", "port", "80"], ["tcp port 80"], ["-F", file]):
        run = mosbox(*words, *filter)
        assert [alert["src_ip"] for alert in records(run.stdout)] == ["10.0.0.9"]


def test_several_captures_are_read_in_order(apps: Path, tmp_path: Path) -> None:
    paths = []
    for number in (1, 2, 3):
        with Capture(tmp_path / f"{number}.pcap", start=number * 1000) as capture:
            capture.tcp(f"10.0.0.{number}", "10.0.0.99", 80)
        paths += ["-r", tmp_path / f"{number}.pcap"]
    run = mosbox("--app-dir", apps, "portwatch", *paths, "--limit", "1")
    assert [alert["src_ip"] for alert in records(run.stdout)] == [f"10.0.0.{n}" for n in (1, 2, 3)]


def test_kept_packets_chain_through_pipes(apps: Path, pcap: Path) -> None:
    app(
        apps,
        "wall",
        "class Wall(App):\n"
        "    def on_flow_start(self, flow: Flow) -> None:\n"
        "        if flow.server.port == 80:\n"
        "            flow.drop()\n",
    )
    first = subprocess.Popen(
        [*MOSBOX, "--app-dir", apps, "wall", "-r", pcap, "-w", "-"],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    second = mosbox("--app-dir", apps, "portwatch", "-r", "-", "--limit", "1", stdin=first.stdout)
    assert first.wait() == 0
    assert second.stderr == ""
    assert [alert["src_ip"] for alert in records(second.stdout)] == ["10.0.0.1"]


def test_a_reader_that_goes_away_ends_it_quietly(apps: Path, tmp_path: Path) -> None:
    with Capture(tmp_path / "x.pcap") as capture:
        for port in range(1, 3000):
            capture.udp("10.0.0.1", "10.0.0.2", port, b"x")
    app(
        apps,
        "noisy",
        "class Noisy(App):\n"
        "    def on_flow_start(self, flow: Flow) -> None:\n"
        "        self.alert('flow', flow, filler='x' * 200)\n",
    )
    run = subprocess.Popen(
        [*MOSBOX, "--app-dir", apps, "noisy", "-r", tmp_path / "x.pcap", "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert run.stdout is not None
    assert run.stderr is not None
    assert run.stdout.readline().startswith(b"{")
    run.stdout.close()
    assert run.stderr.read() == b""
    assert run.wait(20) == 0


# ---- what is wrong


WRONG_USE = [
    (["portwatch", "-r", "PCAP", "--limit", "few"], "limit: 'few' is not a whole number"),
    (["portwatch", "-r", "PCAP", "--limt", "3"], "No such option: --limt"),
    (["portwacht", "-r", "PCAP"], "no app 'portwacht'; did you mean portwatch?"),
    (["./nothing.py", "-r", "PCAP"], "./nothing.py: no such file"),
    (["portwatch"], "packets come from -r FILE or from -i IF, one of them"),
    (["portwatch", "-r", "PCAP", "-i", "lo"], "packets come from -r FILE or from -i IF"),
    (["portwatch", "-r", "PCAP", "-o", "jason"], "no kind 'jason'; did you mean json?"),
    (["portwatch", "-r", "PCAP", "-o", "json", "-o", "csv"], "two outputs want standard output"),
    (["portwatch", "-r", "PCAP", "-o", "json", "-w", "-"], "both want standard output"),
    (["portwatch", "-r", "PCAP", "-w", "PCAP"], "cannot be read and written at once"),
    (["portwatch", "-r", "PCAP", "-o", "json:PCAP"], "cannot be read and written at once"),
    (["portwatch", "-r", "PCAP", "-w", "PCAP.z", "-o", "csv:PCAP.z"], "two outputs want "),
    (["ids", "-r", "PCAP", "--fast-log", "PCAP"], "cannot be read and written at once"),
    (["ids", "-r", "PCAP", "--fast-log", "PCAP.f", "-o", "eve:PCAP.f"], "two outputs want "),
    (["portwatch", "-r", "PCAP", "port", "http", "and"], "filter 'port http and': "),
    (["portwatch", "-r", "PCAP", "--set", "limits.flwos=1"], "did you mean limits.flows?"),
    (["portwatch", "-r", "PCAP", "--set", "limits.flows"], "it is KEY=VALUE"),
    (["portwatch", "-r", "PCAP", "--decap", "gre,vxlam"], "no tunnel 'vxlam'; did you mean vxlan"),
    (["portwatch", "-r", "PCAP", "--checksums", "maybe"], "'maybe' is none of ignore, verify"),
    (["portwatch", "-r", "PCAP", "--on-error", "pray"], "'pray' is none of stop, continue"),
]


@pytest.mark.parametrize(("words", "complaint"), WRONG_USE)
def test_wrong_use_is_one_line_and_code_2(
    apps: Path, pcap: Path, words: list[str], complaint: str
) -> None:
    before = pcap.read_bytes()
    run = mosbox("--app-dir", apps, *[w.replace("PCAP", str(pcap)) for w in words])
    assert run.returncode == 2
    assert run.stdout == ""
    [line] = run.stderr.splitlines()
    assert line.startswith("mosbox: ")
    assert complaint in line
    assert pcap.read_bytes() == before
    assert [path.name for path in pcap.parent.iterdir() if path.is_file()] == [pcap.name]


def test_a_capture_is_not_written_over_by_another_name(apps: Path, pcap: Path) -> None:
    before, link = pcap.read_bytes(), pcap.with_name("link")
    link.symlink_to(pcap)
    run = mosbox("--app-dir", apps, "portwatch", "-r", pcap, "-o", f"json:{link}")
    assert (run.returncode, pcap.read_bytes()) == (2, before)
    null = "/dev/null"
    run = mosbox("--app-dir", apps, "portwatch", "-r", pcap, "-w", null, "-o", f"csv:{null}")
    assert run.returncode == 0, run.stderr


def test_a_missing_capture_is_code_1(apps: Path, tmp_path: Path) -> None:
    run = mosbox("--app-dir", apps, "portwatch", "-r", tmp_path / "none.pcap")
    assert run.returncode == 1
    assert run.stderr == f"mosbox: {tmp_path}/none.pcap: No such file or directory\n"


def test_garbage_is_code_1_and_names_the_file(apps: Path, tmp_path: Path) -> None:
    (tmp_path / "x.pcap").write_bytes(b"\0" * 100)
    run = mosbox("--app-dir", apps, "portwatch", "-r", tmp_path / "x.pcap")
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert "x.pcap" in line


@pytest.mark.parametrize("workers", [1, 2])
def test_a_capture_of_which_nothing_is_decoded_is_told(tmp_path: Path, workers: int) -> None:
    usb = write_pcap(tmp_path / "usb.pcap", [bytes(64)] * 3, link=189)
    run = mosbox("stats", "-r", usb, "--workers", workers)
    assert run.returncode == 0
    assert "no packet was looked into" in run.stderr and "(link type 189)" in run.stderr


def test_a_capture_that_is_cut_off_is_read_as_far_as_it_goes(apps: Path, pcap: Path) -> None:
    pcap.write_bytes(pcap.read_bytes()[:-5])
    run = mosbox("--app-dir", apps, "portwatch", "-r", pcap, "--limit", "5")
    assert run.returncode == 0
    assert len(records(run.stdout)) == 1
    assert "scan.pcap" in run.stderr


FAILS = """\
class Fails(App):
    def on_flow_start(self, flow: Flow) -> None:
        if flow.server.port in (2, 3):
            raise KeyError("nope")
        self.alert("fine", flow)
"""


def test_a_failing_app_is_code_1_and_names_the_flow(apps: Path, pcap: Path) -> None:
    run = mosbox("--app-dir", app(apps, "fails", FAILS), "fails", "-r", pcap)
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith("mosbox: KeyError: 'nope' (in on_flow_start of fails, flow 104 (TCP ")
    assert len(records(run.stdout)) == 2


def test_a_failing_app_can_go_on(apps: Path, pcap: Path) -> None:
    words = ("fails", "-r", pcap, "--on-error", "continue")
    run = mosbox("--app-dir", app(apps, "fails", FAILS), *words)
    assert run.returncode == 0
    assert "2 failures were passed over" in run.stderr
    assert len(records(run.stdout)) == 4


def test_verbose_shows_where_it_failed(apps: Path, pcap: Path) -> None:
    run = mosbox("--app-dir", app(apps, "fails", FAILS), "fails", "-v", "-r", pcap)
    assert 'raise KeyError("nope")' in run.stderr


def test_an_app_can_refuse_its_options(apps: Path, pcap: Path) -> None:
    text = (
        'class Strict(App):\n    def start(self) -> None:\n        raise ValueError("bad rule")\n'
    )
    run = mosbox("--app-dir", app(apps, "strict", text), "strict", "-r", pcap)
    assert (run.returncode, run.stderr) == (2, "mosbox: bad rule\n")


def test_an_app_may_know_more_settings(apps: Path, pcap: Path) -> None:
    text = (
        "class Knows(App):\n"
        "    def setting(self, key: str, value: str) -> bool:\n"
        "        self.taken = (key, value)\n"
        "        return key.startswith('stream.')\n\n"
        "    def finish(self) -> None:\n"
        "        self.emit('taken', None, taken=self.taken)\n"
    )
    app(apps, "knows", text)
    words = ("--app-dir", apps, "knows", "-r", pcap, "--set")
    [record] = records(mosbox(*words, "stream.midstream=yes").stdout)
    assert record["taken"] == ["stream.midstream", "yes"]
    assert mosbox(*words, "steam.midstream=yes").returncode == 2


# ---- signals

SLOW = """\
import time


class Slow(App):
    flow_records = True

    def on_packet(self, flow: Flow, packet: object) -> None:
        time.sleep(0.002)
        if packet.number == 1:
            self.log("first packet")

    def reload(self) -> None:
        self.log("reloaded")

    def finish(self) -> None:
        self.log("finished")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(apps: Path, tmp_path: Path, number: signal.Signals) -> None:
    app(apps, "slow", SLOW)
    with Capture(tmp_path / "x.pcap") as capture:
        for _ in range(100_000):
            capture.udp("10.0.0.1", "10.0.0.2", 53, b"x")
    out = tmp_path / "out.json"
    run = subprocess.Popen(
        [*MOSBOX, "--app-dir", apps, "slow", "-r", tmp_path / "x.pcap", "-o", f"json:{out}"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert run.stderr is not None
    assert run.stderr.readline() == "mosbox: slow: first packet\n"
    run.send_signal(signal.SIGUSR1)
    status = run.stderr.readline()
    assert status.startswith("mosbox: slow: frames=")
    out.rename(tmp_path / "rotated.json")
    run.send_signal(signal.SIGHUP)
    assert run.stderr.readline() == "mosbox: slow: reloaded\n"
    run.send_signal(number)
    assert run.stderr.read() == "mosbox: slow: finished\n"
    assert run.wait(20) == 0
    assert records(out.read_text()), "after rotation, records go to a file of the old name"


# ---- shell completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_made(shell: str) -> None:
    # the launcher is called mosbox; as a module it takes its name from there
    code = "from mosbox.cli import main; raise SystemExit(main())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(_MOSBOX_COMPLETE=f"source_{shell}"),
    )
    assert run.returncode == 0
    assert "_MOSBOX_COMPLETE" in run.stdout


def test_completion_knows_the_apps(apps: Path) -> None:
    code = "from mosbox.cli import main; raise SystemExit(main())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(
            _MOSBOX_COMPLETE="complete_bash",
            COMP_WORDS="mosbox portw",
            COMP_CWORD="1",
            MOSBOX_APP_DIR=str(apps),
        ),
    )
    assert run.stdout.split() == ["portwatch"]
