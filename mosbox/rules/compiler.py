# SPDX-License-Identifier: BSD-3-Clause
"""Rules into programs: options in, operations out, and what kind of rule it is."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mosbox._core import lib
from mosbox.rules import buffers, meta, packet, payload, ranges
from mosbox.rules.config import Classification
from mosbox.rules.draft import KEYWORDS, Draft, Names
from mosbox.rules.errors import RuleError, UnsupportedError
from mosbox.rules.parser import ACTIONS as WORDS
from mosbox.rules.parser import Rule
from mosbox.rules.program import Op, Program

__all__ = ["ACTIONS", "Compiler", "buffers", "meta", "packet", "payload"]

ACTIONS = {
    "pass": lib.MB_RULE_PASS,
    "drop": lib.MB_RULE_DROP,
    "reject": lib.MB_RULE_REJECT,
    "alert": lib.MB_RULE_ALERT,
}
_REJECTS = {"rejectdst": lib.MB_RULE_REJECT_DST, "rejectboth": lib.MB_RULE_REJECT_BOTH}
_ANY = 255
_TCP, _UDP = 6, 17
PROTOCOLS: dict[str, tuple[int, int, int, int]] = {
    # name: IP protocol, IP version, application, rule flags
    "ip": (_ANY, 0, 0, 0),
    "pkthdr": (_ANY, 0, 0, 0),
    "ip4": (_ANY, 4, 0, 0),
    "ipv4": (_ANY, 4, 0, 0),
    "ip6": (_ANY, 6, 0, 0),
    "ipv6": (_ANY, 6, 0, 0),
    "tcp": (_TCP, 0, 0, 0),
    "tcp-pkt": (_TCP, 0, 0, lib.MB_RULE_ONLY_PACKET),
    "tcp-stream": (_TCP, 0, 0, lib.MB_RULE_ONLY_STREAM),
    "udp": (_UDP, 0, 0, 0),
    "icmp": (1, 0, 0, 0),
    "icmpv4": (1, 4, 0, 0),
    "icmpv6": (58, 6, 0, 0),
    "sctp": (132, 0, 0, 0),
    "http": (_TCP, 0, lib.MB_APP_HTTP, 0),
    "http1": (_TCP, 0, lib.MB_APP_HTTP, 0),
    "tls": (_TCP, 0, lib.MB_APP_TLS, 0),
    "ssl": (_TCP, 0, lib.MB_APP_TLS, 0),
    "dns": (_ANY, 0, lib.MB_APP_DNS, 0),
    "ssh": (_TCP, 0, lib.MB_APP_SSH, 0),
}
_BOTH = lib.MB_RULE_TO_SERVER | lib.MB_RULE_TO_CLIENT
_TX_OPS = {lib.MB_OP_DNS_OPCODE, lib.MB_OP_DNS_RCODE, lib.MB_OP_DNS_RRTYPE, lib.MB_OP_TLS_VERSION}
_HEADER_BUFFERS = range(lib.MB_BUF_IPV4_HDR, lib.MB_BUF_ICMPV6_HDR + 1)
_PLACED = lib.MB_OPF_OFFSET | lib.MB_OPF_DEPTH
_WITHOUT_VALUE = ""


class Compiler:
    """Compiles the rules of one set; names and variables are shared by all."""

    def __init__(self, variables: Mapping[str, str], classes: Classification) -> None:
        self.addresses = ranges.addresses(variables)
        self.ports = ranges.ports(variables)
        self.classes = classes
        self.names = Names()

    def compile(self, rule: Rule) -> Draft:
        """The draft of a rule, its program complete. RuleError, UnsupportedError."""
        draft = Draft(rule, self.names)
        self._header(draft)
        for option in rule.options:
            handler = KEYWORDS.get(option.name)
            if handler is None:
                raise UnsupportedError(
                    f"keyword '{option.name}' is unknown", option.name, option.where
                )
            try:
                handler(draft, _WITHOUT_VALUE if option.value is None else option.value, option)
            except RuleError as error:
                if error.where is None:
                    error.where = option.where
                raise
        if not draft.program.sid:
            raise RuleError("the rule has no sid")
        self._finish(draft)
        return draft

    def _header(self, draft: Draft) -> None:
        rule, program = draft.rule, draft.program
        known = PROTOCOLS.get(rule.proto)
        if known is None:
            raise UnsupportedError(
                f"protocol '{rule.proto}' is not known",
                f"protocol {rule.proto}",
                rule.columns.get("proto"),
            )
        program.ip_proto, program.ip_version, program.app, program.flags = known
        program.action = ACTIONS[WORDS[rule.action]]
        program.flags |= _REJECTS.get(rule.action, 0)
        if rule.direction == "<>":
            program.flags |= lib.MB_RULE_BOTH_WAYS
        program.src = self._set("src", rule.src, rule, self.addresses)
        program.dst = self._set("dst", rule.dst, rule, self.addresses)
        program.sport = self._set("sport", rule.sport, rule, self.ports)
        program.dport = self._set("dport", rule.dport, rule, self.ports)

    @staticmethod
    def _set(name: str, text: str, rule: Rule, parser: ranges.Expressions) -> ranges.Ranges | None:
        if text == "any":
            return None
        try:
            found = parser.parse(text)
        except RuleError as error:
            raise RuleError(error.message, rule.columns.get(name)) from None
        return None if found == ((0, parser.top),) else found

    def _finish(self, draft: Draft) -> None:
        program = draft.program
        self._direction(draft)
        severity, category = self.classes.look_up(draft.classtype)
        program.severity = draft.priority if draft.priority is not None else severity
        program.category = category
        if draft.metadata:
            program.metadata = json.dumps(draft.metadata, separators=(",", ":"))
        self._check_packet_ops(draft)
        program.kind = _kind(draft)
        if program.kind == lib.MB_RULE_STREAM and _needs_packet(program):
            program.flags |= lib.MB_RULE_NEEDS_PACKET
        _choose_fast_pattern(draft)

    @staticmethod
    def _direction(draft: Draft) -> None:
        wanted = draft.direction or _BOTH
        both = wanted & draft.buffer_direction
        if not both:
            raise RuleError("the rule's flow direction and its buffers exclude each other")
        draft.program.flags |= both

    @staticmethod
    def _check_packet_ops(draft: Draft) -> None:
        program = draft.program
        if draft.packet_only and lib.MB_BUF_PAYLOAD in (key[0] for key in program.inspections):
            program.flags |= lib.MB_RULE_ONLY_PACKET
        clash = lib.MB_RULE_ONLY_PACKET | lib.MB_RULE_ONLY_STREAM
        if program.flags & clash == clash:
            raise RuleError("the rule asks for single packets and for the stream")


def _needs_packet(program: Program) -> bool:
    """Whether single segments are looked at beside the stream: a place in the payload is given."""
    chain = program.inspections.get((lib.MB_BUF_PAYLOAD, ()), [])
    return any(op.type == lib.MB_OP_CONTENT and op.flags & _PLACED for op in chain)


def _kind(draft: Draft) -> int:
    """Which of the kinds of enum mb_rule_kind a rule is."""
    program = draft.program
    kinds = {op.type for op in program.before}
    inspected = {key[0] for key in program.inspections}
    if lib.MB_OP_DECODE_EVENT in kinds or draft.rule.proto == "pkthdr":
        return int(lib.MB_RULE_DECODE)
    if (
        inspected - set(_HEADER_BUFFERS) - {lib.MB_BUF_PAYLOAD, lib.MB_BUF_BASE64}
        or kinds & _TX_OPS
    ):
        return int(lib.MB_RULE_TX)
    if draft.packet_only:
        return int(lib.MB_RULE_PACKET)
    if inspected:
        return int(lib.MB_RULE_STREAM)
    if program.app:
        return int(lib.MB_RULE_APP)
    if lib.MB_OP_APP_PROTO in kinds:
        return int(lib.MB_RULE_PROTO)
    return _without_bytes(draft, kinds)


def _without_bytes(draft: Draft, kinds: set[int]) -> int:
    """A rule about addresses, ports and bits: by flow direction or by packet."""
    program = draft.program
    by_packet = kinds - {lib.MB_OP_FLOWBITS, lib.MB_OP_HOSTBITS}
    ports = program.sport is not None or program.dport is not None
    if by_packet or ports or draft.direction:
        return int(lib.MB_RULE_PACKET)
    return int(lib.MB_RULE_IPONLY)


def _choose_fast_pattern(draft: Draft) -> None:
    """Marks the content that is looked for first: as told, else the longest, buffers first."""
    op = draft.fast
    if op is None or op.flags & lib.MB_OPF_NOT:
        op = _best_pattern(draft.program)
    if op is not None:
        op.flags |= lib.MB_OPF_FAST


def _best_pattern(program: Program) -> Op | None:
    best: Op | None = None
    best_score = (False, 0)
    for (base, _), chain in program.inspections.items():
        if base == lib.MB_BUF_BASE64 or base in _HEADER_BUFFERS:
            continue
        for op in chain:
            if op.type != lib.MB_OP_CONTENT or op.flags & lib.MB_OPF_NOT:
                continue
            score = (base != lib.MB_BUF_PAYLOAD, len(op.data))
            if score > best_score:
                best, best_score = op, score
    return best
