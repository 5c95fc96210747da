# SPDX-License-Identifier: BSD-3-Clause
"""Rule files: text into rules, each option with its place in the file.

    alert tcp $HOME_NET any -> any 80 (msg:"..."; content:"abc"; nocase; sid:1;)
    action proto source port direction destination port (options)

Files are read as Latin-1, so that a character is a byte: what a rule looks for
is exactly what stands in the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from mosbox.rules.errors import RuleError

ACTIONS = {
    "alert": "alert",
    "pass": "pass",
    "drop": "drop",
    "reject": "reject",
    "rejectsrc": "reject",
    "rejectdst": "reject",
    "rejectboth": "reject",
}

_HEADER = re.compile(
    r"""\s*(?P<action>[A-Za-z]+)\s+(?P<proto>[A-Za-z0-9_.-]+)
        \s+(?P<src>!?\s*\[[^()]*?\]|\S+)\s+(?P<sport>!?\s*\[[^()]*?\]|\S+)
        \s+(?P<direction>->|<>|<-|=>)
        \s+(?P<dst>!?\s*\[[^()]*?\]|\S+)\s+(?P<dport>!?\s*\[[^()]*?\]|[^\s(]+)\s*\(""",
    re.VERBOSE,
)
_OPTION = re.compile(r"\s*([A-Za-z0-9_.\-]+)\s*(?::((?:\\.|[^;\\])*))?;", re.DOTALL)
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its keyword, its value (None: it has none) and where it stands."""

    name: str
    value: str | None
    where: int


@dataclass(slots=True)
class Rule:
    """A rule as written."""

    action: str
    """As written: reject has the forms rejectsrc, rejectdst and rejectboth."""
    proto: str
    src: str
    sport: str
    direction: str
    dst: str
    dport: str
    options: list[Option] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)

    def first(self, name: str) -> str | None:
        """The value of the first option with that keyword."""
        return next((o.value for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one rule, and where its lines came from."""

    text: str
    line: int
    breaks: tuple[int, ...] = ()

    def place(self, where: int | None) -> tuple[int, int]:
        """Line and column (both from 1) of an offset in the text."""
        if where is None:
            return self.line, 1
        n = bisect_right(self.breaks, where)
        start = self.breaks[n - 1] if n else 0
        return self.line + n, where - start + 1


def logical_lines(text: str) -> Iterator[Source]:
    """Rules of a file, one each: lines that end in a backslash are joined."""
    parts: list[str] = []
    breaks: list[int] = []
    first = length = 0
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if not parts:
            stripped = line.lstrip()
            if not stripped or stripped.startswith("#"):
                continue
            first, length = number, 0
            breaks = []
        more = line.endswith("\\")
        part = line[:-1] + " " if more else line
        parts.append(part)
        length += len(part)
        if more:
            breaks.append(length)
            continue
        yield Source("".join(parts), first, tuple(breaks))
        parts = []
    if parts:
        yield Source("".join(parts), first, tuple(breaks))


def parse_rule(text: str) -> Rule:
    """One rule. RuleError with the offset of the mistake if it is none."""
    header = _HEADER.match(text)
    if header is None:
        raise RuleError(
            "a rule is: action proto source port -> destination port (options)", _first_bad(text)
        )
    action = header["action"].lower()
    if action not in ACTIONS:
        raise RuleError(f"action '{header['action']}' is unknown", header.start("action"))
    if header["direction"] not in ("->", "<>"):
        raise RuleError("the direction is -> or <>", header.start("direction"))
    rule = Rule(
        action,
        header["proto"].lower(),
        header["src"],
        header["sport"],
        header["direction"],
        header["dst"],
        header["dport"],
        columns={name: header.start(name) for name in ("proto", "src", "sport", "dst", "dport")},
    )
    at = header.end()
    match = _OPTION.match
    while found := match(text, at):
        value = found[2]
        rule.options.append(
            Option(found[1], value if value is None else value.strip(), found.start(1))
        )
        at = found.end()
    at = _space(text, at)
    if text[at : at + 1] != ")":
        raise RuleError("an option 'keyword:value;' or the closing ')' is expected", at)
    at = _space(text, at + 1)
    if at < len(text) and text[at] != "#":
        raise RuleError("nothing may follow the closing ')'", at)
    return rule


def _space(text: str, at: int) -> int:
    """The offset of the first character from ``at`` on that is no white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _first_bad(text: str) -> int:
    """Where the header stops making sense, roughly: after its last whole word."""
    paren = text.find("(")
    return paren if paren >= 0 else len(text.rstrip())
