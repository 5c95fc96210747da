# SPDX-License-Identifier: BSD-3-Clause
"""network -- two hosts and a box between them, in network namespaces of their own.

mosbox-N-client [veth] --- [left] mosbox-N-box [right] --- [veth] mosbox-N-server
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import talks
from box import Weather
from talks import Talk

HERE = Path(__file__).parent
# As /proc/net/tcp numbers them, in mosbox's words.
STATES = dict(
    enumerate(
        (
            "ESTABLISHED SYN_SENT SYN_RCVD FIN_WAIT_1 FIN_WAIT_2 TIME_WAIT CLOSED CLOSE_WAIT "
            "LAST_ACK LISTEN CLOSING SYN_RCVD"
        ).split(),
        1,
    )
)
OVER = {"CLOSED", "TIME_WAIT"}
AT_REST = {*OVER, "ESTABLISHED", "FIN_WAIT_2", "CLOSE_WAIT"}  # nothing more is to be said
DRAIN, DRAIN_DEAD = 15.0, 1.0  # seconds for the last FINs to be acknowledged
# The programs are no part of what a sanitizer looks at, and import what lies beside them.
OWN = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "PYTHONSAFEPATH")}
_numbers = count()


@dataclass
class Climate:
    """A kind of network, and of hosts on it."""

    name: str
    weather: Weather = field(default_factory=Weather)
    sysctl: dict[str, int | str] = field(default_factory=dict)  # under net.ipv4
    mtu: int = 1500
    offload: bool = False  # cards cut large segments and fill checksums in


@dataclass
class Outcome:
    """What happened: a capture, and what each socket saw."""

    capture: Path
    saw: dict[str, dict[int, dict[str, Any]]]  # side -> number of the talk -> peer.Saw
    states: dict[str, dict[int, str]]  # side -> client port -> state of its socket at the end
    counts: dict[str, int]  # of the box
    fates: dict[int, Counter[str]]  # the same of each client port
    folder: Path

    def state(self, side: str, port: int) -> str:
        return self.states[side].get(port, "CLOSED")

    def unfinished(self, port: int) -> bool:
        return any(self.state(side, port) not in OVER for side in self.states)

    def received(self, side: str, number: int) -> bytes:
        path = self.folder / f"{number}.{side}"
        return path.read_bytes() if path.exists() else b""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def inside(namespace: str, *command: object) -> list[str]:
    return ["ip", "netns", "exec", namespace, *map(str, command)]


def why_not() -> str | None:
    """Why no networks can be made here; None: they can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and iproute2"
    name = f"mosbox-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"no network namespaces here: {tried.stderr.strip()}"
    pair = ["link", "add", "left", "type", "veth", "peer", "name", "right"]
    tried = subprocess.run(["ip", "-n", name, *pair], capture_output=True, text=True)
    ip("netns", "del", name)
    return f"no veth here: {tried.stderr.strip()}" if tried.returncode else None


def configure(namespace: str, sysctl: dict[str, int | str]) -> None:
    """Writes settings of the kernel that it has."""
    script = "; ".join(
        f"f=/proc/sys/net/ipv4/{name}; test ! -e $f || echo '{value}' >$f"
        for name, value in sysctl.items()
    )
    subprocess.run(inside(namespace, "sh", "-c", script), check=True, capture_output=True)


def set_offload(namespace: str, interface: str, on: bool) -> None:
    if shutil.which("ethtool") is None:
        return
    word = "on" if on else "off"
    features = [w for f in ("tx", "tso", "gso", "gro") for w in (f, word)]
    subprocess.run(
        inside(namespace, "ethtool", "-K", interface, *features), check=True, capture_output=True
    )


@contextmanager
def namespaces(climate: Climate) -> Iterator[dict[str, str]]:
    """The three of them, joined and set up."""
    number = next(_numbers)
    names = {who: f"mosbox-{os.getpid()}-{number}-{who}" for who in ("client", "box", "server")}
    addresses = {
        "client": (talks.CLIENT4, talks.CLIENT6),
        "server": (talks.SERVER4, talks.SERVER6),
    }
    try:
        for name in names.values():
            ip("netns", "add", name)
        for who, port in (("client", "left"), ("server", "right")):
            host, box = names[who], names["box"]
            ip(*f"link add veth netns {host} type veth peer name {port} netns {box}".split())
            four, six = addresses[who]
            ip("-n", host, "addr", "add", f"{four}/24", "dev", "veth")
            ip("-n", host, "addr", "add", f"{six}/64", "dev", "veth", "nodad")
            for name, interface in ((host, "veth"), (box, port)):
                set_offload(name, interface, climate.offload)
                ip("-n", name, "link", "set", interface, "mtu", str(climate.mtu), "up")
            configure(
                host,
                {
                    "tcp_rto_min_us": 20000,  # repairs come sooner
                    "tcp_fastopen": 0x607,  # both ends, cookies not needed
                    "tcp_fastopen_blackhole_timeout_sec": 0,
                    **climate.sysctl,
                },
            )
        yield names
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def sockets(pid: int, side: str) -> dict[int, str]:
    """Client port -> state of the sockets beside a process."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, state = line.split()[:4]
            port = local if side == "client" else remote
            found[int(port.split(":")[1], 16)] = STATES[int(state, 16)]
    return found


class Program:
    """One of the three, talking over its pipes."""

    def __init__(self, namespace: str, script: str, *words: str | Path) -> None:
        self.process = subprocess.Popen(
            inside(namespace, sys.executable, HERE / script, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=OWN,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.process.args!r} died with {self.process.wait()}"
        return line.strip()

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def saw(self) -> dict[int, dict[str, Any]]:
        return {int(number): saw for number, saw in json.loads(self.line()).items()}

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def hold(climate: Climate, talks_: list[Talk], seed: int, folder: Path) -> Outcome:
    """Has all talks held on a network of the climate, all at once."""
    capture = folder / "capture.pcap"
    dead = {talk.client_port: talk.dead_after for talk in talks_ if talk.dead_after}
    weather = replace(climate.weather, seed=seed, dead_after={str(p): n for p, n in dead.items()})
    with ExitStack() as stack:
        names = stack.enter_context(namespaces(climate))

        def start(who: str, script: str, *words: str | Path) -> Program:
            program = Program(names[who], script, *words)
            stack.callback(program.close)
            return program

        box = start("box", "box.py", "left", "right", capture, json.dumps(asdict(weather)))
        assert box.line() == "ready"
        plan = {"seed": seed, "begin": time.time() + 1, "talks": [asdict(t) for t in talks_]}
        (folder / "plan.json").write_text(json.dumps(plan))
        peers = {}
        for side in ("server", "client"):  # it listens before anybody calls, however slow it is
            peers[side] = start(side, "peer.py", side, folder / "plan.json", folder)
            assert peers[side].line() == "ready"
        saw = {"client": peers["client"].saw()}
        peers["server"].tell("finish")
        saw["server"] = peers["server"].saw()
        drain(peers, set(dead), {talk.client_port for talk in talks_ if talk.stays})
        time.sleep(0.1 + climate.weather.delay + climate.weather.jitter + climate.weather.lateness)
        box.process.terminate()
        told = json.loads(box.line())
        # Now nothing comes to them any more: they have had just what the capture holds.
        states = states_now(peers)
    fates = {int(port): Counter(fates) for port, fates in told["fates"].items()}
    return Outcome(capture, saw, states, told["counts"], fates, folder)


def states_now(peers: dict[str, Program]) -> dict[str, dict[int, str]]:
    # `ip netns exec` becomes the program it runs: the process is in the namespace.
    return {side: sockets(peer.process.pid, side) for side, peer in peers.items()}


def drain(peers: dict[str, Program], dead: set[int], stay: set[int]) -> None:
    """Waits until no socket is left that will still say something. Not so long where the network
    is dead."""
    begin = time.monotonic()
    while True:
        open_ = {
            port
            for found in states_now(peers).values()
            for port, state in found.items()
            if port >= talks.FIRST_PORT and state not in (AT_REST if port in stay else OVER)
        }
        waited = time.monotonic() - begin
        if not open_ or waited > DRAIN or (waited > DRAIN_DEAD and open_ <= dead):
            return
        time.sleep(0.1)
