# SPDX-License-Identifier: BSD-3-Clause
"""message -- what rules may ask of one HTTP request, TLS hello or DNS message.

A message is the values of each fact; a fact it does not have has none.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote

from mosbox.events import Dns, Http, TlsHello

__all__ = ["dns_message", "hello_message", "normal_path", "request_message"]

Message = dict[str, list[str]]


def request_message(http: Http, headers: Collection[str]) -> Message:
    """The facts of a request; of its headers only those in `headers` (lower case)."""
    message = {
        "method": [http.method],
        "host": [http.host] if http.host else [],
        "path": [normal_path(http.path)],
        "target": [http.target],
    }
    if headers:
        for name, value in http.headers:
            if name.lower() in headers:
                message.setdefault(f"header:{name.lower()}", []).append(value)
    return message


def hello_message(hello: TlsHello) -> Message:
    """The facts of a ClientHello."""
    return {"sni": [hello.sni] if hello.sni else [], "alpn": hello.alpn}


def dns_message(dns: Dns) -> Message:
    """The names asked for; of a message without a question (mDNS), those it tells of."""
    records = dns.records
    asked = [record.name for record in records if record.section == "question"]
    return {"dns": asked or [record.name for record in records]}


def normal_path(path: str) -> str:
    """The path a server looks up: no query, %-escapes undone, no `//`, `.` or `..` left."""
    path = path.partition("#")[0].partition("?")[0]
    if not path.startswith("/"):
        return path
    parts = unquote(path, errors="backslashreplace").split("/")[1:]
    kept: list[str] = []
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    closing = "/" if kept and parts[-1] in ("", ".", "..") else ""
    return "/" + "/".join(kept) + closing
