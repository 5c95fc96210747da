# SPDX-License-Identifier: BSD-3-Clause
"""Keywords that look at the packet or its flow, and at bits and thresholds."""

from __future__ import annotations

import re

from mosbox._core import lib
from mosbox.rules.draft import Draft, Names, keyword
from mosbox.rules.errors import RuleError, UnsupportedError
from mosbox.rules.parser import Option
from mosbox.rules.program import Op, numbers
from mosbox.rules.words import INT_MAX, number, number_range, words

_RANGES = {
    # keyword: operation, largest value, needs a packet of its own
    "ttl": (lib.MB_OP_TTL, 255, True),
    "itype": (lib.MB_OP_ITYPE, 255, True),
    "icode": (lib.MB_OP_ICODE, 255, True),
    "icmp_id": (lib.MB_OP_ICMP_ID, 65535, True),
    "icmp_seq": (lib.MB_OP_ICMP_SEQ, 65535, True),
    "id": (lib.MB_OP_IP_ID, 65535, True),
    "window": (lib.MB_OP_TCP_WINDOW, 65535, True),
    "tcp.window": (lib.MB_OP_TCP_WINDOW, 65535, True),
    "tcp.mss": (lib.MB_OP_TCP_MSS, 65535, True),
    "fragoffset": (lib.MB_OP_FRAG_OFFSET, 65535, True),
    "dsize": (lib.MB_OP_DSIZE, 65535, True),
    "tos": (lib.MB_OP_TOS, 255, True),
    "flow.age": (lib.MB_OP_FLOW_AGE, INT_MAX, False),
    "dns.rcode": (lib.MB_OP_DNS_RCODE, 65535, False),
    "dns.opcode": (lib.MB_OP_DNS_OPCODE, 15, False),
    "dns.rrtype": (lib.MB_OP_DNS_RRTYPE, 65535, False),
}
_TCP_FLAGS = dict(zip("FSRPAUCE", (1, 2, 4, 8, 16, 32, 128, 64), strict=True))
_MODES = {"": 0, "+": 1, "*": 2, "!": 3}
_FLAGS = re.compile(r"\s*([+*!]?)\s*([A-Za-z0-9]+)\s*([+*!]?)\s*(?:,\s*([A-Za-z0-9]+))?\s*")
_IP_OPTIONS = {
    "eol": 0, "nop": 1, "rr": 7, "ts": 68, "sec": 130, "lsrr": 131, "esec": 133, "cipso": 134,
    "satid": 136, "ssrr": 137, "rtralt": 148, "qs": 25, "any": -1,
}  # fmt: skip
_PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50,
    "ah": 51, "icmpv6": 58, "ospf": 89, "pim": 103, "sctp": 132,
}  # fmt: skip
_APPS = {
    "http": lib.MB_APP_HTTP,
    "http1": lib.MB_APP_HTTP,
    "tls": lib.MB_APP_TLS,
    "ssl": lib.MB_APP_TLS,
    "dns": lib.MB_APP_DNS,
    "ssh": lib.MB_APP_SSH,
    "failed": lib.MB_APP_NONE,
    "unknown": lib.MB_APP_UNKNOWN,
}
_TLS_VERSIONS = {"1.0": 0x301, "1.1": 0x302, "1.2": 0x303, "1.3": 0x304}
_COMMANDS = {
    "set": lib.MB_BIT_SET,
    "unset": lib.MB_BIT_UNSET,
    "toggle": lib.MB_BIT_TOGGLE,
    "isset": lib.MB_BIT_ISSET,
    "isnotset": lib.MB_BIT_ISNOTSET,
}
_TESTS = {lib.MB_BIT_ISSET, lib.MB_BIT_ISNOTSET}
TRACKS = {
    "by_src": lib.MB_TRACK_SRC,
    "by_dst": lib.MB_TRACK_DST,
    "by_both": lib.MB_TRACK_BOTH,
    "by_rule": lib.MB_TRACK_RULE,
    "by_either": lib.MB_TRACK_EITHER,
}
THRESHOLDS = {
    "limit": lib.MB_THRESHOLD_LIMIT,
    "threshold": lib.MB_THRESHOLD_THRESHOLD,
    "both": lib.MB_THRESHOLD_BOTH,
}
_XBIT_TRACKS = {
    "ip_src": lib.MB_TRACK_SRC,
    "ip_dst": lib.MB_TRACK_DST,
    "ip_pair": lib.MB_TRACK_BOTH,
}
_XBIT_SECONDS = 30
_HOSTBIT_SECONDS = 300


def _range(draft: Draft, value: str, option: Option) -> None:
    """A number in the packet, its flow or its message: N, !N, <N, <=N, >N, >=N or LOW<>HIGH."""
    kind, top, packet = _RANGES[option.name]
    low, high, negated = number_range(value, top)
    draft.program.before.append(Op(kind, low, high, flags=lib.MB_OPF_NOT if negated else 0))
    draft.packet_only |= packet
    if option.name.startswith("dns."):
        _of_app(draft, lib.MB_APP_DNS, option.name)


for _name in _RANGES:
    keyword(_name)(_range)


def _of_app(draft: Draft, app: int, what: str) -> None:
    if draft.program.app not in (lib.MB_APP_UNKNOWN, app):
        raise RuleError(f"{what} belongs to another protocol than the rule")
    draft.program.app = app


@keyword("flags", "tcp.flags")
def tcp_flags(draft: Draft, value: str, option: Option) -> None:
    """TCP flags of the packet."""
    draft.program.before.append(
        _flags(value, {**_TCP_FLAGS, "1": 128, "2": 64}, lib.MB_OP_TCP_FLAGS)
    )
    draft.packet_only = True


@keyword("fragbits")
def fragbits(draft: Draft, value: str, option: Option) -> None:
    """Fragmentation bits of the IPv4 header."""
    draft.program.before.append(_flags(value, {"M": 1, "D": 2, "R": 4}, lib.MB_OP_FRAGBITS))
    draft.packet_only = True


def _flags(value: str, letters: dict[str, int], kind: int) -> Op:
    found = _FLAGS.fullmatch(value)
    if found is None:
        raise RuleError(f"'{value}' is not flags")
    mode = found[1] or found[3]
    return Op(kind, _bits(found[2], letters), _bits(found[4] or "", letters), _MODES[mode])


def _bits(text: str, letters: dict[str, int]) -> int:
    bits = 0
    if text in ("0", "12") and text == "0":
        return 0
    for letter in text.upper():
        if letter not in letters:
            raise RuleError(f"flag '{letter}' is unknown")
        bits |= letters[letter]
    return bits


@keyword("seq", "tcp.seq", "ack", "tcp.ack")
def sequence(draft: Draft, value: str, option: Option) -> None:
    """Sequence or acknowledgement number."""
    wanted = number(value, 0, 0xFFFFFFFF)
    kind = lib.MB_OP_TCP_SEQ if option.name.endswith("seq") else lib.MB_OP_TCP_ACK
    draft.program.before.append(Op(kind, wanted - (1 << 32) if wanted > INT_MAX else wanted))
    draft.packet_only = True


@keyword("ipopts")
def ipopts(draft: Draft, value: str, option: Option) -> None:
    """An option of the IPv4 header."""
    if value.lower() not in _IP_OPTIONS:
        raise RuleError(f"IP option '{value}' is unknown")
    draft.program.before.append(Op(lib.MB_OP_IP_OPTION, _IP_OPTIONS[value.lower()]))
    draft.packet_only = True


@keyword("sameip")
def sameip(draft: Draft, value: str, option: Option) -> None:
    """Source and destination address are equal."""
    draft.program.before.append(Op(lib.MB_OP_SAME_IP))
    draft.packet_only = True


@keyword("ip_proto")
def ip_proto(draft: Draft, value: str, option: Option) -> None:
    """Protocol of the IP header."""
    sign = value[:1] if value[:1] in "!<>" else ""
    text = value[len(sign) :].strip().lower()
    wanted = _PROTOCOLS[text] if text in _PROTOCOLS else number(text, 0, 255)
    low, high, negated = number_range(f"{sign}{wanted}", 255)
    flags = lib.MB_OPF_NOT if negated else 0
    draft.program.before.append(Op(lib.MB_OP_IP_PROTO, low, high, flags=flags))


@keyword("flow")
def flow(draft: Draft, value: str, option: Option) -> None:
    """Direction and state of the flow."""
    state = 0
    for word in words(value.lower()):
        match word:
            case "to_server" | "from_client":
                draft.direction |= lib.MB_RULE_TO_SERVER
            case "to_client" | "from_server":
                draft.direction |= lib.MB_RULE_TO_CLIENT
            case "established":
                state |= lib.MB_FLOW_IS_ESTABLISHED
            case "not_established":
                state |= lib.MB_FLOW_IS_NOT_ESTABLISHED
            case "stateless":
                state |= lib.MB_FLOW_IS_STATELESS
            case "only_stream":
                draft.program.flags |= lib.MB_RULE_ONLY_STREAM
            case "no_stream":
                draft.program.flags |= lib.MB_RULE_ONLY_PACKET
            case "no_frag" | "only_frag":
                pass
            case _:
                raise RuleError(f"flow has no '{word}'")
    if state or draft.direction:
        draft.program.before.append(Op(lib.MB_OP_FLOW, state))


@keyword("app-layer-protocol")
def app_layer_protocol(draft: Draft, value: str, option: Option) -> None:
    """The protocol found in the bytes."""
    name = value.split(",")[0].strip().lower()
    negated = name.startswith("!")
    name = name.removeprefix("!").strip()
    app = _APPS.get(name)
    if app is None:
        raise UnsupportedError(f"protocol '{name}' is not recognised here", f"protocol {name}")
    flags = lib.MB_OPF_NOT if negated else 0
    draft.program.before.append(Op(lib.MB_OP_APP_PROTO, app, flags=flags))


@keyword("decode-event")
def decode_event(draft: Draft, value: str, option: Option) -> None:
    """Something odd that the decoder met."""
    event = lib.mb_decode_event_number(value.encode("ascii", "replace"))
    if event < 0:
        raise UnsupportedError(f"decode-event '{value}' is unknown", f"decode-event {value}")
    draft.program.before.append(Op(lib.MB_OP_DECODE_EVENT, event))


_STREAM_EVENTS = {
    "pkt_invalid_timestamp": lib.MB_ANOMALY_TCP_PAWS,
    "est_packet_out_of_window": lib.MB_ANOMALY_TCP_WINDOW,
    "est_pkt_before_last_ack": lib.MB_ANOMALY_TCP_WINDOW,
    "est_invalid_ack": lib.MB_ANOMALY_TCP_ACK,
    "pkt_invalid_ack": lib.MB_ANOMALY_TCP_ACK,
    "pkt_broken_ack": lib.MB_ANOMALY_TCP_ACK,
    "reassembly_overlap_different_data": lib.MB_ANOMALY_TCP_CONFLICT,
    "est_syn_resend_diff_seq": lib.MB_ANOMALY_TCP_SYN_CHALLENGE,
    "rst_invalid_ack": lib.MB_ANOMALY_TCP_RST_CHALLENGE,
}


@keyword("stream-event")
def stream_event(draft: Draft, value: str, option: Option) -> None:
    """Something odd that the TCP tracking met."""
    if value not in _STREAM_EVENTS:
        raise UnsupportedError(f"stream-event '{value}' is unknown", f"stream-event {value}")
    draft.program.before.append(Op(lib.MB_OP_STREAM_EVENT, _STREAM_EVENTS[value]))
    draft.packet_only = True


@keyword("tls.version", "ssl_version")
def tls_version(draft: Draft, value: str, option: Option) -> None:
    """Version of the TLS session."""
    text = value.strip('"').lower().removeprefix("tls").removeprefix("v")
    if text not in _TLS_VERSIONS:
        raise UnsupportedError(f"TLS version '{value}' is unknown", f"tls.version {value}")
    draft.program.before.append(Op(lib.MB_OP_TLS_VERSION, _TLS_VERSIONS[text]))
    _of_app(draft, lib.MB_APP_TLS, option.name)


@keyword("stream_size")
def stream_size(draft: Draft, value: str, option: Option) -> None:
    """Bytes a side has sent."""
    args = words(value)
    sides = {"client": 0, "server": 1, "both": 2, "either": 3}
    if len(args) != 3 or args[0] not in sides:
        raise RuleError("stream_size is: side, operator, bytes")
    low, high, negated = number_range(args[1].replace("!=", "!") + args[2])
    flags = lib.MB_OPF_NOT if negated else 0
    draft.program.before.append(Op(lib.MB_OP_STREAM_SIZE, low, high, sides[args[0]], flags=flags))
    draft.packet_only = True


@keyword("flowbits")
def flowbits(draft: Draft, value: str, option: Option) -> None:
    """Bits that rules leave on a flow for other rules."""
    command, _, names = value.partition(",")
    command = command.strip().lower()
    if command == "noalert":
        draft.program.flags |= lib.MB_RULE_NOALERT
        return
    if command not in _COMMANDS:
        raise RuleError(f"flowbits has no '{command}'")
    bits = [name.strip() for name in names.split("|")]
    if not all(bits) or any(" " in bit for bit in bits):
        raise RuleError("flowbits needs the name of a bit")
    code = _COMMANDS[command]
    table = draft.names.flowbits
    data = numbers([Names.number(table, bit) for bit in bits])
    if code in _TESTS:
        draft.reads_bits = True
        draft.program.before.append(Op(lib.MB_OP_FLOWBITS, code, data=data))
    elif len(bits) > 1:
        raise RuleError("only isset and isnotset take several bits")
    else:
        draft.sets_bits |= code != lib.MB_BIT_UNSET  # those that take bits away come last
        draft.program.after.append(Op(lib.MB_OP_SET_FLOWBITS, code, data=data))


def _add_hostbit(draft: Draft, command: str, name: str, track: int, seconds: int) -> None:
    if command not in _COMMANDS or not name:
        raise RuleError(f"'{command}' is no command for a bit")
    code = _COMMANDS[command]
    number_ = Names.number(draft.names.hostbits, name)
    if code in _TESTS:
        draft.reads_hostbits = True
        draft.program.before.append(Op(lib.MB_OP_HOSTBITS, code, number_, track, seconds))
    else:
        draft.sets_hostbits |= code != lib.MB_BIT_UNSET
        draft.program.after.append(Op(lib.MB_OP_SET_HOSTBITS, code, number_, track, seconds))


@keyword("hostbits")
def hostbits(draft: Draft, value: str, option: Option) -> None:
    """Bits that rules leave on an address."""
    args = words(value)
    if args[0] == "noalert":
        draft.program.flags |= lib.MB_RULE_NOALERT
        return
    tracks = {"src": lib.MB_TRACK_SRC, "dst": lib.MB_TRACK_DST, "both": lib.MB_TRACK_BOTH}
    side = args[2].lower() if len(args) > 2 else "src"
    if len(args) < 2 or side not in tracks:
        raise RuleError("hostbits is: command, name, src|dst|both")
    _add_hostbit(draft, args[0].lower(), "host:" + args[1], tracks[side], _HOSTBIT_SECONDS)


@keyword("xbits")
def xbits(draft: Draft, value: str, option: Option) -> None:
    """Bits that rules leave on an address or a pair of addresses."""
    args = words(value)
    if args[0] == "noalert":
        draft.program.flags |= lib.MB_RULE_NOALERT
        return
    track, seconds = None, _XBIT_SECONDS
    for word in args[2:]:
        name, _, rest = word.partition(" ")
        if name == "track" and rest.strip() in _XBIT_TRACKS:
            track = _XBIT_TRACKS[rest.strip()]
        elif name == "expire":
            seconds = number(rest.strip(), 1, INT_MAX)
        else:
            raise UnsupportedError(f"xbits has no '{word}'", f"xbits {word}")
    if track is None or len(args) < 2:
        raise RuleError("xbits is: command, name, track ip_src|ip_dst|ip_pair, expire seconds")
    _add_hostbit(draft, args[0].lower(), f"x{track}:{args[1]}", track, seconds)


def _threshold_arguments(value: str) -> dict[str, str]:
    out = {}
    for word in words(value):
        name, _, rest = word.partition(" ")
        out[name.lower()] = rest.strip().lower()
    return out


@keyword("threshold")
def threshold(draft: Draft, value: str, option: Option) -> None:
    """How often the rule alerts."""
    draft.program.after.append(threshold_op(_threshold_arguments(value)))


@keyword("detection_filter")
def detection_filter(draft: Draft, value: str, option: Option) -> None:
    """The rule alerts from a rate on."""
    draft.program.after.append(threshold_op({**_threshold_arguments(value), "type": "filter"}))


def threshold_op(args: dict[str, str]) -> Op:
    """A threshold from its named arguments."""
    kinds = {**THRESHOLDS, "filter": lib.MB_THRESHOLD_FILTER}
    if args.get("type") not in kinds or args.get("track") not in TRACKS:
        raise RuleError(
            "a threshold has type limit|threshold|both and track by_src|by_dst|by_rule|by_both"
        )
    count = number(args.get("count", ""), 1, INT_MAX)
    seconds = number(args.get("seconds", ""), 1, INT_MAX)
    return Op(lib.MB_OP_THRESHOLD, kinds[args["type"]], count, seconds, TRACKS[args["track"]])
