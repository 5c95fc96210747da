# SPDX-License-Identifier: BSD-3-Clause
"""Rule programs: what a compiled rule is, and its bytes for the C core.

The layout is struct mb_rule_head, mb_rule_inspect and mb_rule_op of mosbox.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mosbox._core import lib
from mosbox.rules.ranges import Ranges

HEAD = struct.Struct("=IIIIIHHIIHHHHHHHBBBBBB")
INSPECT = struct.Struct("=HHHH")
OP = struct.Struct("=BBHHHiiiiII")

BufferKey = tuple[int, tuple[int, ...]]  # enum mb_buffer and transforms

PAYLOAD: BufferKey = (lib.MB_BUF_PAYLOAD, ())


@dataclass(slots=True, eq=False)
class Op:
    """One operation; the meaning of the numbers is at enum mb_rule_op_type."""

    type: int
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    flags: int = 0
    x: int = 0
    y: int = 0
    vars: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Program:
    """A rule as the core takes it."""

    action: int = 0
    kind: int = 0
    sid: int = 0
    gid: int = 1
    rev: int = 0
    severity: int = 3
    app: int = 0
    ip_proto: int = 255
    ip_version: int = 0
    flags: int = 0
    message: str = ""
    category: str = ""
    metadata: str = ""
    src: Ranges | None = None  # None: any
    dst: Ranges | None = None
    sport: Ranges | None = None
    dport: Ranges | None = None
    inspections: dict[BufferKey, list[Op]] = field(default_factory=dict)
    before: list[Op] = field(default_factory=list)
    after: list[Op] = field(default_factory=list)


class Target(Protocol):
    """Who takes compiled rules: the core, or a test."""

    def addresses(self, ranges: Ranges) -> int:
        """The number of an address set."""

    def ports(self, ranges: Ranges) -> int:
        """The number of a port set."""

    def buffer(self, key: BufferKey) -> int:
        """The number of a buffer."""

    def add(self, program: bytes) -> None:
        """Takes one rule."""


def _text(text: str, limit: int) -> bytes:
    return text.encode("utf-8", "replace")[:limit]


def encode(program: Program, target: Target) -> bytes:
    """The bytes of a program."""
    data: list[bytes] = []
    at = 0
    ops: list[bytes] = []
    inspections: list[bytes] = []

    def put(op: Op) -> None:
        nonlocal at
        size = len(op.data)
        ops.append(
            OP.pack(
                op.type,
                op.vars,
                op.flags,
                op.x,
                op.y,
                op.a,
                op.b,
                op.c,
                op.d,
                at if size else 0,
                size,
            )
        )
        if size:
            data.append(op.data)
            at += size

    for op in program.before:
        put(op)
    for key, chain in program.inspections.items():
        inspections.append(INSPECT.pack(target.buffer(key), len(ops), len(chain), 0))
        for op in chain:
            put(op)
    for op in program.after:
        put(op)
    message = _text(program.message, 1024)
    category = _text(program.category, 1024)
    metadata = program.metadata.encode("utf-8", "replace")
    head = HEAD.pack(
        lib.MB_RULE_MAGIC,
        program.sid,
        program.gid,
        program.rev,
        at,
        len(message),
        len(category),
        len(metadata),
        at + len(message) + len(category) + len(metadata),
        program.flags,
        target.addresses(program.src) if program.src is not None else 0,
        target.addresses(program.dst) if program.dst is not None else 0,
        target.ports(program.sport) if program.sport is not None else 0,
        target.ports(program.dport) if program.dport is not None else 0,
        len(inspections),
        len(ops),
        program.action,
        program.kind,
        program.severity,
        program.app,
        program.ip_proto,
        program.ip_version,
    )
    return b"".join((head, *inspections, *ops, *data, message, category, metadata))


def numbers(values: Sequence[int]) -> bytes:
    """16-bit numbers as the core reads them."""
    return struct.pack(f"={len(values)}H", *values)
