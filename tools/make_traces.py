# SPDX-License-Identifier: BSD-3-Clause
"""Captures for the benchmarks: many short connections, and large transfers.

    make_traces.py [--synthetic] [--seconds N] DIR

Writes DIR/http_small.pcap (objects of 64 bytes, a connection each) and
DIR/http_big.pcap (objects of 64 KiB, a connection each). As root, with nginx,
wrk, tcpdump, ethtool and iproute2 at hand, they are taken from a real server
and real clients in two network namespaces, and nothing leaves those.
Otherwise, or with --synthetic, sessions as Linux hosts have them are written
down: handshake with options, timestamps, delayed ACKs, both sides close.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

SMALL = b"x" * 63 + b"\n"
BIG_LEN = 65536
NEEDED = ("nginx", "wrk", "tcpdump", "ethtool", "ip")

# ---- real ones, from two network namespaces ---------------------------------------

SERVER, CLIENT = "mosbox-bench-server", "mosbox-bench-client"
SERVERS = 16  # addresses

NGINX = """\
worker_processes 1;
error_log {dir}/error.log;
pid {dir}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {dir};
    proxy_temp_path {dir};
    fastcgi_temp_path {dir};
    uwsgi_temp_path {dir};
    scgi_temp_path {dir};
    server {{ listen 80 backlog=4096; root {dir}/www; }}
}}
"""


def run(*command: str, check: bool = True) -> None:
    subprocess.run(command, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def inside(namespace: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, *command]


def make_namespaces() -> None:
    """Two namespaces joined by a veth pair that sends what a wire would: no
    segments of 64 KiB, and checksums filled in."""
    for name in (SERVER, CLIENT):
        run("ip", "netns", "add", name)
    run(
        "ip",
        "link",
        "add",
        "bench0",
        "netns",
        SERVER,
        "type",
        "veth",
        "peer",
        "name",
        "bench1",
        "netns",
        CLIENT,
    )
    for name, device in ((SERVER, "bench0"), (CLIENT, "bench1")):
        run("ip", "-n", name, "link", "set", device, "up")
        features = "tso off gso off gro off tx off rx off sg off".split()
        run(*inside(name, "ethtool", "-K", device, *features), check=False)
        run(*inside(name, "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535"))
        run(*inside(name, "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1"))
    for i in range(SERVERS):
        run("ip", "-n", SERVER, "addr", "add", f"198.18.0.{i + 1}/24", "dev", "bench0")
    run("ip", "-n", CLIENT, "addr", "add", "198.18.0.100/24", "dev", "bench1")


def capture(path: Path, page: str, seconds: int) -> None:
    """Runs clients against the server's addresses and writes what they say."""
    sniffer = subprocess.Popen(
        inside(
            CLIENT,
            "tcpdump",
            "-i",
            "bench1",
            "-s",
            "0",
            "-B",
            "262144",
            "-w",
            str(path),
            "tcp port 80",
        ),
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    clients = [
        subprocess.Popen(
            inside(
                CLIENT,
                *("wrk", "-t1", "-c4", f"-d{seconds}", "-H", "Connection: close"),
                f"http://198.18.0.{i + 1}/{page}",
            ),
            stdout=subprocess.DEVNULL,
        )
        for i in range(SERVERS)
    ]
    for client in clients:
        client.wait()
    time.sleep(1)
    sniffer.send_signal(signal.SIGINT)
    sniffer.wait()


def make_real(folder: Path, seconds: int) -> None:
    scratch = folder / "server"
    (scratch / "www").mkdir(parents=True, exist_ok=True)
    (scratch / "www" / "small").write_bytes(SMALL)
    (scratch / "www" / "big").write_bytes(random.Random(1).randbytes(BIG_LEN))
    for path in (folder, scratch, scratch / "www"):
        path.chmod(0o755)
    config = scratch / "nginx.conf"
    config.write_text(NGINX.format(dir=scratch))
    try:
        make_namespaces()
        run(*inside(SERVER, "nginx", "-c", str(config)))
        time.sleep(1)
        capture(folder / "http_small.pcap", "small", seconds)
        run(
            *inside(SERVER, "tc", "qdisc", "add", "dev", "bench0", "root", "tbf", *TBF), check=False
        )
        capture(folder / "http_big.pcap", "big", seconds)
    finally:
        pid = scratch / "nginx.pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGTERM)
        for name in (SERVER, CLIENT):
            run("ip", "netns", "del", name, check=False)
        shutil.rmtree(scratch, ignore_errors=True)


TBF = (
    "rate",
    "400mbit",
    "burst",
    "256kb",
    "latency",
    "200ms",
)  # a few hundred MB of transfers, not more

# ---- written down -------------------------------------------------------------------

FIN, SYN, PSH, ACK = 1, 2, 8, 16
MSS = 1448
CONCURRENT = 64
REQUEST = b"GET /%s HTTP/1.1\r\nHost: bench.test\r\nConnection: close\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"

Segment = tuple[int, int, bytes]  # side, flags, payload


def session(name: bytes, body: bytes) -> Iterator[Segment]:
    """The segments of one request in a connection of its own."""
    yield 0, SYN, b""
    yield 1, SYN | ACK, b""
    yield 0, ACK, b""
    yield 0, PSH | ACK, REQUEST % name
    yield 1, ACK, b""
    answer = RESPONSE % len(body) + body
    for n, at in enumerate(range(0, len(answer), MSS)):
        yield 1, ACK | (PSH if at + MSS >= len(answer) else 0), answer[at : at + MSS]
        if n % 2 == 1:
            yield 0, ACK, b""
    yield 1, FIN | ACK, b""
    yield 0, FIN | ACK, b""
    yield 1, ACK, b""


def checksum(data: bytes) -> int:
    """RFC 1071: the sum of 16-bit words is the number itself modulo 65,535."""
    return 0xFFFF - int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 0xFFFF


class Connection:
    """Turns the segments of a session into frames."""

    def __init__(self, number: int, name: bytes, body: bytes, rng: random.Random) -> None:
        self.segments = session(name, body)
        self.addr = (
            bytes((198, 18, 1 + number // 60000 % 200, 100)),
            bytes((198, 18, 0, 1 + number % SERVERS)),
        )
        self.port = (1024 + number % 60000, 80)
        self.seq = [rng.getrandbits(32), rng.getrandbits(32)]

    def frame(self, now_us: int) -> bytes | None:
        """The next frame; None when the session is over."""
        segment = next(self.segments, None)
        if segment is None:
            return None
        side, flags, payload = segment
        tick = now_us // 1000 & 0xFFFFFFFF
        if flags & SYN:
            options = struct.pack("!HHHHIIBBBB", 0x0204, 1460, 0x0402, 0x080A, tick, 0, 1, 3, 3, 7)
        else:
            options = struct.pack("!III", 0x0101080A, tick, tick)
        ack = self.seq[1 - side] if flags & ACK else 0
        offset = (20 + len(options)) << 10  # words, in the upper four bits
        tcp = struct.pack(
            "!HHIIHHHH",
            self.port[side],
            self.port[1 - side],
            self.seq[side],
            ack,
            offset | flags,
            502,
            0,
            0,
        )
        addresses = self.addr[side] + self.addr[1 - side]
        length = 20 + len(options) + len(payload)
        pseudo = addresses + struct.pack("!HH", 6, length)
        sum16 = struct.pack("!H", checksum(pseudo + tcp + options + payload))
        ip = struct.pack("!HHHHBBH", 0x4500, 20 + length, 0, 0x4000, 64, 6, 0)
        ip = ip[:10] + struct.pack("!H", checksum(ip + addresses)) + addresses
        self.seq[side] = self.seq[side] + len(payload) + bool(flags & (SYN | FIN)) & 0xFFFFFFFF
        return ETHERNET[side] + ip + tcp[:16] + sum16 + tcp[18:] + options + payload


ETHERNET = (
    bytes.fromhex("0200000000020200000000010800"),
    bytes.fromhex("0200000000010200000000020800"),
)


def write_sessions(path: Path, name: bytes, body: bytes, connections: int, gap_us: int) -> None:
    """So many sessions, some at a time in random turns; the same bytes each time."""
    rng = random.Random(7)
    now = 1_700_000_000_000_000
    started = min(CONCURRENT, connections)
    active = [Connection(n, name, body, rng) for n in range(started)]
    with path.open("wb") as out:
        out.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        while active:
            at = int(rng.random() * len(active))
            frame = active[at].frame(now)
            if frame is not None:
                seconds, micros = divmod(now, 1_000_000)
                out.write(struct.pack("=IIII", seconds, micros, len(frame), len(frame)) + frame)
                now += gap_us
            elif started < connections:
                active[at] = Connection(started, name, body, rng)
                started += 1
            else:
                active[at] = active[-1]
                active.pop()


def make_synthetic(folder: Path) -> None:
    write_sessions(folder / "http_small.pcap", b"small", SMALL, 150_000, 5)
    body = random.Random(1).randbytes(BIG_LEN)
    write_sessions(folder / "http_big.pcap", b"big", body, 6_000, 25)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--synthetic",
        action="store_true",
        help="write sessions down even where real ones could be had",
    )
    parser.add_argument(
        "--seconds", type=int, default=10, help="how long real clients run for each (default 10)"
    )
    parser.add_argument("dir", type=Path)
    args = parser.parse_args()
    folder = args.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if not args.synthetic and os.geteuid() == 0 and not missing:
        make_real(folder, args.seconds)
        return
    why = (
        "asked for"
        if args.synthetic
        else f"missing: {' '.join(missing)}"
        if missing
        else "not root"
    )
    print(f"make_traces: sessions are written down ({why})", file=sys.stderr)
    make_synthetic(folder)


if __name__ == "__main__":
    main()
