# SPDX-License-Identifier: BSD-3-Clause
"""events -- what the callbacks of an app are given.

Every object here is a view of memory of the core: nothing is copied until an
attribute is read, and nothing outlives its time. A flow can be used from its
flow_start until its flow_end has been handled, all else until the method that
got it returns; used later, it raises. To keep something, keep a `copy()`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

from mosbox._core import ffi, lib
from mosbox.engine import NS, MosboxError, check

if TYPE_CHECKING:
    from mosbox.dispatch import Session

__all__ = [
    "EVENTS",
    "Anomaly",
    "Body",
    "Data",
    "Dns",
    "DnsRecord",
    "Endpoint",
    "EndpointRecord",
    "EventKind",
    "Flow",
    "FlowRecord",
    "Gap",
    "Http",
    "IcmpError",
    "Packet",
    "Retransmit",
    "Ssh",
    "StateChange",
    "TlsCertificate",
    "TlsHello",
]

Bytes = bytes  # the name for annotations in classes that have a property `bytes`
SIDES: tuple[str, ...] = ("client", "server")
PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 58: "ICMPv6", 132: "SCTP"}


def _names(name_of: Callable[[int], Any], count: int) -> tuple[str, ...]:
    return tuple(ffi.string(name_of(i)).decode() for i in range(count))


TCP_STATES = _names(lib.mb_tcp_state_name, lib.MB_TCP_TIME_WAIT + 1)
END_REASONS = _names(lib.mb_end_reason_name, lib.MB_END_SHUTDOWN + 1)
ANOMALIES = _names(lib.mb_anomaly_name, lib.MB_ANOMALY_COUNT)


class _Gone:
    """Stands in for the memory of a view whose time is over: any use of it raises."""

    def __init__(self, what: str, keep: str) -> None:
        self.sentence = f"{what} was used after its time; {keep}"

    def __getattr__(self, name: str) -> NoReturn:
        raise MosboxError(lib.MB_ESTATE, self.sentence)


GONE_FLOW: Any = _Gone("a flow", "keep flow.id or flow.copy() beyond its flow_end")
GONE_RECORD: Any = _Gone("a record", "keep its copy() beyond the method that got it")

_MAX_TEXTS = 1 << 16
_texts: dict[Bytes, str] = {}  # the same addresses come again and again
_text_buffer = ffi.new("char[]", lib.MB_ADDR_TEXT)


def address_text(a: Any) -> str:
    """A struct mb_addr as text."""
    key = ffi.buffer(a.byte)[:]
    text = _texts.get(key)
    if text is None:
        if len(_texts) >= _MAX_TEXTS:
            _texts.clear()
        lib.mb_addr_text(ffi.addressof(a), _text_buffer)
        text = _texts[key] = ffi.string(_text_buffer).decode()
    return text


def _bytes(view: Any) -> bytes:
    """The bytes of a struct mb_view."""
    return bytes(ffi.buffer(view.data, view.len)) if view.len else b""


def _text(view: Any) -> str:
    """The same as text; bytes that are not UTF-8 show as \\xNN."""
    return _bytes(view).decode("utf-8", "backslashreplace")


def _list(view: Any) -> list[str]:
    """A name list of SSH: comma-separated."""
    return _text(view).split(",") if view.len else []


def protocol_name(number: int) -> str:
    """The name of an IP protocol, or its number as text."""
    return PROTOCOLS.get(number, str(number))


def application_name(number: int) -> str | None:
    """The name of an application protocol; None if it is not known (yet)."""
    if number <= lib.MB_APP_NONE:
        return None
    return str(ffi.string(lib.mb_app_proto_name(number)).decode())


# ---- flows


class EndpointRecord(NamedTuple):
    """A copy of an endpoint. The attributes are those of Endpoint."""

    ip: str
    port: int
    packets: int
    bytes: int
    payload: int
    state: str
    retransmits: int
    out_of_order: int
    missed: int


class FlowRecord(NamedTuple):
    """A copy of a flow. The attributes are those of Flow."""

    id: int
    proto: str
    client: EndpointRecord
    server: EndpointRecord
    start: float
    last: float
    duration: float
    packets: int
    bytes: int
    app_proto: str | None
    end_reason: str | None
    rtt: float | None
    vlan: int
    midstream: bool
    community_id: str
    stable_id: int


class Endpoint:
    """One end of a flow: its address, what it sent, and where its TCP stands."""

    __slots__ = ("_flow", "_side")

    def __init__(self, flow: Flow, side: int) -> None:
        self._flow = flow
        self._side = side

    @property
    def _c(self) -> Any:
        return self._flow._c.end[self._side]

    @property
    def ip(self) -> str:
        """IP address."""
        return address_text(self._flow._c.end[self._side].addr)

    @property
    def port(self) -> int:
        """Port; ICMP: see packet.sport and packet.dport."""
        port: int = self._flow._c.end[self._side].port
        return port

    @property
    def packets(self) -> int:
        """Packets it sent."""
        return int(self._c.packets)

    @property
    def bytes(self) -> int:
        """Bytes it sent, whole frames."""
        return int(self._c.bytes)

    @property
    def payload(self) -> int:
        """TCP: bytes of its stream delivered in order so far, lost ones counted in."""
        return int(self._c.next)

    @property
    def state(self) -> str:
        """TCP state, "ESTABLISHED" say; "CLOSED" for other protocols."""
        return TCP_STATES[int(self._c.state)]

    @property
    def retransmits(self) -> int:
        """Segments with bytes it had sent before."""
        return int(self._c.retransmits)

    @property
    def out_of_order(self) -> int:
        """Segments that arrived before their turn."""
        return int(self._c.out_of_order)

    @property
    def missed(self) -> int:
        """Bytes of its stream that the capture does not hold."""
        return int(self._c.missed)

    @property
    def tcp_flags(self) -> int:
        """All TCP flags it ever sent, as bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32."""
        return int(self._c.tcp_flags)

    @property
    def isn(self) -> int | None:
        """TCP: initial sequence number, None if its SYN was not seen."""
        return int(self._c.isn) if self._c.flags & lib.MB_SIDE_ISN else None

    @property
    def mss(self) -> int | None:
        """TCP: maximum segment size it announced."""
        return int(self._c.mss) or None

    @property
    def ttl(self) -> int:
        """TTL or hop limit of its first packet."""
        return int(self._c.ttl)

    def copy(self) -> EndpointRecord:
        """A plain copy that can be kept."""
        return EndpointRecord._make(getattr(self, name) for name in EndpointRecord._fields)

    def __str__(self) -> str:
        ip = self.ip
        return f"[{ip}]:{self.port}" if ":" in ip else f"{ip}:{self.port}"


class Flow:
    """A conversation of two endpoints, from its flow_start until its flow_end.

    The same object may be kept in that time, in a dict of the app say. `data`
    is a place for what the app wants to remember about the flow.
    """

    __slots__ = ("_c", "_data", "_handle", "_listeners", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._c: Any = GONE_FLOW
        self._data: Any = None
        self._handle: Any = None  # set once the flow has to be told of its end
        self._listeners: dict[str, Any] | None = None

    # -- what it is

    @property
    def id(self) -> int:
        """Number of the flow, which rises in order of appearance: 8 times the number of the
        packet that began it, and a little more for what is inside a tunnel."""
        return int(self._c.id)

    @property
    def ip_proto(self) -> int:
        """IP protocol number: 6 TCP, 17 UDP, 1 ICMP."""
        return int(self._c.ip_proto)

    @property
    def proto(self) -> str:
        """Name of the IP protocol, "TCP" say; the number as text if it has none."""
        return protocol_name(self._c.ip_proto)

    @property
    def client(self) -> Endpoint:
        """The end that opened the flow."""
        return Endpoint(self, 0)

    @property
    def server(self) -> Endpoint:
        """The other end."""
        return Endpoint(self, 1)

    def end(self, side: str) -> Endpoint:
        """The endpoint of a side: "client" or "server"."""
        return Endpoint(self, SIDES.index(side))

    # -- what went on

    @property
    def start(self) -> float:
        """Time of the first packet, seconds since 1970."""
        return float(self._c.first_ts / NS)

    @property
    def last(self) -> float:
        """Time of the newest packet, seconds since 1970."""
        return float(self._c.last_ts / NS)

    @property
    def duration(self) -> float:
        """Seconds from the first packet to the newest."""
        return float((self._c.last_ts - self._c.first_ts) / NS)

    @property
    def packets(self) -> int:
        """Packets of both sides."""
        end = self._c.end
        return int(end[0].packets + end[1].packets)

    @property
    def bytes(self) -> int:
        """Bytes of both sides, whole frames."""
        end = self._c.end
        return int(end[0].bytes + end[1].bytes)

    @property
    def app_proto(self) -> str | None:
        """Application protocol found in the bytes: "http", "tls", "dns", "ssh"; None: unknown."""
        return application_name(self._c.app_proto)

    @property
    def end_reason(self) -> str | None:
        """Why it ended: fin, rst, refused, timeout, reused, evicted or shutdown; None: it lives."""
        reason = self._c.end_reason
        return END_REASONS[int(reason)] if reason else None

    @property
    def rtt(self) -> float | None:
        """TCP: round-trip time of the handshake in seconds, None if it was not seen."""
        c = self._c
        return (c.rtt_server + c.rtt_client) / 1e6 if c.rtt_server or c.rtt_client else None

    @property
    def rtt_server(self) -> float | None:
        """TCP: seconds from SYN to SYN/ACK: from the tap to the server and back."""
        return self._c.rtt_server / 1e6 or None

    @property
    def rtt_client(self) -> float | None:
        """TCP: seconds from SYN/ACK to ACK: from the tap to the client and back."""
        return self._c.rtt_client / 1e6 or None

    @property
    def anomalies(self) -> int:
        """How many odd segments it had; listen to on_anomaly for which."""
        return int(self._c.anomalies)

    @property
    def vlan(self) -> int:
        """Outermost VLAN id of its first packet, 0 if none."""
        return int(self._c.vlan)

    @property
    def tunnel_id(self) -> int:
        """VNI, TEID or GRE key if tunnels are part of the flow key (--tunnel-key), else 0."""
        return int(self._c.tunnel_id)

    @property
    def midstream(self) -> bool:
        """Whether its beginning was not seen."""
        return bool(self._c.flags & lib.MB_FLOW_MIDSTREAM)

    @property
    def answered(self) -> bool:
        """Whether both sides sent packets."""
        return bool(self._c.flags & lib.MB_FLOW_ANSWERED)

    @property
    def dropped(self) -> bool:
        """Whether drop() was called on it."""
        return bool(self._c.flags & lib.MB_FLOW_DROP)

    @property
    def ending(self) -> bool:
        """Whether it is at its end: none of its packets is on its way, a drop() comes too late."""
        return bool(self._c.flags & lib.MB_FLOW_ENDING)

    @property
    def community_id(self) -> str:
        """Community ID v1 with seed 0, "1:..."."""
        text = ffi.new("char[32]")
        length = lib.mb_flow_community_id(self._alive(), text)
        return str(ffi.unpack(text, length).decode())

    @property
    def stable_id(self) -> int:
        """A number that is the same in every run: flow_id in the records."""
        return int(lib.mb_flow_stable_id(self._alive()))

    # -- what the app wants

    @property
    def data(self) -> Any:
        """What the app put here, None at first. Dropped when the flow ends."""
        self._alive()
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        self._session.keep(self)
        self._data = value

    def drop(self) -> None:
        """Do not pass on this packet and all that follow of the flow."""
        lib.mb_flow_drop(self._session.current_event(self))

    def ignore(self) -> None:
        """No more events of this flow, but flow_end."""
        check(lib.mb_ignore(self._session.monitor, self._alive()))

    def forget(self) -> None:
        """End the flow after this packet: later packets of it start a new one."""
        check(lib.mb_flow_forget(self._session.engine.c, self._alive()))

    def on(self, event: str, call: Callable[..., object]) -> None:
        """Listen to an event of this flow alone; takes the place of the on_ method."""
        self._session.listen(self, event, call)

    def off(self, event: str) -> None:
        """Do not listen to an event of this flow any more."""
        self._session.unlisten(self, event)

    def after(self, seconds: float, call: Callable[[Flow], object]) -> int:
        """Call with this flow in so many seconds of packet time, if it lives then."""
        return self._session.flow_timer(self, seconds, call)

    def peek(self, side: str, offset: int, length: int) -> Bytes:
        """What a side sent from `offset` on, as far as it is kept (see App.history).

        Nothing where there is none; reading takes nothing out.
        """
        if not 0 <= offset < 1 << 64 or length <= 0:
            return b""
        return _peek(self._alive(), SIDES.index(side), offset, length)

    def stream(self, side: str, offset: int) -> memoryview | None:
        """All bytes a side sent from `offset` to the last in order, where they lie: not to be kept.

        None if the offset is older than what is kept (see App.history).
        """
        length = ffi.new("size_t *")
        start = lib.mb_stream_view(self._alive(), SIDES.index(side), offset, length)
        if start == ffi.NULL:
            return None
        return self._session.lend(ffi.buffer(start, length[0]) if length[0] else b"")

    def stop_stream(self, side: str) -> None:
        """Do not put together what a side sends any more; its buffers are given back."""
        check(lib.mb_stream_off(self._alive(), SIDES.index(side)))

    def copy(self) -> FlowRecord:
        """A plain copy that can be kept."""
        parts = (getattr(self, name) for name in FlowRecord._fields)
        return FlowRecord._make(p.copy() if isinstance(p, Endpoint) else p for p in parts)

    def _alive(self) -> Any:
        c = self._c
        c.id  # noqa: B018  raises if the flow is over
        return c

    def __str__(self) -> str:
        return f"{self.proto} {self.client} -> {self.server}"

    def __repr__(self) -> str:
        return "<Flow, over>" if self._c is GONE_FLOW else f"<Flow {self.id} {self}>"


# ---- records


def _peek(flow: Any, side: int, offset: int, length: int) -> Bytes:
    buffer = ffi.new("uint8_t[]", length)
    return bytes(ffi.buffer(buffer, lib.mb_stream_peek(flow, side, offset, buffer, length)))


class Record:
    """A view that can be used until the method that got it returns."""

    __slots__ = ("_c", "_session")

    # Finds the memory that the view shows in a struct mb_event; None: it is the event.
    _find: ClassVar[Any] = None

    def __init__(self, session: Session) -> None:
        self._session = session
        self._c: Any = GONE_RECORD

    def copy(self) -> dict[str, Any]:
        """A dict of all attributes, which can be kept."""
        return {name: getattr(self, name) for name in _attributes(type(self))}

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"<{name}, over>" if self._c is GONE_RECORD else f"<{name} {self.copy()}>"


def _attributes(view: type) -> list[str]:
    found = [name for base in reversed(view.__mro__) for name in vars(base)]
    return [n for n in found if n[0] != "_" and isinstance(getattr(view, n), property)]


class Packet(Record):
    """A decoded packet, tunnels taken off."""

    __slots__ = ()
    _find = attrgetter("packet")

    @property
    def number(self) -> int:
        """Number of its frame in the run, from 1."""
        return int(self._c.number)

    @property
    def time(self) -> float:
        """Capture time, seconds since 1970."""
        return float(self._c.ts / NS)

    @property
    def src(self) -> str:
        """Source address, "" if it is not IP."""
        return address_text(self._c.src) if self._c.flags & lib.MB_PKT_IP else ""

    @property
    def dst(self) -> str:
        """Destination address, "" if it is not IP."""
        return address_text(self._c.dst) if self._c.flags & lib.MB_PKT_IP else ""

    @property
    def sport(self) -> int:
        """Source port; ICMP echo: identifier; other ICMP: type."""
        return int(self._c.sport)

    @property
    def dport(self) -> int:
        """Destination port; ICMP echo: identifier; other ICMP: code."""
        return int(self._c.dport)

    @property
    def ip_proto(self) -> int:
        """IP protocol number."""
        return int(self._c.ip_proto)

    @property
    def proto(self) -> str:
        """Name of the IP protocol."""
        return protocol_name(self._c.ip_proto)

    @property
    def length(self) -> int:
        """Bytes of the frame on the wire."""
        return int(self._c.wire_len)

    @property
    def frame(self) -> bytes:
        """The frame as captured."""
        return bytes(ffi.buffer(self._c.frame, self._c.frame_len))

    @property
    def payload(self) -> bytes:
        """What follows the transport header, as captured."""
        c = self._c
        return bytes(ffi.buffer(c.net + c.payload_off, c.payload_len)) if c.payload_len else b""

    @property
    def ttl(self) -> int:
        """TTL or hop limit."""
        return int(self._c.ttl)

    @property
    def ip_id(self) -> int:
        """IPv4 identification."""
        return int(self._c.ip_id)

    @property
    def icmp_type(self) -> int:
        """ICMP or ICMPv6 type; 0 for other protocols."""
        return int(self._c.icmp_type)

    @property
    def tcp_flags(self) -> int:
        """TCP flags as bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32."""
        return int(self._c.tcp_flags)

    @property
    def seq(self) -> int:
        """TCP sequence number."""
        return int(self._c.seq)

    @property
    def ack(self) -> int:
        """TCP acknowledgement number."""
        return int(self._c.ack)

    @property
    def window(self) -> int:
        """TCP window field, not scaled."""
        return int(self._c.window)

    @property
    def vlan(self) -> int:
        """Outermost VLAN id, 0 if none."""
        return int(self._c.vlan[0]) if self._c.vlans else 0

    @property
    def tunnel_id(self) -> int:
        """Innermost VNI, TEID or GRE key, 0 if none."""
        return int(self._c.tunnel_id)

    def drop(self) -> None:
        """Do not pass this packet on."""
        self._c.number  # noqa: B018  raises if the packet is gone
        lib.mb_packet_drop(self._session.current_event())


class Sided(Record):
    """A record about what one side of a flow sent."""

    __slots__ = ()

    @property
    def side(self) -> str:
        """Who sent it: "client" or "server"."""
        return SIDES[int(self._c.side)]

    @property
    def time(self) -> float:
        """Packet time, seconds since 1970."""
        return float(self._c.ts / NS)


class Data(Sided):
    """Bytes of a stream in order (TCP), or a datagram's payload (UDP)."""

    __slots__ = ()

    @property
    def bytes(self) -> Bytes:
        """The bytes, as a copy."""
        return bytes(self.view)

    @property
    def view(self) -> memoryview:
        """The bytes where they lie, not copied: not to be kept."""
        c = self._c
        return self._session.lend(ffi.buffer(c.data, c.len) if c.len else b"")

    @property
    def offset(self) -> int:
        """Where in the side's stream the first byte is, from 0."""
        return int(self._c.offset)

    def __len__(self) -> int:
        return int(self._c.len)

    def copy(self) -> dict[str, Any]:
        """A dict of all attributes but `view`, which can be kept."""
        return {"side": self.side, "time": self.time, "offset": self.offset, "bytes": self.bytes}


class Retransmit(Data):
    """Bytes that a side sent again; those sent first can still be read (see App.history)."""

    __slots__ = ()

    @property
    def conflict(self) -> bool:
        """Whether the bytes differ from those sent before, as far as these are kept."""
        return bool(self._c.conflict)

    @property
    def old(self) -> Bytes:
        """The bytes that were sent before, as far as they are kept, from `offset` on."""
        c = self._c
        return _peek(c.flow, c.side, c.offset, len(self))


class Body(Data):
    """A piece of an HTTP body, chunking and compression undone."""

    __slots__ = ()


class Gap(Sided):
    """Bytes of a stream that the capture does not hold."""

    __slots__ = ()

    @property
    def offset(self) -> int:
        """Where in the side's stream the first lost byte is, from 0."""
        return int(self._c.offset)

    @property
    def length(self) -> int:
        """How many bytes were lost."""
        return int(self._c.len)


class StateChange(Sided):
    """A step of one end's TCP."""

    __slots__ = ()

    @property
    def old(self) -> str:
        """State it leaves, "SYN_SENT" say."""
        return TCP_STATES[int(self._c.old_state)]

    @property
    def new(self) -> str:
        """State it enters, "ESTABLISHED" say."""
        return TCP_STATES[int(self._c.new_state)]


class Anomaly(Sided):
    """Something odd in a packet or a stream."""

    __slots__ = ()

    @property
    def reason(self) -> str:
        """What it is: "tcp_conflict", "frag_overlap", "ipv4_truncated" ..."""
        return ANOMALIES[int(self._c.reason)]


class IcmpError(Sided):
    """An ICMP or ICMPv6 error about a packet of the flow. Anybody on the way can forge one."""

    __slots__ = ()

    @property
    def _record(self) -> Any:
        return ffi.cast("const struct mb_icmp_error *", self._c.record)

    @property
    def side(self) -> str:
        """Who sent the packet that it quotes: "client" or "server"."""
        return SIDES[int(self._c.side)]

    @property
    def reporter(self) -> str:
        """Address of who reports it: the other side, or a router."""
        return address_text(self._c.packet.src)

    @property
    def type(self) -> int:
        """ICMP or ICMPv6 type: 3 and 1 are destination unreachable."""
        return int(self._record.type)

    @property
    def code(self) -> int:
        """What of it."""
        return int(self._record.code)

    @property
    def mtu(self) -> int:
        """Packet too big: what the next hop takes, in bytes; 0: it does not say."""
        return int(self._record.mtu)

    @property
    def seq(self) -> int:
        """TCP: sequence number of the packet that it quotes."""
        return int(self._record.seq)

    @property
    def credible(self) -> bool:
        """Whether that packet can have been on its way just then (RFC 5927 4.1)."""
        return bool(self._record.credible)


class Http(Record):
    """An HTTP/1 request or response: its first line and headers."""

    __slots__ = ()

    @staticmethod
    def _find(event: Any) -> Any:
        return ffi.cast("const struct mb_http *", event.record)

    @property
    def method(self) -> str:
        """Request: method, "GET" say."""
        return _text(self._c.method)

    @property
    def target(self) -> str:
        """Request: target as on the wire."""
        return _text(self._c.target)

    @property
    def host(self) -> str:
        """Request: host of the target or of the Host field, without a port."""
        return _text(self._c.host)

    @property
    def path(self) -> str:
        """Request: the target without scheme and authority."""
        return _text(self._c.path)

    @property
    def version(self) -> str:
        """Version, "HTTP/1.1" say."""
        return _text(self._c.version)

    @property
    def status(self) -> int:
        """Response: status code; 0 in a request."""
        return int(self._c.status)

    @property
    def reason(self) -> str:
        """Response: reason phrase."""
        return _text(self._c.reason)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names and values in order."""
        c = self._c
        fields = (c.headers[i] for i in range(c.header_count))
        return [(_text(field.name), _text(field.value)) for field in fields]

    def header(self, name: str, default: str | None = None) -> str | None:
        """Value of the first header of that name, in any case of letters."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), default)

    @property
    def transaction(self) -> int:
        """Which request of the flow, from 0; the response has the same number."""
        return int(self._c.transaction)

    @property
    def content_length(self) -> int | None:
        """Length of the body as announced."""
        length = int(self._c.content_length)
        return length if length >= 0 else None

    @property
    def body_len(self) -> int:
        """At on_http_end: bytes of the body, decoded."""
        return int(self._c.body_len)

    @property
    def raw_headers(self) -> bytes:
        """The header block as on the wire."""
        return _bytes(self._c.raw_headers)


class TlsHello(Record):
    """A ClientHello or ServerHello of TLS."""

    __slots__ = ()

    @staticmethod
    def _find(event: Any) -> Any:
        return ffi.cast("const struct mb_tls_hello *", event.record)

    @property
    def side(self) -> str:
        """Whose hello it is: "client" or "server"."""
        return SIDES[int(self._c.server)]

    @property
    def sni(self) -> str:
        """Client: name of the server it wants, "" if it does not say."""
        return _text(self._c.sni)

    @property
    def alpn(self) -> list[str]:
        """Application protocols offered (client) or chosen (server): ["h2", "http/1.1"]."""
        wire, names = _bytes(self._c.alpn), []
        while wire:
            length = 1 + wire[0]
            names.append(wire[1:length].decode("utf-8", "backslashreplace"))
            wire = wire[length:]
        return names

    @property
    def version(self) -> int:
        """Version chosen, or the highest offered: 0x0303 is TLS 1.2, 0x0304 TLS 1.3."""
        return int(self._c.version)

    @property
    def ciphers(self) -> list[int]:
        """Cipher suites offered, or the one chosen."""
        return (
            list(ffi.unpack(self._c.ciphers, self._c.cipher_count)) if self._c.cipher_count else []
        )

    @property
    def extensions(self) -> list[int]:
        """Types of the extensions in order."""
        c = self._c
        return list(ffi.unpack(c.extensions, c.extension_count)) if c.extension_count else []

    @property
    def ja3(self) -> str:
        """JA3 fingerprint (client) or JA3S (server)."""
        return str(ffi.string(self._c.ja3).decode())

    @property
    def ja4(self) -> str:
        """Client: JA4 fingerprint."""
        return str(ffi.string(self._c.ja4).decode())


class TlsCertificate(Record):
    """The certificates of a TLS server, where they are sent in clear (before TLS 1.3)."""

    __slots__ = ()

    @staticmethod
    def _find(event: Any) -> Any:
        return ffi.cast("const struct mb_tls_certificate *", event.record)

    @property
    def subject(self) -> str:
        """Subject of the first, "C=..., O=..., CN=..."."""
        return _text(self._c.subject)

    @property
    def issuer(self) -> str:
        """Issuer of the first."""
        return _text(self._c.issuer)

    @property
    def serial(self) -> str:
        """Serial number of the first, hex with colons."""
        return _text(self._c.serial)

    @property
    def not_before(self) -> datetime:
        """When the first begins to be valid, UTC."""
        return datetime.fromtimestamp(self._c.not_before, UTC)

    @property
    def not_after(self) -> datetime:
        """When the first ends to be valid, UTC."""
        return datetime.fromtimestamp(self._c.not_after, UTC)

    @property
    def sha1(self) -> str:
        """SHA-1 fingerprint of the first, hex with colons."""
        return str(ffi.string(self._c.sha1).decode())

    @property
    def chain(self) -> list[bytes]:
        """The certificates in DER, the server's own first."""
        return [_bytes(self._c.chain[i]) for i in range(self._c.count)]


class DnsRecord(NamedTuple):
    """A question or resource record of a DNS message."""

    section: str  # "question", "answer", "authority" or "additional"
    name: str
    type: int
    ttl: int
    data: str | bytes  # A, AAAA, CNAME, NS, PTR, MX, TXT: text; others as on the wire


_DNS_SECTIONS = ("question", "answer", "authority", "additional")
_DNS_TEXT_TYPES = {1, 2, 5, 12, 15, 16, 28}


class Dns(Record):
    """A DNS message, over UDP or TCP."""

    __slots__ = ()

    @staticmethod
    def _find(event: Any) -> Any:
        return ffi.cast("const struct mb_dns *", event.record)

    @property
    def id(self) -> int:
        """Identifier that query and response share."""
        return int(self._c.id)

    @property
    def response(self) -> bool:
        """Whether it is a response."""
        return bool(self._c.response)

    @property
    def opcode(self) -> int:
        """Kind of query, 0: standard."""
        return int(self._c.opcode)

    @property
    def rcode(self) -> int:
        """Response code: 0 no error, 3 no such name."""
        return int(self._c.rcode)

    @property
    def name(self) -> str:
        """Name of the first question, "" if it has none."""
        c = self._c
        return _text(c.records[0].name) if c.record_count and c.records[0].section == 0 else ""

    @property
    def type(self) -> int:
        """Type of the first question: 1 A, 28 AAAA, 15 MX; 0 if it has none."""
        c = self._c
        return int(c.records[0].type) if c.record_count and c.records[0].section == 0 else 0

    @property
    def records(self) -> list[DnsRecord]:
        """Questions and records in the order of the message."""
        c = self._c
        return [_dns_record(c.records[i]) for i in range(c.record_count)]

    @property
    def answers(self) -> list[DnsRecord]:
        """The records of the answer section."""
        return [record for record in self.records if record.section == "answer"]

    @property
    def malformed(self) -> bool:
        """Whether the message ends early."""
        return bool(self._c.malformed)


def _dns_record(c: Any) -> DnsRecord:
    data = _text(c.rdata) if c.type in _DNS_TEXT_TYPES else _bytes(c.rdata)
    return DnsRecord(_DNS_SECTIONS[c.section], _text(c.name), c.type, c.ttl, data)


class Ssh(Sided):
    """An SSH identification line, or the lists of a key exchange."""

    __slots__ = ("_ssh",)

    @property
    def _record(self) -> Any:
        return ffi.cast("const struct mb_ssh *", self._c.record)

    @property
    def banner(self) -> str:
        """Identification line, "SSH-2.0-OpenSSH_9.2p1" say."""
        return _text(self._record.banner)

    @property
    def protocol(self) -> str:
        """Protocol version, "2.0"."""
        return _text(self._record.protocol)

    @property
    def software(self) -> str:
        """Software version, "OpenSSH_9.2p1" say."""
        return _text(self._record.software)

    @property
    def kex(self) -> list[str]:
        """Key exchange methods; empty in the event of the identification line."""
        return _list(self._record.kex)

    @property
    def host_keys(self) -> list[str]:
        """Host key algorithms."""
        return _list(self._record.host_keys)

    @property
    def ciphers(self) -> list[str]:
        """Ciphers from client to server."""
        return _list(self._record.ciphers_c2s)

    @property
    def hassh(self) -> str:
        """HASSH fingerprint (client) or HASSHServer; "" in the event of the identification line."""
        return str(ffi.string(self._record.hassh).decode())


# ---- which method gets what


class EventKind(NamedTuple):
    """A built-in event: its number, what its method is given, and what it means."""

    id: int
    flow: bool  # the method's first argument is the flow
    record: type[Record] | None
    argument: str  # name of the record argument
    help: str

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a method for the event is given, after self."""
        return (("flow",) if self.flow else ()) + ((self.argument,) if self.record else ())


def _kind(
    name: str, help: str, record: type[Record] | None = None, argument: str = "", flow: bool = True
) -> tuple[str, EventKind]:
    return name, EventKind(getattr(lib, "MB_EV_" + name.upper()), flow, record, argument, help)


EVENTS: dict[str, EventKind] = dict(
    [
        _kind("raw", "Every frame, before flows.", Packet, "packet", flow=False),
        _kind("packet", "Every packet of a flow.", Packet, "packet"),
        _kind("flow_start", "The first packet of a flow."),
        _kind("state_change", "TCP: one end changes its state.", StateChange, "change"),
        _kind("retransmit", "TCP: bytes are sent again.", Retransmit, "data"),
        _kind("data", "Bytes of a stream, in order, each once.", Data, "data"),
        _kind("urgent", "TCP: a byte sent out of band, if `urgent` is oob.", Data, "data"),
        _kind("gap", "Bytes of a stream are missing in the capture.", Gap, "gap"),
        _kind("icmp_error", "An ICMP error quotes a packet of the flow.", IcmpError, "error"),
        _kind("orphan", "A packet that belongs to no flow.", Packet, "packet", flow=False),
        _kind("anomaly", "Something odd; the flow may be None.", Anomaly, "anomaly"),
        _kind("flow_end", "The flow is over, see flow.end_reason. Once for every flow."),
        _kind("protocol", "flow.app_proto was found, or is None: no protocol that is known."),
        _kind("http_request", "Request line and headers are whole.", Http, "http"),
        _kind("http_response", "Status line and headers are whole.", Http, "http"),
        _kind("http_body", "A piece of a body, decoded.", Body, "body"),
        _kind("http_end", "A message is complete.", Http, "http"),
        _kind("tls_hello", "A ClientHello or ServerHello.", TlsHello, "hello"),
        _kind("tls_certificate", "A server's certificates.", TlsCertificate, "certificate"),
        _kind("dns", "A DNS message.", Dns, "dns"),
        _kind("ssh", "SSH identification line or key exchange.", Ssh, "ssh"),
    ]
)
