# SPDX-License-Identifier: BSD-3-Clause
"""talks -- what the oracle's programs say to each other, chosen by a seed.

A talk is one connection with a script for each end. A script is a list of steps:

    send N      N more bytes of what this end has to say
    urgent 1    the next byte, as urgent data
    wait N      until N bytes in all have come
    eof 0       until the other end is done
    sleep S, at S   for S seconds; until S seconds after the beginning of all
    shutdown 0  no more from here: FIN
    close 0, abort 0    the socket is given back; with a reset (SO_LINGER 0)
    stay 0      no more is read or said, and the socket stays until all is over

A script without one of the last three ends with `eof`, `close`.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

Step = tuple[str, float]

CLIENT4, SERVER4 = "198.18.77.1", "198.18.77.2"
CLIENT6, SERVER6 = "fd00:77::1", "fd00:77::2"
PLAIN, SMALL_BUFFER, FAST_OPEN, CLOSED = 8000, 8001, 8002, 8009  # ports of the server
LISTENING = (PLAIN, SMALL_BUFFER, FAST_OPEN)
CROSSING = 10000  # and on: ports of servers that connect themselves
FIRST_PORT = 20000  # of the clients
PATIENCE = 20.0  # seconds after which an end gives up, far more than any talk needs
SHORT_PATIENCE = 2.0  # the same where the network goes dead


@dataclass
class End:
    """One end: what it does, and how it reads meanwhile."""

    steps: list[Step]
    receive_buffer: int = 0  # SO_RCVBUF; 0: the system's
    read_after: float = 0  # seconds before it reads at all
    read_chunk: int = 65536
    read_pause: float = 0  # seconds between two reads
    inline: bool = True  # SO_OOBINLINE

    @property
    def size(self) -> int:
        """Bytes it sends if nobody stops it."""
        return int(sum(number for verb, number in self.steps if verb in ("send", "urgent")))

    @property
    def urgent(self) -> int | None:
        """Where in them the urgent byte is."""
        sent = 0
        for verb, number in self.steps:
            if verb == "urgent":
                return sent
            sent += int(number) if verb == "send" else 0
        return None


@dataclass
class Talk:
    """One connection."""

    kind: str
    client: End
    server: End
    number: int = 0
    port: int = PLAIN
    client_port: int = 0
    ipv6: bool = False
    start: float = 0  # seconds after the beginning of all
    patience: float = PATIENCE
    dead_after: int | None = None  # packets of it that pass before the network goes dead
    keep_alive: bool = False
    after: int | None = None  # the talk that used the same ports before
    crossing: bool = False  # both ends connect, at the same time

    def end(self, side: str) -> End:
        return self.client if side == "client" else self.server

    @property
    def stays(self) -> bool:
        """Whether there are sockets that nobody closes."""
        return any(verb == "stay" for end in (self.client, self.server) for verb, _ in end.steps)

    @property
    def polite(self) -> bool:
        """Whether each end hears the other out, and all is one stream on ports of its own."""
        steps = [*self.client.steps, *self.server.steps]
        rude = any(verb in ("abort", "close", "urgent") for verb, _ in steps)
        return not rude and not self.dead_after and self.after is None

    def content(self, seed: int, side: str) -> bytes:
        """What an end has to say."""
        return Random(f"{seed} {self.number} {side}").randbytes(self.end(side).size)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Talk:
        """Out of JSON."""
        ends = {side: End(**fields[side]) for side in ("client", "server")}
        return cls(**{**fields, **ends})


@dataclass
class Kinds:
    """The kinds of talks. Each method makes one of its kind."""

    random: Random
    limit: int = 300_000  # bytes

    def size(self) -> int:
        """From none to the limit, all magnitudes about as often."""
        return int(self.limit ** max(self.random.random(), self.random.random())) - 1

    def maybe(self, *steps: Step) -> list[Step]:
        return list(steps) if self.random.random() < 0.5 else []

    def swap(self, talk: Talk) -> Talk:
        """Half of the talks go the other way round."""
        if self.random.random() < 0.5:
            talk.client, talk.server = talk.server, talk.client
        return talk

    def upload(self) -> Talk:
        return self.swap(Talk("one way", End([("send", self.size()), ("shutdown", 0)]), End([])))

    def request(self) -> Talk:
        ask, answer = self.size() // 50 + 1, self.size()
        client = End([("send", ask), ("wait", answer), *self.maybe(("shutdown", 0))])
        server = End([("wait", ask), ("send", answer), *self.maybe(("shutdown", 0))])
        if len(client.steps) == len(server.steps) == 2:
            client.steps.append(("shutdown", 0))
        return Talk("request and response", client, server)

    def rounds(self) -> Talk:
        client, server = End([]), End([])
        asked = answered = 0
        for _ in range(self.random.randint(2, 8)):
            ask, answer = self.random.randint(1, 3000), self.random.randint(1, 20000)
            asked, answered = asked + ask, answered + answer
            client.steps += [("send", ask), ("wait", answered)]
            server.steps += [("wait", asked), ("send", answer)]
        self.random.choice([client, server]).steps.append(("shutdown", 0))
        return Talk("rounds", client, server)

    def both(self) -> Talk:
        first, second = (End([("send", self.size()), ("shutdown", 0)]) for _ in range(2))
        return Talk("both at once", first, second)

    def half_close(self) -> Talk:
        first = End([("send", self.size() // 10), ("shutdown", 0)])
        second = End([("eof", 0), ("send", self.size())])
        return self.swap(Talk("half-close", first, second))

    def empty(self) -> Talk:
        return self.swap(Talk("nothing said", End([("shutdown", 0)]), End([])))

    def both_close(self) -> Talk:
        """Both FINs are sent at the same time."""
        end: list[Step] = [("at", 1 + self.random.random()), ("shutdown", 0)]
        first, second = (End([("send", self.size() // 10), *end]) for _ in range(2))
        return Talk("simultaneous close", first, second)

    def reset(self) -> Talk:
        pause = self.maybe(("sleep", self.random.random() / 5))
        aborts = End([("send", self.size()), *pause, ("abort", 0)])
        other = End(self.maybe(("send", self.size())))
        return self.swap(Talk("reset by the sender", aborts, other, keep_alive=True))

    def reset_reader(self) -> Talk:
        size = self.size() + 1000
        aborts = End([("wait", self.random.randint(1, size)), ("abort", 0)])
        other = End([("send", size)])
        return self.swap(Talk("reset by the reader", aborts, other, keep_alive=True))

    def leave(self) -> Talk:
        """Closed while there is something to read: the kernel resets."""
        leaves = End([("sleep", self.random.random() / 5), ("close", 0)], read_after=PATIENCE)
        other = End([("send", self.size())])
        return self.swap(Talk("closed unread", leaves, other, keep_alive=True))

    def refused(self) -> Talk:
        return Talk("refused", End([("send", 10)]), End([]), port=CLOSED)

    def slow(self) -> Talk:
        """The window closes for a while, maybe more than once."""
        reader = End(
            [],
            receive_buffer=self.random.choice([1000, 5000, 20000]),
            read_after=self.random.random(),
            read_chunk=self.random.choice([500, 5000, 65536]),
            read_pause=self.random.choice([0, 0.02]),
        )
        writer = End([("send", self.size() // 3 + 5000), ("shutdown", 0)])
        talk = self.swap(Talk("slow reader", reader, writer))
        if talk.server is reader:
            talk.port = SMALL_BUFFER
        return talk

    def urgent(self) -> Talk:
        return Talk("urgent data", self.urgent_end(), self.urgent_end())

    def urgent_end(self) -> End:
        before, after = ("send", self.size() // 5 + 1), ("send", self.size() // 5)
        steps: list[Step] = [before, ("urgent", 1), after, ("shutdown", 0)]
        return End(steps, inline=self.random.random() < 0.5)

    def dead(self) -> Talk:
        first, second = (End([("send", self.size())]) for _ in range(2))
        packets = self.random.randint(1, 40)
        return Talk("abandoned", first, second, patience=SHORT_PATIENCE, dead_after=packets)

    def stay(self) -> Talk:
        """Left open, or with one FIN or two."""
        ask, answer, stay = self.size() // 50 + 1, self.size() // 4, ("stay", 0)
        client = End([("send", ask), ("wait", answer), *self.maybe(("shutdown", 0)), stay])
        server = End([("wait", ask), ("send", answer), *self.maybe(("shutdown", 0)), stay])
        return self.swap(Talk("left open", client, server))

    def cut_off(self) -> Talk:
        """The network goes dead, and the sockets stay as they are."""
        end: list[Step] = [("sleep", 1), ("stay", 0)]
        first, second = (
            End([("send", self.size() // 50), *self.maybe(("shutdown", 0)), *end]) for _ in range(2)
        )
        packets = self.random.randint(4, 14)
        return Talk("cut off", first, second, patience=SHORT_PATIENCE, dead_after=packets)

    def idle(self) -> Talk:
        """Keep-alives in between."""
        first = End([("send", 100), ("sleep", 1.6), ("send", 100), ("shutdown", 0)])
        second = End([("send", self.size() // 9)])
        return self.swap(Talk("idle", first, second, keep_alive=True))

    def fast_open(self) -> Talk:
        ask = self.random.randint(1, 3000)
        client = End([("send", ask), *self.maybe(("shutdown", 0))])
        server = End([("wait", ask), ("send", self.size()), ("shutdown", 0)])
        return Talk("fast open", client, server, port=FAST_OPEN)

    def ports_again(self) -> Talk:
        """The server closes first and waits in TIME_WAIT, or nobody does: the ports are free."""
        end: Step = self.random.choice([("shutdown", 0), ("abort", 0)])
        server = End([("send", self.size() // 4), *self.maybe(("sleep", 0.1)), end])
        return Talk("ports used again", End([]), server, keep_alive=True)


KINDS = [
    name
    for name, member in vars(Kinds).items()
    if getattr(member, "__annotations__", {}) == {"return": "Talk"}
]


def choose(seed: int, count: int, slow_network: bool = False) -> list[Talk]:
    """So many talks, of each kind about as many. On a slow network both ends can connect."""
    random = Random(seed)
    kinds = Kinds(random)
    rounds = -(-count // len(KINDS))
    names = [name for _ in range(rounds) for name in random.sample(KINDS, len(KINDS))]
    talks: list[Talk] = []
    while len(talks) < count:
        name = names.pop()
        talk: Talk = getattr(kinds, name)()
        talk.number = len(talks)
        talk.client_port = FIRST_PORT + talk.number
        talk.ipv6 = random.random() < 0.4
        talk.start = random.random() * 0.5
        if slow_network and talk.port == PLAIN and random.random() < 0.3:
            talk.crossing = True
            talk.port = CROSSING + talk.number
        talks.append(talk)
        if name == "ports_again" and not talk.crossing:
            talks.append(follower(kinds.rounds(), talk))
    return talks


def follower(talk: Talk, first: Talk) -> Talk:
    """A talk on the ports of one before."""
    talk.number, talk.after = first.number + 1, first.number
    talk.client_port, talk.ipv6, talk.start = first.client_port, first.ipv6, first.start
    return talk
