# SPDX-License-Identifier: BSD-3-Clause
"""Address and port expressions of rule headers as sorted lists of ranges.

An expression is ``any``, one value, a range, a network, a variable ($NAME), a
list in brackets, or any of these negated with ``!``, nested to any depth. Both
kinds come out as tuples of (lowest, highest), ascending and apart. Addresses
are 128-bit numbers; an IPv4 address is its IPv4-mapped IPv6 address.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Mapping

from mosbox.rules.errors import RuleError

Ranges = tuple[tuple[int, int], ...]

MAX_NESTING = 32
MAPPED = 0xFFFF << 32
MAX_ADDRESS = (1 << 128) - 1
MAX_PORT = 65535

_TOKEN = re.compile(r"\s*([\[\],!]|[^\s\[\],!]+)")


def merge(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The union of ranges, ascending and apart."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return tuple(out)


def complement(ranges: Ranges, top: int) -> Ranges:
    """Everything from 0 to top that is not in ranges."""
    out = []
    low = 0
    for first, last in ranges:
        if low < first:
            out.append((low, first - 1))
        low = last + 1
    if low <= top:
        out.append((low, top))
    return tuple(out)


def subtract(ranges: Ranges, less: Ranges, top: int) -> Ranges:
    """What is in ranges and not in less."""
    inverse = complement(ranges, top)
    return complement(merge(inverse + less), top)


def parse_address(text: str) -> int:
    """One address as a number."""
    try:
        if ":" in text:
            return int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        return MAPPED | int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError):
        raise RuleError(f"'{text}' is not an address") from None


def _network(address: str, mask: str) -> tuple[int, int]:
    base = parse_address(address)
    width = 128 if ":" in address else 32
    if "." in mask and width == 32:
        bits = parse_address(mask) & 0xFFFFFFFF
        host = bits ^ 0xFFFFFFFF
        if host & (host + 1):
            raise RuleError(f"'{mask}' is not a netmask")
    elif mask.isascii() and mask.isdigit() and int(mask) <= width:
        host = (1 << (width - int(mask))) - 1
    else:
        raise RuleError(f"'/{mask}' is not a prefix length")
    return base & ~host, base | host


def address_range(word: str) -> tuple[int, int]:
    """One address, ``low-high`` or ``network/prefix``."""
    if "/" in word:
        address, _, mask = word.partition("/")
        return _network(address, mask)
    low, dash, high = word.partition("-")
    first = parse_address(low)
    last = parse_address(high) if dash else first
    if last < first:
        raise RuleError(f"'{word}' ends before it begins")
    return first, last


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_PORT:
        raise RuleError(f"'{text}' is not a port")
    return int(text)


def port_range(word: str) -> tuple[int, int]:
    """One port or ``low:high``, either end of which may be left out."""
    low, colon, high = word.partition(":")
    if not colon:
        port = _port(low, -1)
        if port < 0:
            raise RuleError("a port is missing")
        return port, port
    if not (low or high):
        raise RuleError("':' alone is not a port range")
    first, last = _port(low, 0), _port(high, MAX_PORT)
    if last < first:
        raise RuleError(f"'{word}' ends before it begins")
    return first, last


class Expressions:
    """Parses expressions of one kind, with variables, remembering results."""

    def __init__(
        self, variables: Mapping[str, str], top: int, word: Callable[[str], tuple[int, int]]
    ) -> None:
        self.variables = variables
        self.top = top
        self.word = word
        self.known: dict[str, Ranges] = {}

    def parse(self, text: str) -> Ranges:
        """The ranges of an expression; ``any`` is everything."""
        ranges = self.known.get(text)
        if ranges is None:
            ranges = self.known[text] = self._expression(text, ())
        return ranges

    def _expression(self, text: str, inside: tuple[str, ...]) -> Ranges:
        tokens = _TOKEN.findall(text.strip())
        if not tokens:
            raise RuleError("an address or port is missing")
        yes, no, rest = self._items(tokens, 0, inside, 0, top=True)
        if rest != len(tokens):
            raise RuleError(f"'{tokens[rest]}' is not expected here")
        return self._combine(yes, no, text)

    def _combine(self, yes: list[tuple[int, int]], no: list[tuple[int, int]], text: str) -> Ranges:
        base = merge(yes) if yes else ((0, self.top),)
        result = subtract(base, merge(no), self.top) if no else base
        if not result:
            raise RuleError(f"'{text}' leaves nothing")
        return result

    def _items(
        self, tokens: list[str], at: int, inside: tuple[str, ...], depth: int, top: bool
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]], int]:
        """Items up to the closing bracket (or, at the top, the end): included, excluded, next."""
        if depth > MAX_NESTING:
            raise RuleError("too many brackets in brackets")
        yes: list[tuple[int, int]] = []
        no: list[tuple[int, int]] = []
        while True:
            negated = False
            while at < len(tokens) and tokens[at] == "!":
                negated, at = not negated, at + 1
            if at >= len(tokens) or tokens[at] in ("]", ","):
                raise RuleError("an address or port is missing")
            if tokens[at] == "[":
                inner_yes, inner_no, at = self._items(tokens, at + 1, inside, depth + 1, top=False)
                if at >= len(tokens):
                    raise RuleError("a closing ']' is missing")
                ranges = self._combine(inner_yes, inner_no, "[...]")
            else:
                ranges = self._word(tokens[at], inside)
            at += 1
            (no if negated else yes).extend(ranges)
            if at < len(tokens) and tokens[at] == "," and not top:
                at += 1
                continue
            if not top and (at >= len(tokens) or tokens[at] != "]"):
                raise RuleError("a closing ']' is missing")
            return yes, no, at

    def _word(self, word: str, inside: tuple[str, ...]) -> Ranges:
        if word.lower() == "any":
            return ((0, self.top),)
        if not word.startswith("$"):
            return (self.word(word),)
        name = word[1:]
        if name in inside:
            raise RuleError(f"variable ${name} refers to itself")
        if name not in self.variables:
            raise RuleError(f"variable ${name} is not defined (--var {name}=VALUE defines it)")
        if len(inside) >= MAX_NESTING:
            raise RuleError("too many variables in variables")
        return self._expression(self.variables[name], (*inside, name))


def addresses(variables: Mapping[str, str]) -> Expressions:
    """A parser of address expressions."""
    return Expressions(variables, MAX_ADDRESS, address_range)


def ports(variables: Mapping[str, str]) -> Expressions:
    """A parser of port expressions."""
    return Expressions(variables, MAX_PORT, port_range)
