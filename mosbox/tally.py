# SPDX-License-Identifier: BSD-3-Clause
"""tally -- groups of flows, added up in the core as flows end.

Python sees a group when it asks for the largest ones, never a single flow, so a
tally costs the same however many flows there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mosbox._core import ffi, lib
from mosbox.engine import NS, Engine, error_buffer
from mosbox.events import application_name, protocol_name

__all__ = ["Group", "Key", "Measure", "Tally"]

Key = Literal["protocol", "port", "host", "pair", "app", "flow"]
Measure = Literal["bytes", "packets", "flows"]


@dataclass(slots=True)
class Group:
    """Flows that have the key of a tally in common; what is no part of the key is empty."""

    client: str  # of a tally of hosts: the host
    server: str
    client_port: int
    server_port: int
    proto: str
    app: str
    flows: int
    packets_sent: int  # by the client, or by the host
    packets_received: int
    bytes_sent: int
    bytes_received: int
    first: float  # seconds since 1970
    last: float

    @property
    def packets(self) -> int:
        return self.packets_sent + self.packets_received

    @property
    def bytes(self) -> int:
        return self.bytes_sent + self.bytes_received


class Tally:
    """All flows of an engine, grouped by a key: `Tally(self.engine, "host").top(10)`.

    Made in an app's start(). At most `max_rows` groups are kept (0: a million):
    the smallest make room, and `evicted` counts them.
    """

    def __init__(self, engine: Engine, key: Key, max_rows: int = 0) -> None:
        number = getattr(lib, f"MB_TALLY_{key.upper()}")
        with error_buffer(lib.MB_EINVAL) as (err, made):
            self._c = made(lib.mb_tally_new(engine.c, number, max_rows, err))
        self.key: Key = key

    def top(self, count: int, by: Measure = "bytes") -> list[Group]:
        """The largest groups, flows that have not ended included."""
        rows = ffi.new("struct mb_tally_row[]", max(1, count))
        filled = lib.mb_tally_top(self._c, by.encode(), rows, count)
        return [self._group(rows[i]) for i in range(filled)]

    @property
    def evicted(self) -> int:
        return int(lib.mb_tally_evicted(self._c))

    def __len__(self) -> int:
        return int(lib.mb_tally_size(self._c))

    def _group(self, row: Any) -> Group:
        has_hosts = self.key in ("host", "pair", "flow")
        has_proto = self.key in ("protocol", "port", "flow")
        return Group(
            client=_address(row.addr[0]) if has_hosts else "",
            server=_address(row.addr[1]) if has_hosts and self.key != "host" else "",
            client_port=row.port[0],
            server_port=row.port[1],
            proto=protocol_name(row.ip_proto) if has_proto else "",
            app=application_name(row.app_proto) or "",
            flows=row.flows,
            packets_sent=row.packets[0],
            packets_received=row.packets[1],
            bytes_sent=row.bytes[0],
            bytes_received=row.bytes[1],
            first=row.first_ts / NS,
            last=row.last_ts / NS,
        )


def _address(a: Any) -> str:
    text = ffi.new("char[]", lib.MB_ADDR_TEXT)
    lib.mb_addr_text(ffi.addressof(a), text)
    return str(ffi.string(text).decode())
