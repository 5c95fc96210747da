# SPDX-License-Identifier: BSD-3-Clause
"""Live capture: real programs talk in two network namespaces, mosbox listens between them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

SERVER, CLIENT = "198.18.77.1", "198.18.77.2"
SERVE = f"""
import socket
s = socket.create_server(("{SERVER}", 8000))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(c.recv(100).upper())
    c.close()
"""
TALK = f"""
import socket
for n in range(20):
    s = socket.create_connection(("{SERVER}", 8000), 5)
    s.sendall(b"hello %d" % n)
    while s.recv(100):
        pass
    s.close()
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None,
    reason="network namespaces need root and iproute2",
)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def inside(namespace: str, *command: str) -> list[str]:
    return ["ip", "netns", "exec", namespace, *command]


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a veth pair, and a server running in the first."""
    server, client = (f"mosbox-{os.getpid()}-{name}" for name in ("server", "client"))
    try:
        ip("netns", "add", server)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    try:
        ip("netns", "add", client)
        ip("link", "add", "vs", "netns", server, "type", "veth", "peer", "vc", "netns", client)
        for name, link, address in ((server, "vs", SERVER), (client, "vc", CLIENT)):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
        with subprocess.Popen(
            inside(server, sys.executable, "-c", SERVE), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield server, client
            process.kill()
    finally:
        for name in (server, client):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def mosbox(namespace: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        inside(namespace, sys.executable, "-m", "mosbox", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_flows_of_a_live_interface(namespaces: tuple[str, str]) -> None:
    server, client = namespaces
    with mosbox(server, "stats", "-i", "vs", "-o", "json", "tcp", "port", "8000") as listener:
        time.sleep(1.5)  # a start-up takes a fraction of it; nothing tells when it is over
        talk = inside(client, sys.executable, "-c", TALK)
        subprocess.run(talk, check=True, timeout=60)
        time.sleep(0.3)
        listener.send_signal(signal.SIGINT)
        out, err = listener.communicate(timeout=20)
    assert listener.returncode == 0, err
    flows = [json.loads(line) for line in out.splitlines()]
    assert len(flows) == 20, err
    assert {(f["src_ip"], f["dest_ip"], f["dest_port"]) for f in flows} == {(CLIENT, SERVER, 8000)}
    assert {f["end_reason"] for f in flows} == {"fin"}
    assert all(f["client"]["rtt"] < 1 for f in flows)


def test_no_such_interface() -> None:
    command = [sys.executable, "-m", "mosbox", "stats", "-i", "nosuch0"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert run.returncode == 1
    assert "nosuch0" in run.stderr and "Traceback" not in run.stderr
    assert len(run.stderr.splitlines()) == 1
