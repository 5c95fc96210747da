# SPDX-License-Identifier: BSD-3-Clause
"""outputs -- where records go: `-o table|json[:F]|eve[:F]|csv[:F]|zeek:DIR`.

Flow records are many, so the core writes them itself; alerts and other records
of an app are few and are written here, through the same buffer, so that their
order in a file is the order in which they happened.

    kind     flows (by the core)        alerts and records        at the end
    table    -                          a line each               the app's table
    json     if the app wants them      an object a line          the table's rows
    eve      if the app wants them      EVE records               -
    csv      if the app wants them      -                         the table's rows
    zeek     DIR/conn.log               -                         -
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosbox._core import lib
from mosbox.engine import NS, STDIO, Engine, Output
from mosbox.events import Flow, Packet
from mosbox.hints import did_you_mean

if TYPE_CHECKING:
    from mosbox.app import Command

__all__ = ["Outputs", "Sink", "path_of", "timestamp"]

Record = dict[str, Any]
_FORMATS = {
    "json": lib.MB_FORMAT_JSON,
    "eve": lib.MB_FORMAT_EVE,
    "csv": lib.MB_FORMAT_CSV,
    "zeek": lib.MB_FORMAT_ZEEK,
}
_KINDS = ("table", *_FORMATS)

ZEEK_TIMES = {"timeouts.tcp_closed": "5s"}
"""How Zeek divides traffic into connections, where mosbox does it in another way."""


@dataclass
class Sink:
    """One `-o`: a kind of record and the file it goes to."""

    kind: str
    output: Output


class Outputs:
    """All that a command writes but packets: records to its sinks, messages to standard error."""

    def __init__(
        self,
        command: type[Command],
        specs: Iterable[str],
        *,
        line_buffered: bool = False,
        quiet: bool = False,
        collect: bool = False,
    ) -> None:
        """`specs` are as on the command line; with `collect`, records are kept in `records`."""
        self.quiet = quiet
        self._line_buffered = line_buffered
        self.records: list[Record] | None = [] if collect else None
        self._keep: Callable[[Record], None] | None = None
        self.sinks: list[Sink] = []
        self._columns = command.table_columns
        self._flows = getattr(command, "flow_records", False)
        kinds = (*_KINDS, *getattr(command, "extra_outputs", ()))
        wanted = [_parse(spec, kinds) for spec in specs]
        paths = [path for _, path in wanted]
        for path in paths:
            if paths.count(path) > 1:
                where = "standard output" if path == STDIO else path
                raise ValueError(f"two outputs want {where}")
        try:
            for kind, path in wanted:
                if kind == "zeek":
                    Path(path).parent.mkdir(parents=True, exist_ok=True)
                tty = path == STDIO and sys.stdout.isatty()
                self.sinks.append(Sink(kind, Output(path, line_buffered=line_buffered or tty)))
        except BaseException:
            self.close()
            raise

    def settings(self) -> dict[str, str]:
        """Keys of the configuration that the kinds of record ask for."""
        return ZEEK_TIMES if self.of("zeek") else {}

    # -- the core writes

    def attach(self, engine: Engine) -> None:
        """Has the core write flow records to those sinks that want them."""
        for sink in self.sinks:
            if sink.kind == "zeek" or (self._flows and sink.kind in _FORMATS):
                engine.flow_log(_FORMATS[sink.kind], sink.output)

    def append(self, kind: str, path: str) -> Output:
        """One more file, for an app whose records are written in C; it is flushed, opened
        anew and closed with the others."""
        output = Output(path, append=True, line_buffered=self._line_buffered)
        self.sinks.append(Sink(kind, output))
        return output

    def of(self, *kinds: str) -> list[Output]:
        """The outputs of some kinds, for apps whose records are written in C."""
        return [sink.output for sink in self.sinks if sink.kind in kinds]

    # -- Python writes

    def alert(
        self, app: str, message: str, ns: int, about: Flow | Packet | None, fields: Record
    ) -> None:
        """An alert of an app."""
        head = _head(ns, "alert", about)
        record = {**head, "app": app, "alert": message, **fields}
        for sink in self.sinks:
            if sink.kind == "eve":
                sink.output.write(_json(_eve_alert(head, app, message, fields)))
            else:
                self._line(sink, record, message, fields)
        self._collect(record)

    def record(
        self, app: str, event_type: str, ns: int, about: Flow | Packet | None, fields: Record
    ) -> None:
        """A record of an app."""
        record = {**_head(ns, event_type, about), **fields}
        for sink in self.sinks:
            if sink.kind == "eve":
                sink.output.write(_json(record))
            else:
                self._line(sink, record, event_type, fields)
        self._collect(record)

    def table(self, rows: list[Record]) -> None:
        """A table on the outputs that are read by people."""
        if self._columns:
            rows = [{name: row.get(name) for name in self._columns} for row in rows]
        for output in self.of("table"):
            if rows:
                output.write(format_table(rows) + "\n")
            output.flush()

    def result(self, app: str, rows: list[Record], ns: int | None = None) -> None:
        """The app's table at the end of the run; `ns` is the time of it, if it has one."""
        self.table(rows)
        if self._flows:
            return  # the flows are the result
        for sink in self.sinks:
            if sink.kind == "csv":
                sink.output.write(format_csv(rows))
            elif sink.kind == "json":
                head = {} if ns is None else _head(ns, app, None)
                for row in rows:
                    sink.output.write(_json({**head, **row}))

    def say(self, text: str, *, always: bool = False) -> None:
        """A message to the user."""
        if always or not self.quiet:
            sys.stderr.write(f"mosbox: {text}\n")  # in one piece: workers talk at the same time
            sys.stderr.flush()

    def _line(self, sink: Sink, record: Record, what: str, fields: Record) -> None:
        if sink.kind == "json":
            sink.output.write(_json(record))
        elif sink.kind == "table":
            sink.output.write(_sentence(record, what, fields))

    def _collect(self, record: Record) -> None:
        if self._keep is not None:
            self._keep(record)
        elif self.records is not None:
            self.records.append(record)

    def collect_at(self, keep: Callable[[Record], None]) -> None:
        """Records that would be kept in `records` are given to `keep`."""
        self._keep = keep

    # -- their life

    def flush(self) -> None:
        for sink in self.sinks:
            sink.output.flush()

    def reopen(self) -> None:
        """For log rotation: files are closed and their names opened again."""
        for sink in self.sinks:
            if sink.output.path != STDIO:
                sink.output.reopen()

    def close(self) -> None:
        """Flushes and closes all, and then raises the first error there was."""
        failures: list[Exception] = []
        for sink in self.sinks:
            try:
                sink.output.close()
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]


def path_of(spec: str) -> str:
    """The file that a `-o` is written to."""
    kind, _, path = spec.partition(":")
    return str(Path(path) / "conn.log") if kind == "zeek" else path or STDIO


def _parse(spec: str, kinds: tuple[str, ...]) -> tuple[str, str]:
    """Kind and path of a `-o`."""
    kind, colon, path = spec.partition(":")
    if kind not in kinds:
        hint = did_you_mean(kind, kinds) or f"; there are {', '.join(kinds)}"
        raise ValueError(f"output {spec!r}: no kind {kind!r}{hint}")
    if colon and not path:
        raise ValueError(f"output {spec!r}: no file after the colon")
    if kind == "zeek" and path in ("", STDIO):
        raise ValueError("output zeek needs a folder: zeek:DIR")
    return kind, path_of(spec)


# ---- how records look


_second, _second_text = -1, ""


def timestamp(ns: int) -> str:
    """EVE's form, UTC: 2024-02-29T12:00:00.123456+0000."""
    global _second, _second_text
    second, rest = divmod(ns, NS)
    if second != _second:
        _second, _second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{_second_text}.{rest // 1000:06}+0000"


def _head(ns: int, event_type: str, about: Flow | Packet | None) -> Record:
    """The fields that all records share, in EVE's names and order."""
    head: Record = {"timestamp": timestamp(ns)}
    if isinstance(about, Flow):
        client, server = about.client, about.server
        head["flow_id"] = about.stable_id
        head["event_type"] = event_type
        head |= _ends(client.ip, client.port, server.ip, server.port, about.proto)
        head["community_id"] = about.community_id
    elif isinstance(about, Packet):
        head["event_type"] = event_type
        head |= _ends(about.src, about.sport, about.dst, about.dport, about.proto)
    else:
        head["event_type"] = event_type
    return head


def _ends(src: str, sport: int, dst: str, dport: int, proto: str) -> Record:
    proto = "IPv6-ICMP" if proto == "ICMPv6" else proto
    return {"src_ip": src, "src_port": sport, "dest_ip": dst, "dest_port": dport, "proto": proto}


def _eve_alert(head: Record, app: str, message: str, fields: Record) -> Record:
    alert = {
        "action": "allowed",
        "gid": 1,
        "signature_id": 0,
        "rev": 0,
        "signature": message,
        "category": "",
        "severity": 3,
    }
    return {**head, "alert": alert, "mosbox": {"app": app, **fields}}


def _json(record: Record) -> str:
    import json

    return json.dumps(record, separators=(",", ":"), default=_plain) + "\n"


def _plain(value: Any) -> Any:
    """What JSON has no type for."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)


def _sentence(record: Record, what: str, fields: Record) -> str:
    """A record as a line for people."""
    when = record["timestamp"][:-5].replace("T", " ")
    parts = [when, what]
    if "src_ip" in record:
        src = _end(record["src_ip"], record.get("src_port"))
        dst = _end(record.get("dest_ip", ""), record.get("dest_port"))
        parts.append(f"{record.get('proto', '')} {src} -> {dst}")
    shown = [f"{k}={v}" for k, v in _flat(fields) if k not in _ends("", 0, "", 0, "")]
    return "  ".join([*parts, *([" ".join(shown)] if shown else [])]) + "\n"


def _flat(fields: Record, before: str = "") -> Iterator[tuple[str, Any]]:
    """Fields with those of objects among them, as object.field."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _end(ip: str, port: int | None) -> str:
    if port is None:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def format_table(rows: list[Record]) -> str:
    """Rows as a table for people; the columns are the keys of the first."""
    from tabulate import tabulate

    names = list(rows[0])
    columns = [[row.get(name) for row in rows] for name in names]
    sides = ["right" if all(map(_is_number, column)) else "left" for column in columns]
    body = [[_cell(row.get(name)) for name in names] for row in rows]
    return tabulate(body, headers=names, colalign=sides, disable_numparse=True)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def format_csv(rows: list[Record]) -> str:
    """Rows as CSV with a header line."""
    import csv
    import io

    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
