# SPDX-License-Identifier: BSD-3-Clause
"""Rule files into the core: read, compile, adjust, put in order, hand over."""

from __future__ import annotations

import gc
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosbox._core import ffi, lib
from mosbox.rules.compiler import ACTIONS, Compiler
from mosbox.rules.config import Adjustment, Classification
from mosbox.rules.draft import Draft
from mosbox.rules.errors import Problem, RuleError, UnsupportedError
from mosbox.rules.packet import THRESHOLDS, TRACKS, threshold_op
from mosbox.rules.parser import Source, logical_lines, parse_rule
from mosbox.rules.program import BufferKey, Op, Program, encode
from mosbox.rules.ranges import Ranges
from mosbox.rules.words import INT_MAX, number

MAX_FILE = 256 << 20  # bytes of a rule file


class CoreRules:
    """A set of rules in the core; the target that programs are encoded for."""

    def __init__(self) -> None:
        c = lib.mb_rules_new()
        if c == ffi.NULL:
            raise MemoryError("no memory for rules")
        self.c = ffi.gc(c, lib.mb_rules_free)
        self._error = ffi.new("char[]", lib.MB_ERRBUF_SIZE)
        self._addresses: dict[Ranges, int] = {}
        self._ports: dict[Ranges, int] = {}
        self._buffers: dict[BufferKey, int] = {}

    def addresses(self, ranges: Ranges) -> int:
        """The number of an address set."""
        known = self._addresses.get(ranges)
        if known is None:
            data = b"".join(end.to_bytes(16, "big") for pair in ranges for end in pair)
            pairs = ffi.from_buffer("struct mb_addr[]", data)
            known = self._check(lib.mb_rules_addresses(self.c, pairs, len(ranges)))
            self._addresses[ranges] = known
        return known

    def ports(self, ranges: Ranges) -> int:
        """The number of a port set."""
        known = self._ports.get(ranges)
        if known is None:
            data = struct.pack(f"={2 * len(ranges)}H", *(end for pair in ranges for end in pair))
            pairs = ffi.from_buffer("uint16_t[]", data)
            known = self._check(lib.mb_rules_ports(self.c, pairs, len(ranges)))
            self._ports[ranges] = known
        return known

    def buffer(self, key: BufferKey) -> int:
        """The number of a buffer."""
        known = self._buffers.get(key)
        if known is None:
            base, transforms = key
            code = lib.mb_rules_buffer(self.c, base, bytes(transforms), len(transforms))
            known = self._check(code)
            self._buffers[key] = known
        return known

    def add(self, program: bytes) -> None:
        """Takes one rule. RuleError if the core cannot."""
        code = lib.mb_rules_add(self.c, program, len(program), self._error)
        if code < 0:
            raise RuleError(self._sentence())

    def build(self) -> None:
        """Compiles the patterns; nothing can be added afterwards."""
        if lib.mb_rules_build(self.c, self._error) < 0:
            raise RuleError(self._sentence())

    def _sentence(self) -> str:
        return str(ffi.string(self._error).decode("utf-8", "replace"))

    @staticmethod
    def _check(code: int) -> int:
        if code < 0:
            raise RuleError(ffi.string(lib.mb_error_text(code)).decode())
        return code


@dataclass
class Loaded:
    """What became of some rule files."""

    rules: CoreRules
    count: int = 0
    flow_bits: int = 0
    errors: list[Problem] = field(default_factory=list)
    """Rules that are wrong."""
    unsupported: list[Problem] = field(default_factory=list)
    """The first rule that asked for each thing that is not known here."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many rules asked for each of those things."""
    notes: list[Problem] = field(default_factory=list)
    """What is odd but does not matter."""
    across_flows: list[str] = field(default_factory=list)
    """Rules that remember things across flows, but for thresholds: rates and host bits."""

    @property
    def skipped(self) -> int:
        """How many rules were left out."""
        return len(self.errors) + sum(self.left_out.values())


@dataclass(slots=True)
class _Entry:
    """A compiled rule and where it came from."""

    draft: Draft
    file: str
    source: Source
    index: int


class Loader:
    """Loads rule files: one use, one set."""

    def __init__(
        self,
        variables: Mapping[str, str],
        classes: Classification,
        adjustments: Sequence[Adjustment] = (),
        action_order: Sequence[str] = ("pass", "drop", "reject", "alert"),
    ) -> None:
        self.compiler = Compiler(variables, classes)
        self.adjustments = adjustments
        self.action_rank = {ACTIONS[name]: rank for rank, name in enumerate(action_order)}

    def load(self, files: Iterable[Path]) -> Loaded:
        """All rules of the files, built. Mistakes are in the result, not raised."""
        with _no_collections():
            return self._load(files)

    def _load(self, files: Iterable[Path]) -> Loaded:
        loaded = Loaded(CoreRules())
        entries: dict[tuple[int, int], _Entry] = {}
        for file in files:
            self._read(file, entries, loaded)
        for entry in sorted(entries.values(), key=self._rank):
            try:
                self._adjust(entry.draft, loaded.rules)
                loaded.rules.add(encode(entry.draft.program, loaded.rules))
                loaded.count += 1
                if _remembers(entry.draft.program):
                    loaded.across_flows.append(_number(entry.draft.program))
            except RuleError as error:
                loaded.errors.append(_problem(entry.file, entry.source, error))
        loaded.flow_bits = len(self.compiler.names.flowbits)
        loaded.rules.build()
        return loaded

    def _read(self, file: Path, entries: dict[tuple[int, int], _Entry], loaded: Loaded) -> None:
        if file.stat().st_size > MAX_FILE:
            raise RuleError(f"{file} has more than {MAX_FILE} bytes")
        name = str(file)
        for source in logical_lines(file.read_text("latin-1")):
            try:
                draft = self.compiler.compile(parse_rule(source.text))
            except UnsupportedError as error:
                if not loaded.left_out[error.what]:
                    loaded.unsupported.append(_problem(name, source, error))
                loaded.left_out[error.what] += 1
            except RuleError as error:
                loaded.errors.append(_problem(name, source, error))
            else:
                self._keep(_Entry(draft, name, source, len(entries)), entries, loaded)

    @staticmethod
    def _keep(entry: _Entry, entries: dict[tuple[int, int], _Entry], loaded: Loaded) -> None:
        """Of two rules with the same number the one with the higher rev counts."""
        program = entry.draft.program
        key = program.gid, program.sid
        other = entries.get(key)
        if other is not None:
            text = f"rule {program.gid}:{program.sid} is there twice, the higher rev counts"
            loaded.notes.append(_problem(entry.file, entry.source, RuleError(text)))
            if other.draft.program.rev >= program.rev:
                return
        entries[key] = entry

    def _rank(self, entry: _Entry) -> tuple[int, int, int, int, int]:
        """The order of evaluation: action, who sets bits before who reads them, priority."""
        draft = entry.draft
        flow = _bit_rank(draft.sets_bits, draft.reads_bits)
        host = _bit_rank(draft.sets_hostbits, draft.reads_hostbits)
        program = draft.program
        return self.action_rank[program.action], flow, host, program.severity, entry.index

    # -- thresholds from a file

    def _adjust(self, draft: Draft, rules: CoreRules) -> None:
        program = draft.program
        for adjustment in self.adjustments:
            if not adjustment.applies_to(program.gid, program.sid):
                continue
            try:
                op = self._adjustment(adjustment, rules)
            except RuleError as error:
                raise RuleError(f"{adjustment.file}:{adjustment.line}: {error.message}") from None
            if adjustment.kind in ("threshold", "event_filter"):
                program.after = [o for o in program.after if o.type != lib.MB_OP_THRESHOLD]
            program.after.append(op)

    def _adjustment(self, adjustment: Adjustment, rules: CoreRules) -> Op:
        arguments = dict(adjustment.arguments)
        if adjustment.kind == "suppress":
            return self._suppress(arguments, rules)
        if adjustment.kind == "rate_filter":
            return _rate_filter(arguments)
        if arguments.get("type") not in THRESHOLDS:
            raise RuleError("a threshold has type limit, threshold or both")
        return threshold_op(arguments)

    def _suppress(self, arguments: Mapping[str, str], rules: CoreRules) -> Op:
        if "track" not in arguments:
            return Op(lib.MB_OP_SUPPRESS, d=lib.MB_TRACK_RULE)
        if arguments["track"] not in ("by_src", "by_dst", "by_either") or "ip" not in arguments:
            raise RuleError("suppress has track by_src|by_dst|by_either and ip")
        ranges = self.compiler.addresses.parse(arguments["ip"])
        return Op(lib.MB_OP_SUPPRESS, rules.addresses(ranges), d=TRACKS[arguments["track"]])


@contextmanager
def _no_collections() -> Iterator[None]:
    """Thousands of rules and no garbage: looking for it takes half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


_HOSTBITS = {lib.MB_OP_HOSTBITS, lib.MB_OP_SET_HOSTBITS}


def _number(program: Program) -> str:
    return f"{program.gid}:{program.sid}"


def _remembers(program: Program) -> bool:
    """Whether what the rule does to one flow depends on others."""
    return any(
        op.type in _HOSTBITS or (op.type == lib.MB_OP_THRESHOLD and op.a == lib.MB_THRESHOLD_RATE)
        for op in (*program.before, *program.after)
    )


def _rate_filter(arguments: Mapping[str, str]) -> Op:
    if arguments.get("track") not in TRACKS or arguments.get("new_action") not in ACTIONS:
        raise RuleError("rate_filter has track, count, seconds, new_action and timeout")
    return Op(
        lib.MB_OP_THRESHOLD,
        lib.MB_THRESHOLD_RATE,
        number(arguments.get("count", ""), 1, INT_MAX),
        number(arguments.get("seconds", ""), 1, INT_MAX),
        TRACKS[arguments["track"]],
        y=ACTIONS[arguments["new_action"]],
        data=struct.pack("=I", number(arguments.get("timeout", "0"), 0, INT_MAX)),
    )


def _bit_rank(sets: bool, reads: bool) -> int:
    """Rules that only set bits first, then those that set and read, that read, all others."""
    return {(True, False): 0, (True, True): 1, (False, True): 2, (False, False): 3}[sets, reads]


def _problem(file: str, source: Source, error: RuleError) -> Problem:
    line, column = source.place(error.where)
    what = error.what if isinstance(error, UnsupportedError) else ""
    return Problem(file, line, column, error.message, what)


def detect_config(**fields: Any) -> Any:
    """A struct mb_detect_config with some fields set."""
    config = ffi.new("struct mb_detect_config *")
    lib.mb_detect_config_init(config)
    for name, value in fields.items():
        setattr(config, name, value)
    return config
