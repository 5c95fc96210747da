# SPDX-License-Identifier: BSD-3-Clause
"""Makes tests/data/demo.pcap: a small office on a bad day, invented.

    python tests/make_demo.py [FILE]

Every conversation in it is there for one of the starter rules, or for none: a
rule that alerts on ordinary traffic would show.
"""

from __future__ import annotations

import base64
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from wire import FIN, PSH, SYN, URG, Talk, ethernet, ip, merge, tcp, udp, write_pcap

DEMO = Path(__file__).resolve().parent / "data" / "demo.pcap"

CLIENT, OTHER, SERVER, RESOLVER = "192.168.1.20", "192.168.1.31", "198.51.100.80", "192.168.1.1"
ATTACKER, BOX = "203.0.113.66", "192.168.1.80"
BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64)"
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def request(method: str, target: str, host: str, *fields: str, body: bytes = b"") -> bytes:
    """An HTTP request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def response(body: bytes, kind: str = "text/html") -> bytes:
    """An HTTP response."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def question(name: str, ident: int = 7, rrtype: int = 1) -> bytes:
    """A DNS query (RFC 1035)."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    head = struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0)
    return head + labels + b"\0" + struct.pack("!HH", rrtype, 1)


def dns(name: str, sport: int) -> bytes:
    """A DNS query on its way to the resolver."""
    return ethernet(ip(CLIENT, RESOLVER, 17, udp(CLIENT, RESOLVER, sport, 53, question(name))))


def probe(flags: int, sport: int) -> bytes:
    """One segment of a scanner."""
    return ethernet(ip(ATTACKER, BOX, 6, tcp(ATTACKER, BOX, sport, 22, flags, 99)))


def conversation(talk: Talk, parts: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """A connection in which the sides speak in turn."""
    says = {"client": talk.client, "server": talk.server}
    return [*talk.handshake(), *(says[side](text) for side, text in parts), *talk.close()]


def browsing() -> list[bytes]:
    """Somebody reads the news: no rule says anything."""
    pages = [
        ("client", request("GET", "/", "news.example", BROWSER)),
        ("server", response(b"<html><title>News</title>" + b"<p>Nothing happened.</p>" * 60)),
        ("client", request("GET", "/style.css", "news.example", BROWSER)),
        ("server", response(b"p { color: black }", "text/css")),
    ]
    return conversation(Talk(CLIENT, SERVER, 40001), pages)


def login() -> list[bytes]:
    """A password goes over the network in clear, twice."""
    secret = base64.b64encode(b"alice:open sesame").decode()
    basic = request("GET", "/mail", "mail.example", BROWSER, f"Authorization: Basic {secret}")
    ftp = [
        ("server", b"220 files.example\r\n"),
        ("client", b"USER alice\r\n"),
        ("server", b"331 password, please\r\n"),
        ("client", b"PASS open sesame\r\n"),
        ("server", b"230 welcome\r\n"),
    ]
    web = [("client", basic), ("server", response(b"<html>inbox</html>"))]
    return [
        *conversation(Talk(CLIENT, SERVER, 40002), web),
        *conversation(Talk(OTHER, SERVER, 40003, 21), ftp),
    ]


def attack() -> list[bytes]:
    """A web server is probed, then attacked; segments come cut and swapped."""
    agent = "User-Agent: sqlmap/1.8"
    talk = Talk(ATTACKER, BOX, 50001)
    sql = "1%20UNION%20SELECT%20card%20FROM%20orders"
    first = request("GET", f"/shop?id={sql}", "shop.example", agent)
    opening = [*talk.handshake(), talk.client(first[:40]), talk.client(first[40:])]
    opening += [talk.server(response(b"<html>no such thing</html>")), *talk.close()]
    second = Talk(ATTACKER, BOX, 50002)
    text = request("GET", "/cgi-bin/view?file=%2fetc%2fpasswd", "shop.example", BROWSER)
    start = second.handshake()
    half, rest = second.client(text[:30]), second.client(text[30:])
    answer = second.server(response(b"uid=0(root) gid=0(root) groups=0(root)\n", "text/plain"))
    return [*opening, *start, rest, half, answer, *second.close()]


def download() -> list[bytes]:
    """The virus scanners' test file is fetched, in chunks."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = (EICAR[:20], EICAR[20:50], EICAR[50:])
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    parts = [
        ("client", request("GET", "/eicar.com", "files.example", "User-Agent: Wget/1.21")),
        ("server", head + body[:40]),
        ("server", body[40:] + b"0\r\n\r\n"),
    ]
    return conversation(Talk(OTHER, SERVER, 40010), parts)


def names() -> list[bytes]:
    """Names are asked for; the last two are no names."""
    tunnel = "mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpiytembugm2tmnzy.t.example"
    asked = ["news.example", "mail.example", tunnel, "abcdefgh.onion"]
    return [dns(name, 5001 + number) for number, name in enumerate(asked)]


def demo() -> list[bytes]:
    """All of it, in order."""
    probes = [probe(0, 60001), probe(FIN | PSH | URG, 60002), probe(SYN | FIN, 60003)]
    return [
        *names()[:2],
        *merge(browsing(), login()),
        *probes,
        *attack(),
        *names()[2:],
        *merge(download(), browsing()),
    ]


if __name__ == "__main__":
    write_pcap(Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO, demo(), step=0.02)
