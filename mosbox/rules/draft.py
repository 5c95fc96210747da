# SPDX-License-Identifier: BSD-3-Clause
"""A rule while its options are read: what they have asked for so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mosbox._core import lib
from mosbox.rules.errors import RuleError
from mosbox.rules.parser import Option, Rule
from mosbox.rules.program import PAYLOAD, BufferKey, Op, Program

Handler = Callable[["Draft", str, Option], None]

KEYWORDS: dict[str, Handler] = {}


def keyword(*names: str) -> Callable[[Handler], Handler]:
    """Registers a function as the meaning of keywords."""

    def register(handler: Handler) -> Handler:
        for name in names:
            KEYWORDS[name] = handler
        return handler

    return register


@dataclass(slots=True)
class Names:
    """Numbers of the names that rules share."""

    flowbits: dict[str, int] = field(default_factory=dict)
    hostbits: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def number(table: dict[str, int], name: str) -> int:
        """The number of a name, a new one for a new name."""
        found = table.setdefault(name, len(table))
        if found > 0xFFFF:
            raise RuleError("more than 65,536 different bits")
        return found


@dataclass(slots=True)
class Draft:
    """A program in the making."""

    rule: Rule
    names: Names
    program: Program = field(default_factory=Program)
    sticky: BufferKey | None = None  # buffer that the next contents go to
    sticky_is_new: bool = False  # transforms may still follow
    last: Op | None = None  # the content that modifiers modify
    last_key: BufferKey = PAYLOAD
    variables: dict[str, int] = field(default_factory=dict)
    direction: int = 0  # from flow: MB_RULE_TO_ bits
    buffer_direction: int = lib.MB_RULE_TO_SERVER | lib.MB_RULE_TO_CLIENT
    classtype: str = ""
    priority: int | None = None
    packet_only: bool = False  # asks for something that only a packet has
    fast: Op | None = None
    reads_bits: bool = False
    sets_bits: bool = False
    reads_hostbits: bool = False
    sets_hostbits: bool = False
    sid: int = 0
    metadata: dict[str, list[str]] = field(default_factory=dict)

    def chain(self, key: BufferKey) -> list[Op]:
        """The operations on one buffer."""
        return self.program.inspections.setdefault(key, [])

    def inspect(self, op: Op) -> Op:
        """Adds an operation on the bytes of the buffer in force."""
        key = self.sticky or PAYLOAD
        self.sticky_is_new = False
        self.chain(key).append(op)
        if op.type == lib.MB_OP_CONTENT:
            self.last, self.last_key = op, key
        return op

    def content(self, what: str) -> Op:
        """The content that a modifier speaks of."""
        if self.last is None:
            raise RuleError(f"{what} needs a content before it")
        return self.last

    def move_last(self, key: BufferKey, what: str) -> None:
        """Moves the content before to another buffer (modifiers such as http_uri)."""
        op = self.content(what)
        chain = self.chain(self.last_key)
        chain.remove(op)
        if not chain:
            del self.program.inspections[self.last_key]
        self.chain(key).append(op)
        self.last_key = key

    def variable(self, name: str) -> int:
        """The number of a byte_extract variable."""
        if name not in self.variables:
            raise RuleError(
                f"'{name}' is neither a number nor a variable of byte_extract before it"
            )
        return self.variables[name]

    def restrict(self, direction: int, what: str) -> None:
        """The rule can only match packets of a direction."""
        self.buffer_direction &= direction
        if not self.buffer_direction:
            raise RuleError(f"{what} and an earlier keyword exist in opposite directions only")
