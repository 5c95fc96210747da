# SPDX-License-Identifier: BSD-3-Clause
"""sets -- what the values in a rule stand for: numbers in ranges, names, texts.

Every condition of a rule is a set of values, written as one word or a list.
Words that begin with `!` are taken out again; a list of only such words is
everything but them. All sets answer one question, has(): is a value in?

    ["10.0.0.0/8", "!10.1.0.0/16"]      "!22"      ["*.example.com", "!www.example.com"]
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Generic, Protocol, TypeVar

__all__ = [
    "Choice",
    "Names",
    "Ranges",
    "Texts",
    "address_number",
    "parse_address",
    "parse_name",
    "parse_port",
    "parse_protocol",
    "parse_text",
]

T = TypeVar("T", contravariant=True)
V = TypeVar("V")

V4_MAPPED = 0xFFFF << 32  # IPv4 addresses live at ::ffff:0:0/96
IP_PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "gre": 47,
    "esp": 50,
    "icmpv6": 58,
    "sctp": 132,
}


class Has(Protocol[T]):
    """A set of values."""

    def has(self, value: T, /) -> bool: ...


@dataclass(frozen=True)
class Choice(Generic[V]):
    """What is in `some` (None: everything) and not in `but` (None: nothing left out)."""

    some: Has[V] | None
    but: Has[V] | None

    def has(self, value: V) -> bool:
        if self.some is not None and not self.some.has(value):
            return False
        return self.but is None or not self.but.has(value)

    def has_any(self, values: Iterable[V]) -> bool:
        """Whether one of `values` is in `some`, and none of them in `but`."""
        values = list(values)
        if self.some is not None and not any(map(self.some.has, values)):
            return False
        return self.but is None or not any(map(self.but.has, values))


class Ranges:
    """Numbers in inclusive ranges, looked up by halving."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._low: list[int] = []
        self._high: list[int] = []
        for low, high in sorted(ranges):
            if self._high and low <= self._high[-1] + 1:
                self._high[-1] = max(self._high[-1], high)
            else:
                self._low.append(low)
                self._high.append(high)

    def has(self, number: int) -> bool:
        at = bisect_right(self._low, number)
        return at > 0 and number <= self._high[at - 1]


Pattern = tuple[str, str]  # kind and what it is: "is", "under", "glob" or "re"


class Texts:
    """Texts that are one of some, or that a glob or a regular expression matches."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._is: set[str] = set()
        self._find: list[Callable[[str], Any]] = []
        for kind, what in patterns:
            if kind == "is":
                self._is.add(what)
            else:
                self._find.append(re.compile(what).search)

    def has(self, text: str) -> bool:
        return text in self._is or any(find(text) for find in self._find)


class Names:
    """Host names: themselves, or all below a domain. A closing dot and case do not count."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        patterns = list(patterns)
        self._under = {what for kind, what in patterns if kind == "under"}
        self._texts = Texts(p for p in patterns if p[0] != "under")

    def has(self, name: str) -> bool:
        name = name.lower().removesuffix(".")
        if self._texts.has(name):
            return True
        while self._under and name:
            name = name.partition(".")[2]
            if name in self._under:
                return True
        return False


# ---- words, each as what its set is made of; ValueError says what was expected


@lru_cache(maxsize=65536)
def address_number(text: str) -> int:
    """An address as a number, IPv4 as IPv4-mapped."""
    address = ip_address(text)
    return int(address) | (V4_MAPPED if address.version == 4 else 0)


def parse_address(word: str) -> list[tuple[int, int]]:
    """ "10.0.0.0/8", "2001:db8::1", "10.0.0.1-10.0.0.9" """
    expected = "an address, a network such as 10.0.0.0/8, or a range such as 10.0.0.1-10.0.0.9"
    try:
        if "-" in word:
            low, high = (address_number(end.strip()) for end in word.split("-"))
        else:
            network = ip_network(word, strict=False)
            low = address_number(str(network.network_address))
            high = address_number(str(network.broadcast_address))
    except ValueError:
        raise ValueError(f"{word!r} is not {expected}") from None
    if "/" in word and low != address_number(word.partition("/")[0]):
        raise ValueError(f"{word!r} has bits beyond its prefix: is it {network}?")
    if low > high:
        raise ValueError(f"{word!r} ends before it begins")
    return [(low, high)]


def parse_port(word: str) -> list[tuple[int, int]]:
    """ "443", "8000-8999" """
    match = re.fullmatch(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", word)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 65536)
    if high > 65535:
        raise ValueError(f"{word!r} is not a port from 0 to 65535 or a range such as 8000-8999")
    if low > high:
        raise ValueError(f"{word!r} ends before it begins")
    return [(low, high)]


def parse_protocol(word: str) -> list[tuple[int, int]]:
    """ "tcp", "89" """
    number = IP_PROTOCOLS.get(word.lower())
    if number is None:
        number = int(word) if re.fullmatch(r"\d{1,3}", word) else 256
    if number > 255:
        known = ", ".join(IP_PROTOCOLS)
        raise ValueError(f"{word!r} is not an IP protocol: {known} or a number to 255")
    return [(number, number)]


def parse_text(word: str) -> list[Pattern]:
    """ "GET", "glob:*.php", "re:^/admin", "is:re:x" """
    kind, colon, what = word.partition(":")
    if not colon or kind not in ("is", "glob", "re"):
        return [("is", word)]
    if kind == "is":
        return [("is", what)]
    what = r"\A" + translate(what) if kind == "glob" else what
    try:
        re.compile(what)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{word!r} is not a regular expression: {error}") from None
    return [("re", what)]


def parse_name(word: str) -> list[Pattern]:
    """ "www.example.com", "*.example.com" (all below it), ".example.com" (it and all below)"""
    if word.startswith(("is:", "glob:", "re:")):
        return parse_text(word if word.startswith("re:") else word.lower())
    name = word.lower().removesuffix(".")
    under = name.startswith(("*.", "."))
    bare = name.removeprefix("*").removeprefix(".")
    if not re.fullmatch(r"[a-z0-9_\[\]:-]+(\.[a-z0-9_-]+)*", bare):
        hint = ""
        if not bare.isascii():
            hint = "; other alphabets are written in ASCII, xn--..."
        elif "*" in bare or "?" in bare:
            hint = "; other patterns begin with glob: or re:"
        raise ValueError(
            f"{word!r} is not a host name, *.example.com (below it) or .example.com (both){hint}"
        )
    if not under:
        return [("is", bare)]
    return [("under", bare)] if name.startswith("*") else [("is", bare), ("under", bare)]
