# SPDX-License-Identifier: BSD-3-Clause
"""mosbox: network middleboxes as small Python classes on a C stack that raises events.

import mosbox

for flow in mosbox.flows("x.pcap"):
    print(flow.client.ip, flow.server.port, flow.bytes)

finished = mosbox.run(PortWatch, read="x.pcap", limit=20)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosbox.app import App, Command, event, hook
    from mosbox.engine import MosboxError
    from mosbox.events import (
        Anomaly,
        Body,
        Data,
        Dns,
        DnsRecord,
        Endpoint,
        EndpointRecord,
        Flow,
        FlowRecord,
        Gap,
        Http,
        IcmpError,
        Packet,
        Retransmit,
        Ssh,
        StateChange,
        TlsCertificate,
        TlsHello,
    )
    from mosbox.options import argument, option
    from mosbox.runner import flows, run

# Where each public name lives: the command line imports little of it.
_HOMES = {
    "app": ("App", "Command", "event", "hook"),
    "engine": ("MosboxError",),
    "events": (
        "Anomaly",
        "Body",
        "Data",
        "Dns",
        "DnsRecord",
        "Endpoint",
        "EndpointRecord",
        "Flow",
        "FlowRecord",
        "Gap",
        "Http",
        "IcmpError",
        "Packet",
        "Retransmit",
        "Ssh",
        "StateChange",
        "TlsCertificate",
        "TlsHello",
    ),
    "options": ("argument", "option"),
    "runner": ("flows", "run"),
}
INTERFACE = frozenset(_HOMES)
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Anomaly",
    "App",
    "Body",
    "Command",
    "Data",
    "Dns",
    "DnsRecord",
    "Endpoint",
    "EndpointRecord",
    "Flow",
    "FlowRecord",
    "Gap",
    "Http",
    "IcmpError",
    "MosboxError",
    "Packet",
    "Retransmit",
    "Ssh",
    "StateChange",
    "TlsCertificate",
    "TlsHello",
    "__version__",
    "argument",
    "event",
    "flows",
    "hook",
    "option",
    "run",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        return import_module("mosbox.engine").version()
    if name not in _HOME:
        raise AttributeError(f"module 'mosbox' has no attribute {name!r}")
    value = getattr(import_module(f"mosbox.{_HOME[name]}"), name)
    globals()[name] = value
    return value
