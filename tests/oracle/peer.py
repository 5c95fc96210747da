# SPDX-License-Identifier: BSD-3-Clause
"""peer -- plays one end of each talk on the kernel's sockets, and tells what they got.

    peer.py client|server PLAN FOLDER

PLAN is JSON: {"seed": 1, "begin": TIME, "talks": [...]}. FOLDER gets a file NUMBER.SIDE for each
socket with the bytes it received. Prints "ready"; when all is over, or told to stop by a line on
its input, one JSON line: number of a talk -> what its socket saw. Stays until its input ends, so
that /proc shows its sockets.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import talks
from talks import End, Talk

PIECES = (1, 100, 1000, 1448, 5000, 65536)  # bytes of one send call
NO_CONNECTION: dict[int | None, str] = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EADDRINUSE: "busy",
    errno.EADDRNOTAVAIL: "busy",
}
TCP_USER_TIMEOUT, TCP_FASTOPEN, TCP_FASTOPEN_CONNECT = 18, 23, 30
NOT_SENT = 144  # where struct tcp_info of linux/tcp.h has tcpi_notsent_bytes


@dataclass
class Saw:
    """What a socket told its program."""

    connect: str = "ok"  # refused, reset, timeout, busy: the ports were not free
    eof: bool = False
    reset: bool = False
    gave_up: bool = False  # its time was over
    left: bool = False  # closed, or aborted, before it was told of an end
    aborted: bool = False
    fin_waited: bool = False  # behind what was not sent yet
    received: int = 0
    over: float = 0  # seconds after the beginning


class Side(threading.Thread):
    """One socket: a thread plays the steps, another one reads."""

    def __init__(self, sock: socket.socket, talk: Talk, side: str, seed: int, begin: float) -> None:
        super().__init__()
        self.sock = sock
        self.talk = talk
        self.end: End = talk.end(side)
        self.begin = begin
        self.deadline = begin + talk.start + talk.patience
        self.content = talk.content(seed, side)
        self.sent = 0
        self.saw = Saw()
        self.got = bytearray()
        self.news = threading.Condition()
        self.reading = True
        self.stop_reading, self._stop = socket.socketpair()
        self.reader = threading.Thread(target=self.read)

    # -- reading

    def read(self) -> None:
        if self.end.read_after and self.pause(self.end.read_after):
            return
        while self.readable():
            try:
                data = self.sock.recv(self.end.read_chunk)
            except OSError as error:
                self.note(error)
                break
            with self.news:
                self.got += data
                self.saw.eof = not data
                self.news.notify_all()
            if not data or (self.end.read_pause and self.pause(self.end.read_pause)):
                break
        with self.news:
            self.reading = False
            self.news.notify_all()

    def pause(self, seconds: float) -> bool:
        """Whether it was asked to stop meanwhile."""
        return bool(select.select([self.stop_reading], [], [], seconds)[0])

    def readable(self) -> bool:
        """Waits for something to read; false: asked to stop, or too late."""
        wait = max(self.deadline - time.time(), 0)
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        poll.register(self.stop_reading, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(wait * 1000)]
        self.saw.gave_up |= not ready
        return ready == [self.sock.fileno()]

    def note(self, error: OSError) -> None:
        if isinstance(error, ConnectionResetError | BrokenPipeError):
            self.saw.reset = True
        elif isinstance(error, ConnectionRefusedError):  # a fast open connects as it sends
            self.saw.connect = "refused"
        else:  # TCP_USER_TIMEOUT, keep-alives without an answer, SO_SNDTIMEO
            self.saw.gave_up = True

    # -- the steps

    def run(self) -> None:
        self.reader.start()
        try:
            steps = self.end.steps
            if not any(verb in ("close", "abort", "stay") for verb, _ in steps):
                steps = [*steps, ("eof", 0), ("close", 0)]
            for verb, number in steps:
                getattr(self, verb)(number)
        except OSError as error:
            self.note(error)
            self.close(0)

    def send(self, size: float) -> None:
        stop = self.sent + int(size)
        while self.sent < stop:
            piece = min(PIECES[(self.sent * 7 + self.talk.number) % len(PIECES)], stop - self.sent)
            self.limit_send()
            self.sent += self.sock.send(self.content[self.sent : self.sent + piece])

    def limit_send(self) -> None:
        """A send gives up at the end of the patience."""
        if self.deadline - time.time() <= 0:
            raise TimeoutError
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        if not poll.poll((self.deadline - time.time()) * 1000):
            raise TimeoutError

    def urgent(self, _: float) -> None:
        self.limit_send()
        self.sock.send(self.content[self.sent : self.sent + 1], socket.MSG_OOB)
        self.sent += 1

    def wait(self, size: float) -> None:
        with self.news:
            self.news.wait_for(
                lambda: len(self.got) >= size or not self.reading, self.deadline - time.time()
            )

    def eof(self, _: float) -> None:
        self.wait(float("inf"))

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def at(self, seconds: float) -> None:
        time.sleep(max(self.begin + seconds - time.time(), 0))

    def shutdown(self, _: float) -> None:
        waiting = self.not_sent()
        self.sock.shutdown(socket.SHUT_WR)
        self.saw.fin_waited = waiting > 0 or self.not_sent() > 0

    def not_sent(self) -> int:
        """Numbers that the kernel has not sent once."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, NOT_SENT + 4)
        return int.from_bytes(info[NOT_SENT:], sys.byteorder)

    def close(self, _: float) -> None:
        self._stop.send(b"x")
        self.reader.join()
        self.look_at_rest()
        self.saw.fin_waited |= self.not_sent() > 0
        self.saw.left = not (self.saw.eof or self.saw.reset)
        self.sock.close()

    def stay(self, _: float) -> None:
        """No more is read, but the socket lives as long as this program."""
        os.dup(self.sock.fileno())
        self.close(0)

    def abort(self, _: float) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.saw.aborted = True
        self.close(0)

    def look_at_rest(self) -> None:
        """What the kernel took and the program did not read was received as well."""
        try:
            self.got += self.sock.recv(1 << 24, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                self.note(error)


class Peer:
    """All talks of one end."""

    def __init__(self, side: str, plan: Path, folder: Path) -> None:
        fields = json.loads(plan.read_text())
        self.side = side
        self.folder = folder
        self.seed: int = fields["seed"]
        self.begin: float = fields["begin"]
        self.talks = [Talk.of(talk) for talk in fields["talks"]]
        self.saw: dict[int, Saw] = {}
        self.over = {talk.number: threading.Event() for talk in self.talks}

    def play(self, sock: socket.socket, talk: Talk) -> None:
        """One talk to its end."""
        if not talk.stays:
            patience = int(talk.patience * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, patience)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, talk.number % 2)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, talk.end(self.side).inline)
        if talk.keep_alive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
                sock.setsockopt(socket.IPPROTO_TCP, option, 1)
        played = Side(sock, talk, self.side, self.seed, self.begin)
        played.run()
        played.saw.received = len(played.got)
        played.saw.over = round(time.time() - self.begin, 3)
        (self.folder / f"{talk.number}.{self.side}").write_bytes(played.got)
        self.saw[talk.number] = played.saw

    # -- who connects

    def call(self, talk: Talk) -> None:
        """From its begin to its end; after the talk that has its ports before."""
        if talk.after is not None:
            self.over[talk.after].wait()
        time.sleep(max(self.begin + talk.start - time.time(), 0))
        try:
            with self.connected(talk) as sock:
                self.play(sock, talk)
        except OSError as error:
            self.saw[talk.number] = Saw(connect=NO_CONNECTION.get(error.errno, "timeout"))
        self.over[talk.number].set()

    def connected(self, talk: Talk) -> socket.socket:
        family = socket.AF_INET6 if talk.ipv6 else socket.AF_INET
        hosts = (talks.CLIENT6, talks.SERVER6) if talk.ipv6 else (talks.CLIENT4, talks.SERVER4)
        me, other = zip(hosts, (talk.client_port, talk.port), strict=True)
        if self.side == "server":
            me, other = other, me
        deadline = time.time() + talk.patience / 4
        while True:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if receive_buffer := talk.end(self.side).receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if talk.port == talks.FAST_OPEN:
                sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
            try:
                sock.bind(me)
                sock.settimeout(talk.patience)
                sock.connect(other)
                sock.settimeout(None)
                return sock
            except OSError as error:
                sock.close()
                if NO_CONNECTION.get(error.errno) != "busy" or time.time() > deadline:
                    raise
            time.sleep(0.05)

    def callers(self) -> list[threading.Thread]:
        calls = [t for t in self.talks if t.crossing or self.side == "client"]
        threads = [threading.Thread(target=self.call, args=[talk]) for talk in calls]
        for thread in threads:
            thread.start()
        return threads

    def run_client(self) -> None:
        callers = self.callers()
        print("ready", flush=True)
        for caller in callers:
            caller.join()

    # -- the server

    def run_server(self) -> None:
        expected: dict[int, list[Talk]] = defaultdict(list)
        for talk in self.talks:
            expected[talk.client_port].append(talk)
        listening: list[socket.socket] = []
        for family, me in ((socket.AF_INET, talks.SERVER4), (socket.AF_INET6, talks.SERVER6)):
            for port in talks.LISTENING:
                sock = socket.socket(family, socket.SOCK_STREAM)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if port == talks.SMALL_BUFFER:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 3000)
                if port == talks.FAST_OPEN:
                    sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 100)
                sock.bind((me, port))
                sock.listen(1000)
                listening.append(sock)
        players = self.callers()
        print("ready", flush=True)
        while True:
            ready = select.select([sys.stdin, *listening], [], [])[0]
            if sys.stdin in ready:
                break
            for listener in listening:
                if listener not in ready:
                    continue
                sock, address = listener.accept()
                talk = expected[address[1]].pop(0)
                player = threading.Thread(target=self.play, args=[sock, talk])
                player.start()
                players.append(player)
        sys.stdin.readline()
        for player in players:
            player.join()
        for sock in listening:
            sock.close()


def main() -> None:
    side, plan, folder = sys.argv[1:]
    peer = Peer(side, Path(plan), Path(folder))
    peer.run_client() if side == "client" else peer.run_server()
    print(json.dumps({number: asdict(saw) for number, saw in peer.saw.items()}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
