# SPDX-License-Identifier: BSD-3-Clause
"""Records of apps in every form of -o."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from program import records, scan

import mosbox
from mosbox import App, Flow
from mosbox.outputs import Outputs, format_table, timestamp


@pytest.fixture
def pcap(tmp_path: Path) -> Path:
    return scan(tmp_path / "scan.pcap", ports=2)


class Teller(App):
    def start(self) -> None:
        self.ports: list[int] = []

    def on_flow_start(self, flow: Flow) -> None:
        self.ports.append(flow.server.port)
        if flow.server.port == 80:
            self.alert("web", flow, score=3)
        else:
            self.emit("try", flow, port=flow.server.port)

    def table(self) -> list[dict[str, Any]]:
        return [{"port": port, "n": 1} for port in self.ports]


class Flows(Teller):
    flow_records = True


def written(app: type[App], pcap: Path, kind: str) -> str:
    out = pcap.with_suffix(f".{kind}")
    mosbox.run(app, read=pcap, output=f"{kind}:{out}")
    return out.read_text()


def test_json_has_alerts_records_and_rows_in_order(pcap: Path) -> None:
    alert, first, second, *rows = records(written(Teller, pcap, "json"))
    assert alert["event_type"] == "alert"
    assert (alert["app"], alert["alert"], alert["score"]) == ("teller", "web", 3)
    assert (first["event_type"], first["port"], second["port"]) == ("try", 1, 2)
    assert [(row["event_type"], row["port"]) for row in rows] == [
        ("teller", 80),
        ("teller", 1),
        ("teller", 2),
    ]


def test_flow_records_share_the_file_with_those_of_the_app(pcap: Path) -> None:
    found = records(written(Flows, pcap, "json"))
    kinds = [record["event_type"] for record in found]
    assert kinds.count("flow") == 3
    assert kinds.count("try") == 2
    assert "flows" not in kinds, "the flows are the result, not the table"
    assert kinds.index("alert") < kinds.index("flow")
    heads = {record["flow_id"] for record in found}
    assert len(heads) == 3, "records of a flow have its number"


def test_eve_keeps_to_its_names(pcap: Path) -> None:
    alert = records(written(Teller, pcap, "eve"))[0]
    assert alert["alert"]["signature"] == "web"
    assert alert["mosbox"] == {"app": "teller", "score": 3}
    assert set(alert) == {
        "timestamp",
        "flow_id",
        "event_type",
        "src_ip",
        "src_port",
        "dest_ip",
        "dest_port",
        "proto",
        "community_id",
        "alert",
        "mosbox",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+\d{4}", alert["timestamp"])


def test_csv_is_the_table_or_the_flows(pcap: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(written(Teller, pcap, "csv"))))
    assert rows == [{"port": "80", "n": "1"}, {"port": "1", "n": "1"}, {"port": "2", "n": "1"}]
    flows = list(csv.DictReader(io.StringIO(written(Flows, pcap, "csv"))))
    assert len(flows) == 3


def test_table_has_a_line_a_record_and_the_table(pcap: Path) -> None:
    lines = written(Teller, pcap, "table").splitlines()
    assert lines[0].endswith("  web  TCP 10.0.0.9:49153 -> 10.0.0.2:80  score=3")
    assert lines[1].endswith("  try  TCP 10.0.0.1:49154 -> 10.0.0.2:1  port=1")
    assert lines[3].split() == ["port", "n"]
    assert lines[-1].split() == ["2", "1"]


def test_zeek_writes_connections_to_a_folder(pcap: Path, tmp_path: Path) -> None:
    mosbox.run(Teller, read=pcap, output=f"zeek:{tmp_path}/new/logs")
    lines = (tmp_path / "new" / "logs" / "conn.log").read_text().splitlines()
    assert lines[0] == "#separator \\x09"
    assert len([line for line in lines if not line.startswith("#")]) == 3


def test_one_run_can_write_several(pcap: Path, tmp_path: Path) -> None:
    outputs = [f"json:{tmp_path}/a", f"eve:{tmp_path}/b", f"csv:{tmp_path}/c"]
    mosbox.run(Teller, read=pcap, output=outputs)
    assert all((tmp_path / name).stat().st_size for name in "abc")


@pytest.mark.parametrize(
    ("specs", "complaint"),
    [
        (["xml"], "no kind 'xml'; there are table, json, eve, csv, zeek"),
        (["jsn:x"], "did you mean json"),
        (["json:"], "no file after the colon"),
        (["zeek"], "zeek needs a folder"),
        (["json", "eve:-"], "two outputs want standard output"),
        (["json:x", "eve:x"], "two outputs want x"),
    ],
)
def test_wrong_outputs_are_refused(specs: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Outputs(Teller, specs)


def test_a_folder_that_is_missing_is_named(pcap: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        mosbox.run(Teller, read=pcap, output=f"json:{tmp_path}/none/x")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000+0000"),
        (951_782_400_000_000_999, "2000-02-29T00:00:00.000000+0000"),
        (1_709_208_000_123_456_789, "2024-02-29T12:00:00.123456+0000"),
    ],
)
def test_timestamps(ns: int, text: str) -> None:
    assert timestamp(ns) == text


def test_bytes_that_are_no_text_do_no_harm(pcap: Path) -> None:
    class Odd(App):
        def on_flow_start(self, flow: Flow) -> None:
            self.emit("odd", flow, raw=b"\xff\x00", some={3, 1}, name="\udcff")

    for record in records(written(Odd, pcap, "json")):
        assert (record["raw"], record["some"]) == ("\\xff\x00", [1, 3])
    assert "\\udcff" in written(Odd, pcap, "table")


def test_numbers_of_a_table_keep_their_digits() -> None:
    text = format_table([{"ip": "10.0", "n": 123456789012, "name": "1e5"}])
    assert "123456789012" in text
    assert "10.0" in text
    assert "1e5" in text
