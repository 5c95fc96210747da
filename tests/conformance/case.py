# SPDX-License-Identifier: BSD-3-Clause
"""case -- packets in and event lines out, written down in one readable file.

    case 1 handshake: SYN, SYN/ACK, ACK
    show state
    > S
        state client CLOSED -> SYN_SENT
        state server CLOSED -> SYN_RCVD

A line at the margin is a step: a packet, or a word of the table in README.md.
An indented line is an event that the step above it raises. Playing a case gives
its text again with the events that were raised, so a failure is a plain diff.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))

import wire
from event_lines import steps
from wire import FIN, SYN, Frame, Talk

MARGIN = "    "
START = 1_700_000_000.0
STEP = 0.001  # seconds between two packets where nothing is said
DIRECTIONS = {">": "client", "<": "server"}
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128, "-": 0}
MODULUS = 1 << 32
CLOCK = wire.ethernet(b"", kind=0x88CC)  # a frame without IP: it moves the clock, no more

_WORD = re.compile(
    r"""<(?=[^\s>])[^>]*>            # <options>
      | "(?:[^"\\]|\\.)*"(?:\*\d+)?  # "payload" or "x"*1000
      | [^\s"]+""",
    re.VERBOSE,
)


class CaseError(Exception):
    """A line of a case file that makes no sense: file:line: why."""


@dataclass
class Played:
    """What a step sends, and what is asked of the run at it."""

    frames: list[Frame] = field(default_factory=list)
    ask: list[str] = field(default_factory=list)  # what `look` and `stop` want
    drop: str = ""  # the hook at which its frames are dropped


@dataclass
class Flow:
    """A pair of endpoints, their sequence numbers relative to what they began with."""

    talk: Talk
    isn: dict[str, int]
    last: dict[str, bytes] = field(default_factory=dict)  # packets, for ICMP errors to quote

    def seq(self, side: str) -> int:
        return self.talk.client_seq if side == "client" else self.talk.server_seq

    def advance(self, side: str, end: int) -> None:
        """`side` has sent up to `end`."""
        if 0 < (end - self.seq(side)) % MODULUS < MODULUS // 2:
            setattr(self.talk, f"{side}_seq", end % MODULUS)

    def number(self, side: str, relative: str) -> int:
        """A number as written in a case: relative, or absolute with a #."""
        if relative.startswith("#"):
            return int(relative[1:]) % MODULUS
        return (self.isn[side] + int(relative)) % MODULUS


def _other(side: str) -> str:
    return "server" if side == "client" else "client"


def _payload(word: str) -> bytes:
    """The bytes of "text", "text"*N or hex:00ff."""
    if word.startswith("hex:"):
        return bytes.fromhex(word[4:])
    text, _, times = word.rpartition('"*')
    if text:
        return _payload(text + '"') * int(times)
    return str(ast.literal_eval(word)).encode("latin-1")


def _is_payload(word: str) -> bool:
    return word.startswith(('"', "hex:"))


class Case:
    """A case and the state its steps are read in."""

    def __init__(self, path: Path, line: int, title: str, text: list[str]) -> None:
        self.path = path
        self.line = line
        self.title = title
        self.text = text
        self.settings: dict[str, Any] = {}
        self.scope = ""
        self.show: list[str] = []
        self.flows = {"a": Flow(Talk(), {"client": 1000, "server": 5000})}
        self.flow = self.flows["a"]
        self.now = START
        self.tells_end = False
        self.played: dict[int, Played] = {}
        self._read()

    def __str__(self) -> str:
        return f"{self.path.stem}: {self.title}"

    # -- reading

    def _read(self) -> None:
        for number, line in enumerate(self.text):
            if not line.strip() or line.startswith((MARGIN, "#")):
                continue
            try:
                self.played[number] = self._step(_WORD.findall(line))
            except (ValueError, KeyError, IndexError, SyntaxError) as error:
                why = f"{error}" if isinstance(error, ValueError) else f"{error!r} in {line!r}"
                raise CaseError(f"{self.path}:{self.line + number}: {why}") from None

    def _step(self, words: list[str]) -> Played:
        waits = re.fullmatch(r"\+(\d+\.?\d*)", words[0])
        self.now += float(waits[1]) if waits else STEP
        if waits:
            del words[0]
        verb = words[0]
        if verb in DIRECTIONS:
            return self._segment(DIRECTIONS[verb], words[1:])
        method: Callable[[list[str]], Played | None] | None = getattr(self, f"_do_{verb}", None)
        if method is None:
            raise ValueError(f"no step is called {verb!r}")
        return method(words[1:]) or Played()

    # -- steps that set things up

    def _do_show(self, words: list[str]) -> None:
        self.show = words

    def _do_set(self, words: list[str]) -> None:
        key, value = words
        self.settings[key] = value

    def _do_scope(self, words: list[str]) -> None:
        self.scope = " ".join(words)

    def _do_at(self, words: list[str]) -> None:
        self.now = START + float(words[0])

    def _do_isn(self, words: list[str]) -> None:
        client, server = map(int, words)
        self.flow.talk.client_seq, self.flow.talk.server_seq = client, server
        self.flow.isn = {"client": client, "server": server}

    def _do_flow(self, words: list[str]) -> None:
        name, *ends = words
        if ends:
            (src, sport), (dst, dport) = (re.split(r":(?=\d+$)", end) for end in ends)
            src, dst = src.strip("[]"), dst.strip("[]")
            talk = Talk(src=src, dst=dst, sport=int(sport), dport=int(dport))
            self.flows[name] = Flow(talk, {"client": 1000, "server": 5000})
        self.flow = self.flows[name]

    def _do_end(self, words: list[str]) -> None:
        self.tells_end = True

    def _do_look(self, words: list[str]) -> Played:
        return Played([self._clock()], [" ".join(["look", *words])])

    def _do_stop(self, words: list[str]) -> Played:
        return Played([self._clock()], [" ".join(["stop", *words])])

    # -- steps that send

    def _clock(self) -> Frame:
        return Frame(CLOCK, self.now)

    def _do_wait(self, words: list[str]) -> Played:
        before = self._clock()
        self.now += float(words[0])
        return Played([before, self._clock()])

    def _do_open(self, words: list[str]) -> Played:
        options = words[:1]
        steps = [
            self._segment("client", ["S", *options]),
            self._segment("server", ["S.", *options]),
            self._segment("client", ["."]),
        ]
        return Played([frame for step in steps for frame in step.frames])

    def _do_close(self, words: list[str]) -> Played:
        sent = (("client", "F."), ("server", "F."), ("client", "."))
        return Played([f for side, flags in sent for f in self._segment(side, [flags]).frames])

    def _do_udp(self, words: list[str]) -> Played:
        side, payload = DIRECTIONS[words[0]], b"".join(map(_payload, filter(_is_payload, words)))
        src, dst, sport, dport = self._ends(side)
        packet = wire.ip(src, dst, 17, wire.udp(src, dst, sport, dport, payload))
        return self._send(side, packet, self._attributes(words[1:]))

    def _do_icmp(self, words: list[str]) -> Played:
        """icmp < TYPE CODE [mtu=N] [quote] [payload]: quote is the last packet of the receiver."""
        side, payload = DIRECTIONS[words[0]], b"".join(map(_payload, filter(_is_payload, words)))
        src, dst, _, _ = self._ends(side)
        v6 = ":" in src
        if "quote" in words:
            payload = self.flow.last[_other(side)][: 48 if v6 else 28] + payload
        attributes = self._attributes([word for word in words[3:] if word != "quote"])
        word = int(attributes.pop("mtu", 0)).to_bytes(4, "big")
        message = wire.icmp(int(words[1]), int(words[2]), word, payload)
        return self._send(side, wire.ip(src, dst, 58 if v6 else 1, message), attributes)

    def _do_fragment(self, words: list[str]) -> Played:
        """fragment > OFFSET[+] payload: a piece of an IP datagram, + if more follow."""
        side, offset = DIRECTIONS[words[0]], words[1]
        attributes = self._attributes(words[2:])
        src, dst, sport, dport = self._ends(side)
        payload = b"".join(map(_payload, filter(_is_payload, words)))
        if "udp" in attributes:  # its datagram is so long; no checksum
            parts = (sport, dport, int(attributes.pop("udp")), 0)
            payload = b"".join(part.to_bytes(2, "big") for part in parts) + payload
        packet = wire.ip(
            src,
            dst,
            int(attributes.pop("proto", 17)),
            payload,
            ident=int(attributes.pop("id", 1)),
            ttl=int(attributes.pop("ttl", 64)),
            fragment=int(offset.rstrip("+")),
            more=offset.endswith("+"),
        )
        return self._send(side, packet, attributes)

    def _do_ip(self, words: list[str]) -> Played:
        """ip > PROTOCOL payload"""
        side, payload = DIRECTIONS[words[0]], b"".join(map(_payload, filter(_is_payload, words)))
        src, dst, _, _ = self._ends(side)
        packet = wire.ip(src, dst, int(words[1]), payload)
        return self._send(side, packet, self._attributes(words[2:]))

    def _do_frame(self, words: list[str]) -> Played:
        return Played([Frame(bytes.fromhex("".join(words)), self.now)])

    def _ends(self, side: str) -> tuple[str, str, int, int]:
        talk = self.flow.talk
        if side == "client":
            return talk.src, talk.dst, talk.sport, talk.dport
        return talk.dst, talk.src, talk.dport, talk.sport

    # -- segments

    def _segment(self, side: str, words: list[str]) -> Played:
        """FLAGS [SEQ] [ack N] [win N] [urg N] [<options>] [payload] [attributes]"""
        flow, words = self.flow, list(words)
        flags = 0
        for letter in words.pop(0):
            flags |= FLAGS[letter]
        seq, more, payload, rest = flow.seq(side), {}, b"", []
        if words and re.fullmatch(r"-?\d+|#\d+", words[0]):
            seq = flow.number(side, words.pop(0))
        while words:
            word = words.pop(0)
            if word == "ack":
                more["ack"] = flow.number(_other(side), words.pop(0))
            elif word in ("win", "urg"):
                more["window" if word == "win" else "urgent"] = int(words.pop(0))
            elif word.startswith("<"):
                more["options"] = self._options(side, word[1:-1])
            elif _is_payload(word):
                payload += _payload(word)
            else:
                rest.append(word)
        attributes = self._attributes(rest)
        for name in {"ttl", "id"} & set(attributes):
            more["ident" if name == "id" else name] = int(attributes.pop(name))
        packet = flow.talk.packet(side, flags, payload, seq, **more)  # type: ignore[arg-type]
        if not {"ghost", "sum", "ipsum"} & set(attributes):
            flow.advance(side, seq + len(payload) + bool(flags & SYN) + bool(flags & FIN))
        return self._send(side, packet, attributes)

    def _options(self, side: str, text: str) -> bytes:
        out = b""
        for part in text.split(","):
            name, *numbers = part.split()
            if name == "raw":
                out += bytes.fromhex("".join(numbers))
            elif name == "tfo":
                out += wire.tcp_options(cookie=bytes.fromhex("".join(numbers)))
            elif name == "sack":
                edges = [[self.flow.number(_other(side), n) for n in b.split(":")] for b in numbers]
                out += wire.tcp_options(blocks=[(left, right) for left, right in edges])
            elif name == "sackok":
                out += wire.tcp_options(sack=True)
            elif name == "mss":
                out += wire.tcp_options(mss=int(numbers[0]))
            elif name == "ws":
                out += wire.tcp_options(wscale=int(numbers[0]))
            elif name == "ts":
                out += wire.tcp_options(ts=(int(numbers[0]), int(numbers[1])))
            else:
                raise ValueError(f"no TCP option is called {name!r}")
        return out

    @staticmethod
    def _attributes(words: list[str]) -> dict[str, str]:
        pairs = (word.partition("=") for word in words if not _is_payload(word))
        found = {name: value for name, _, value in pairs}
        known = "ttl id vlan qinq mpls pppoe sum ipsum cut trail frag ghost drop set udp proto ext"
        for name in set(found) - {*known.split(), "mtu"}:
            raise ValueError(f"{name!r} means nothing here")
        return found

    def _send(self, side: str, packet: bytes, attributes: dict[str, str]) -> Played:
        """Packets become frames, as the attributes say."""
        if not {"ghost", "sum", "ipsum"} & set(attributes):
            self.flow.last[side] = packet
        packet = _changed(packet, attributes)
        packets = [packet]
        if size := attributes.get("frag"):
            length, _, order = size.partition("/")
            packets = wire.fragments(packet, int(length))
            if order == "reversed":
                packets.reverse()
            elif order:
                packets = [packets[int(index)] for index in order.split(",")]
        frames = []
        for packet in packets:
            frames.append(self._frame(packet, attributes))
            self.now += STEP
        self.now -= STEP
        return Played(frames, drop=attributes.get("drop", ""))

    def _frame(self, packet: bytes, attributes: dict[str, str]) -> Frame:
        vlans = [int(vlan) for vlan in attributes.get("vlan", "").split(",") if vlan]
        body, kind = packet, None
        ipv6 = packet[0] >> 4 == 6
        if "mpls" in attributes:  # RFC 3032: one label, bottom of the stack
            body, kind = (int(attributes["mpls"]) << 12 | 0x140).to_bytes(4, "big") + packet, 0x8847
        if "pppoe" in attributes:  # RFC 2516 4, RFC 1661 2
            session = int(attributes["pppoe"]).to_bytes(2, "big")
            inner = (b"\0\x57" if ipv6 else b"\0\x21") + packet
            body, kind = b"\x11\0" + session + len(inner).to_bytes(2, "big") + inner, 0x8864
        data = wire.ethernet(body, vlans=vlans, kind=kind or (0x86DD if ipv6 else 0x0800))
        data += bytes(int(attributes.get("trail", 0)))
        cut = int(attributes.get("cut", len(data)))
        return Frame(data[:cut], self.now, len(data))

    # -- playing

    def play(self, run: Callable[..., list[tuple[int, str]]] = steps) -> str:
        """The text of the case with the events that were raised. `run` plays the frames, as
        steps() does."""
        order = list(self.played)
        frames, owner, asked, drops = [], [], {}, {}
        for number in order:
            step = self.played[number]
            for word in step.ask:
                asked[len(frames) + 1] = word
            for frame in step.frames:
                frames.append(frame)
                owner.append(number)
                if step.drop:
                    drops[len(frames)] = step.drop
        frames.append(Frame(CLOCK, self.now + STEP))
        told = run(frames, self.settings, asked, drops, self.scope)
        out: dict[int, list[str]] = {}
        for index, line in told:
            last = index > len(owner)
            if last and not self.tells_end:
                continue
            event = line.split()[0]
            if self.show and event not in self.show and event != "look":
                continue
            number = order[-1] if last else owner[max(index, 1) - 1]
            out.setdefault(number, []).append(MARGIN + line)
        text = []
        for number, line in enumerate(self.text):
            if not line.startswith(MARGIN):
                text += [line, *out.get(number, [])]
        return "\n".join(text)


def _changed(packet: bytes, attributes: dict[str, str]) -> bytes:
    """Bytes of the IP packet overwritten: wrong checksums, `set=OFFSET:HEX`."""
    out = bytearray(packet)
    if "ext" in attributes:  # IPv6 extension header: type:bytes, its length a multiple of 8
        kind, _, body = attributes["ext"].partition(":")
        extension = bytearray(bytes.fromhex(body))
        extension[0], out[6] = out[6], int(kind)
        out[40:40] = extension
        out[4:6] = (len(out) - 40).to_bytes(2, "big")
    if "set" in attributes:
        at, _, value = attributes["set"].partition(":")
        new = bytes.fromhex(value)
        out[int(at) : int(at) + len(new)] = new
    if "sum" in attributes:
        out[(40 if out[0] >> 4 == 6 else 20) + (6 if out[9] == 17 else 16)] ^= 0xFF
    if "ipsum" in attributes:
        out[10] ^= 0xFF
    return bytes(out)


def read_cases(path: Path) -> list[Case]:
    """The cases of a file."""
    found: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.rstrip()
        if line.startswith("case "):
            found.append((number + 1, line.removeprefix("case "), []))
        elif found:
            found[-1][2].append(line)
        elif line and not line.startswith("#"):
            raise CaseError(f"{path}:{number}: a file begins with a line `case NUMBER title`")
    for number, title, text in found:
        if not re.match(r"\d+(,\d+)* ", title):
            raise CaseError(f"{path}:{number - 1}: a case begins with its scenario's number")
        while text and not text[-1]:
            text.pop()
    return [Case(path, number, title, text) for number, title, text in found]


def fill(path: Path) -> None:
    """Writes the events that were raised into a case file; what they are is to be judged."""
    head = path.read_text().split("case ", 1)[0]
    cases = [f"case {case.title}\n{case.play()}\n" for case in read_cases(path)]
    path.write_text(head + "\n".join(cases))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        fill(Path(name))
