# SPDX-License-Identifier: BSD-3-Clause
"""Rules at work: a loaded set applied to an engine, alerts to its outputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mosbox._core import ffi, lib
from mosbox.engine import Engine, error_buffer
from mosbox.rules.config import Settings
from mosbox.rules.loader import Loaded, detect_config

if TYPE_CHECKING:
    from mosbox.outputs import Outputs

MAX_ALERTS = 15  # of one packet, as Suricata has it
BODY_LIMIT = 100 << 10
RECORDS = {
    "drop": lib.MB_ALERT_DROPS,
    "http": lib.MB_ALERT_HTTP,
    "files": lib.MB_ALERT_FILES,
    "dns": lib.MB_ALERT_DNS,
    "tls": lib.MB_ALERT_TLS,
    "ssh": lib.MB_ALERT_SSH,
}


class Detection:
    """A set of rules, applied to one engine from its first packet to its end."""

    def __init__(self, loaded: Loaded, settings: Settings, *, inline: bool = False) -> None:
        self.loaded = loaded
        self.settings = settings
        self.inline = inline or settings.flag("stream.inline")
        self.c = ffi.NULL

    def attach(
        self, engine: Engine, outputs: Outputs, fast_log: str | None, files: Sequence[str]
    ) -> None:
        """Makes the rules listen, before the first packet; ``files`` is what will be read."""
        wanted = self.settings.alert_options()
        limit = "app-layer.protocols.http.libhtp.default-config.response-body-limit"
        config = detect_config(
            max_alerts=self.settings.number("packet-alert-max", MAX_ALERTS) or MAX_ALERTS,
            body_limit=self.settings.number(limit, BODY_LIMIT) or BODY_LIMIT,
            flow_bits=self.loaded.flow_bits,
            inline_mode=self.inline,
            payload=wanted.get("payload", False),
            payload_printable=wanted.get("payload-printable", False),
            packet=wanted.get("packet", False),
            verdict=wanted.get("verdict", False),
            ethernet=wanted.get("ethernet", False),
        )
        with error_buffer(lib.MB_EINVAL) as (err, made):
            self.c = made(lib.mb_detect_new(engine.c, self.loaded.rules.c, config, err))
        for name in files if wanted.get("pcap-file", False) else ():
            engine.check(lib.mb_detect_file(self.c, os.fsencode(name)))
        records = sum(bit for name, bit in RECORDS.items() if self.settings.wants_record(name))
        for output in outputs.of("eve"):
            engine.flow_log(lib.MB_FORMAT_EVE, output)
            engine.check(lib.mb_alert_log(self.c, lib.MB_ALERT_EVE, records, output.c))
        for output in outputs.of("json"):
            engine.check(lib.mb_alert_log(self.c, lib.MB_ALERT_EVE, 0, output.c))
        lines = outputs.of("table")
        if fast_log is not None:
            lines.append(outputs.append("fast", fast_log))
        for output in lines:
            engine.check(lib.mb_alert_log(self.c, lib.MB_ALERT_FAST, 0, output.c))

    def stats(self) -> dict[str, int]:
        """The counters of struct mb_detect_stats."""
        c = ffi.new("struct mb_detect_stats *")
        if self.c != ffi.NULL:
            lib.mb_detect_stats(self.c, c)
        return {name: int(getattr(c, name)) for name, _ in ffi.typeof(c[0]).fields}
