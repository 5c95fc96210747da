/* SPDX-License-Identifier: BSD-3-Clause */
/* mosbox -- packets in, flow events out: the one public interface of the C core
 *
 *   source --burst--> decode --> flow table --> TCP of both ends --> streams
 *                                     |               |                |
 *                                     +------ events (sets shared by flows) ------> callbacks
 *                                                                      |
 *                                                   protocol parsers, rules, outputs
 *
 * The region between the two marks is plain C without attributes or macros
 * other than integer constants: cffi reads it as it stands, the manual page
 * mosbox-api(7) is made from its comments, and C programs include it.
 *
 * Ownership. The engine owns all it hands out. Packet bytes, event contexts
 * and protocol records are valid until the callback returns; a flow from its
 * flow_start until its flow_end callback returns. To keep something, copy it.
 * Errors. Functions that can fail return 0 (or a count) or a negative code of
 * enum mb_error; constructors return NULL and fill an error buffer of
 * MB_ERRBUF_SIZE bytes (which may be NULL). Nothing exits or aborts.
 * Threads. An engine and all that belongs to it is used by one thread.
 * Byte order. Numbers are in host order unless a comment says otherwise.
 */
#ifndef MOSBOX_H
#define MOSBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* cffi: begin */

#define MB_ERRBUF_SIZE 512 /* bytes an error buffer must have */
#define MB_BURST 64        /* frames that are decoded together, at most */

/* ---- errors ------------------------------------------------------------- */

/* Every code the library returns; names and sentences come from
 * mb_error_name() and mb_error_text(). */
enum mb_error {
    MB_OK = 0,
    MB_ENOMEM = -1,     /* out of memory */
    MB_EINVAL = -2,     /* an argument makes no sense */
    MB_EIO = -3,        /* the system refused to read or write */
    MB_EFORMAT = -4,    /* a capture file is damaged or of no known kind */
    MB_ELINKTYPE = -5,  /* a link layer that is not decoded */
    MB_ESYNTAX = -6,    /* a filter, expression or pattern does not parse */
    MB_ELIMIT = -7,     /* a named limit is reached */
    MB_ENOTSUP = -8,    /* not available in this build or on this system */
    MB_ESTATE = -9,     /* called at a time when it cannot work */
    MB_ECALLBACK = -10, /* a callback failed and the run was stopped */
    MB_EPIPE = -11,     /* the reader of an output went away */
    MB_EPERM = -12,     /* not permitted */
    MB_ENOENT = -13     /* no such file, interface or registration */
};

/* Short name of an error code, such as "MB_EIO"; "MB_EUNKNOWN" for others. */
const char *mb_error_name(int code);
/* One sentence for an error code. Total: any number has one. */
const char *mb_error_text(int code);
/* Version of the library, "0.1.0". */
const char *mb_version(void);

/* ---- addresses ---------------------------------------------------------- */

#define MB_ADDR_TEXT 46 /* bytes that any address needs as text, NUL included */

/* An IPv4 (as ::ffff:a.b.c.d) or IPv6 address, network byte order. */
struct mb_addr {
    uint8_t byte[16];
};

/* Writes |a| as text (dotted quad if IPv4-mapped, RFC 5952 otherwise) and a
 * NUL to |text| of at least MB_ADDR_TEXT bytes; the length without NUL. */
size_t mb_addr_text(const struct mb_addr *a, char *text);
/* Reads an address. 0 or MB_ESYNTAX. */
int mb_addr_parse(const char *text, struct mb_addr *a);
/* Whether |a| is an IPv4 address. */
bool mb_addr_is_v4(const struct mb_addr *a);

/* ---- packets ------------------------------------------------------------ */

/* What a captured frame is before decoding. */
struct mb_frame {
    int64_t ts;          /* capture time, ns since 1970 */
    const uint8_t *data; /* link-layer header; borrowed until the burst is done */
    uint32_t caplen;     /* bytes captured */
    uint32_t wirelen;    /* bytes on the wire */
};

/* Flags of a decoded packet. */
enum mb_packet_flag {
    MB_PKT_IP = 1,           /* net, src, dst, ip_proto are valid */
    MB_PKT_IPV6 = 2,         /* net is an IPv6 header */
    MB_PKT_L4 = 4,           /* transport header is whole; ports are valid */
    MB_PKT_FRAGMENT = 8,     /* an IP fragment on its own: held, never given to a flow */
    MB_PKT_REASSEMBLED = 16, /* net points to a datagram put together from fragments */
    MB_PKT_TRUNCATED = 32,   /* the capture holds less than the IP length says */
    MB_PKT_BAD_IP_SUM = 64,  /* IPv4 header checksum is wrong */
    MB_PKT_BAD_L4_SUM = 128, /* TCP, UDP, ICMP or SCTP checksum is wrong */
    MB_PKT_TUNNELLED = 256,  /* at least one tunnel header was taken off */
    MB_PKT_HAS_INNER = 512,  /* a UDP datagram whose tunnelled content follows as a packet */
    MB_PKT_SUM_CHECKED = 1024, /* the checksums were looked at */
    MB_PKT_TTL_LOST = 2048,  /* its TTL does not take it to its host, see mb_engine_set_hops() */
    MB_PKT_DSACK = 4096      /* TCP: its first SACK block is of bytes that came twice (RFC 2883) */
};

/* TCP header flags, as in the header (RFC 9293 3.1, RFC 3168). */
#define MB_TCP_FIN 1
#define MB_TCP_SYN 2
#define MB_TCP_RST 4
#define MB_TCP_PSH 8
#define MB_TCP_ACK 16
#define MB_TCP_URG 32
#define MB_TCP_ECE 64
#define MB_TCP_CWR 128

/* A decoded packet: where its headers are, and the numbers every tool asks
 * for. A frame with UDP tunnels gives several, the outermost first. */
struct mb_packet {
    int64_t ts;             /* capture time, ns since 1970; never goes backward in a run: what is up to a minute
                             * early is held, behind a clock that was set back further times count on */
    const uint8_t *frame;   /* first captured byte (link-layer header) */
    const uint8_t *net;     /* IP header: in the frame, or in the defragmenter's buffer */
    uint64_t number;        /* of the frame in this run, from 1 */
    uint64_t anomalies;     /* all decode anomalies: bit n is enum mb_anomaly n */
    uint32_t frame_len;     /* bytes captured */
    uint32_t wire_len;      /* bytes on the wire */
    uint32_t net_len;       /* bytes readable from net, link padding left out */
    uint32_t ip_len;        /* length of the datagram as its IP header says */
    uint32_t l4_off;        /* transport header, bytes from net */
    uint32_t payload_off;   /* first payload byte, from net; past net_len if headers were cut off */
    uint32_t payload_len;   /* payload bytes readable */
    uint32_t hash;          /* keyed, equal in both directions of a flow */
    uint32_t flags;         /* of enum mb_packet_flag */
    uint32_t tunnel_id;     /* innermost VNI, TEID, GRE key or session; 0: none */
    struct mb_addr src;     /* network byte order */
    struct mb_addr dst;     /* network byte order */
    uint16_t sport;         /* TCP, UDP, SCTP; ICMP echo: identifier; other ICMP: type */
    uint16_t dport;         /* TCP, UDP, SCTP; ICMP echo: identifier; other ICMP: code */
    uint16_t window;        /* TCP: window field, not scaled */
    uint16_t urgent;        /* TCP: urgent pointer */
    uint32_t seq;           /* TCP: sequence number */
    uint32_t ack;           /* TCP: acknowledgement number */
    uint32_t net_off;       /* where net is in the frame; meaningless if reassembled */
    uint16_t vlan[2];       /* 802.1Q ids, outermost first */
    uint16_t link;          /* link-layer type of the frame (LINKTYPE_ number) */
    uint8_t vlans;          /* how many 802.1Q tags, 0 to 2 kept */
    uint8_t tunnels;        /* tunnel headers taken off */
    uint8_t icmp_type;      /* ICMP, ICMPv6 */
    uint8_t icmp_code;      /* ICMP, ICMPv6 */
    uint8_t anomaly;        /* first decode anomaly, enum mb_anomaly; 0: none */
    uint8_t source;         /* which source it came from, counted from 0 */
    uint16_t ip_id;         /* IPv4 identification; IPv6: low half of the fragment id */
    uint8_t ip_proto;       /* transport protocol, extension headers passed */
    uint8_t ttl;            /* TTL or hop limit */
    uint8_t tos;            /* DSCP and ECN byte */
    uint8_t tcp_flags;      /* TCP: MB_TCP_ bits */
};

/* Checksums. VERIFY looks at all of them and leaves bad packets out of flows.
 * IGNORE looks at IPv4 header checksums only, counts bad ones and goes on: to
 * read every payload byte for a transport checksum would cost more than all
 * else that is done to a packet. */
enum mb_checksums { MB_CHECKSUMS_IGNORE = 0, MB_CHECKSUMS_VERIFY = 1 };

/* Tunnels that can be taken off; bits of mb_config.decap. */
enum mb_tunnel {
    MB_TUNNEL_IPIP = 1,     /* IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, 2473, 4213) */
    MB_TUNNEL_GRE = 2,      /* RFC 2784, 2890; with transparent Ethernet; over UDP 4754 (RFC 8086) */
    MB_TUNNEL_VXLAN = 4,    /* RFC 7348, UDP 4789 */
    MB_TUNNEL_GENEVE = 8,   /* RFC 8926, UDP 6081 */
    MB_TUNNEL_GTPU = 16,    /* 3GPP TS 29.281, UDP 2152 */
    MB_TUNNEL_TEREDO = 32,  /* RFC 4380, UDP 3544 */
    MB_TUNNEL_ERSPAN = 64,  /* types I, II, III over GRE */
    MB_TUNNEL_AYIYA = 128,  /* draft-massar-v6ops-ayiya, UDP 5072 */
    MB_TUNNEL_DEFAULT = 255
};

/* Why a packet or a segment was found odd. Each has a counter in mb_stats
 * and, for who listens, an anomaly event. Names: mb_anomaly_name(). */
enum mb_anomaly {
    MB_ANOMALY_NONE = 0,
    /* link and network layer */
    MB_ANOMALY_LINK_TRUNCATED = 1,   /* frame ends inside a link-layer header */
    MB_ANOMALY_LINK_UNKNOWN = 2,     /* no decoder for this ethertype or link type */
    MB_ANOMALY_IPV4_TRUNCATED = 3,   /* frame ends inside the IPv4 header */
    MB_ANOMALY_IPV4_VERSION = 4,     /* version field is not 4 */
    MB_ANOMALY_IPV4_HLEN = 5,        /* header length below 20 or past the packet */
    MB_ANOMALY_IPV4_LEN = 6,         /* total length below the header length */
    MB_ANOMALY_IPV4_OPTIONS = 7,     /* an option runs past the header */
    MB_ANOMALY_IPV6_TRUNCATED = 8,   /* frame ends inside the IPv6 header */
    MB_ANOMALY_IPV6_VERSION = 9,     /* version field is not 6 */
    MB_ANOMALY_IPV6_EXT = 10,        /* extension header chain broken or too long */
    MB_ANOMALY_IP_SNAPPED = 11,      /* capture is shorter than the IP length */
    MB_ANOMALY_IP_SUM = 12,          /* wrong IPv4 header checksum */
    MB_ANOMALY_L4_SUM = 13,          /* wrong transport checksum */
    MB_ANOMALY_L4_TRUNCATED = 14,    /* datagram ends inside the transport header */
    MB_ANOMALY_TCP_HLEN = 15,        /* data offset below 20 or past the packet */
    MB_ANOMALY_TCP_OPTIONS = 16,     /* an option of length 0, 1 or past the header */
    MB_ANOMALY_TCP_FLAGS = 17,       /* SYN+FIN, SYN+RST, no flags, FIN+URG+PSH */
    MB_ANOMALY_UDP_LEN = 18,         /* UDP length does not fit */
    MB_ANOMALY_FRAG_OVERLAP = 19,    /* fragments overlap */
    MB_ANOMALY_FRAG_TOO_LARGE = 20,  /* a fragment reaches past 65,535 bytes */
    MB_ANOMALY_FRAG_TIMEOUT = 21,    /* a datagram was never completed */
    MB_ANOMALY_FRAG_LIMIT = 22,      /* no room for more fragments */
    MB_ANOMALY_TUNNEL_DEPTH = 23,    /* more tunnels in tunnels than allowed */
    MB_ANOMALY_TUNNEL_BAD = 24,      /* a tunnel header that makes no sense */
    /* TCP */
    MB_ANOMALY_TCP_WINDOW = 25,      /* data outside the receiver's window */
    MB_ANOMALY_TCP_PAWS = 26,        /* timestamp too old (RFC 7323 5) */
    MB_ANOMALY_TCP_RST_CHALLENGE = 27, /* RST not at the expected number (RFC 5961 3) */
    MB_ANOMALY_TCP_SYN_CHALLENGE = 28, /* SYN in a synchronised state (RFC 5961 4), or another SYN/ACK than the first */
    MB_ANOMALY_TCP_ACK = 29,         /* acknowledges what was never sent */
    MB_ANOMALY_TCP_NO_ACK = 30,      /* data without the ACK flag */
    MB_ANOMALY_TCP_CONFLICT = 31,    /* retransmission with other bytes */
    MB_ANOMALY_STREAM_LIMIT = 32,    /* out-of-order data over the limit was let go */
    MB_ANOMALY_FLOW_LIMIT = 33,      /* the flow table is full; the flow, if any, is ended for it */
    MB_ANOMALY_PROTO = 34,           /* a parser met bytes that its protocol does not allow */
    MB_ANOMALY_IPV6_LEN = 35,        /* IPv6 payload length 0 without jumbogram, or too long */
    MB_ANOMALY_IPV6_EXT_TRUNCATED = 36, /* packet ends inside or right after an extension header */
    MB_ANOMALY_IPV6_EXT_DUPLICATE = 37, /* a second fragment header */
    MB_ANOMALY_IPV6_OPTION = 38,     /* unknown option in a destination or hop-by-hop header */
    MB_ANOMALY_FRAG_USELESS = 39,    /* a fragment header on a whole datagram (RFC 6946) */
    MB_ANOMALY_FRAG_LEN = 40,        /* length not a multiple of 8, or past the datagram's end */
    MB_ANOMALY_TCP_OPTION_LEN = 41,  /* a known option with a length it cannot have */
    MB_ANOMALY_TCP_OPTION_DUPLICATE = 42, /* the same option twice */
    MB_ANOMALY_IP_TTL = 43,          /* its TTL does not take it to its host */
    MB_ANOMALY_TCP_SPURIOUS = 44,    /* a retransmission was for nothing: told by a duplicate SACK (RFC 2883) */
    MB_ANOMALY_COUNT = 45
};

/* Name of an anomaly such as "tcp_paws"; "unknown" for others. */
const char *mb_anomaly_name(int anomaly);

/* ---- flows -------------------------------------------------------------- */

/* The two ends of a flow. */
enum mb_side { MB_CLIENT = 0, MB_SERVER = 1 };

/* TCP states (RFC 9293 3.3.2), each endpoint has its own. */
enum mb_tcp_state {
    MB_TCP_CLOSED = 0,
    MB_TCP_LISTEN = 1,
    MB_TCP_SYN_SENT = 2,
    MB_TCP_SYN_RCVD = 3,
    MB_TCP_ESTABLISHED = 4,
    MB_TCP_FIN_WAIT_1 = 5,
    MB_TCP_FIN_WAIT_2 = 6,
    MB_TCP_CLOSE_WAIT = 7,
    MB_TCP_CLOSING = 8,
    MB_TCP_LAST_ACK = 9,
    MB_TCP_TIME_WAIT = 10
};

/* Name of a TCP state such as "ESTABLISHED". */
const char *mb_tcp_state_name(int state);

/* Why a flow ended; flow_end carries it. */
enum mb_end_reason {
    MB_END_NONE = 0,     /* it has not */
    MB_END_FIN = 1,      /* both ends closed */
    MB_END_RST = 2,      /* reset */
    MB_END_REFUSED = 3,  /* reset in answer to the SYN */
    MB_END_TIMEOUT = 4,  /* idle for its time */
    MB_END_REUSED = 5,   /* a new connection took over its addresses and ports */
    MB_END_EVICTED = 6,  /* the table was full */
    MB_END_SHUTDOWN = 7  /* the run was over */
};

/* Name of an end reason such as "timeout". */
const char *mb_end_reason_name(int reason);

/* Application protocols found in the bytes, whatever the port. */
enum mb_app_proto {
    MB_APP_UNKNOWN = 0, /* not looked at yet, or not enough bytes */
    MB_APP_NONE = 1,    /* looked at: none that is known */
    MB_APP_HTTP = 2,
    MB_APP_TLS = 3,
    MB_APP_DNS = 4,
    MB_APP_SSH = 5
};

/* Name of an application protocol: "http", "tls", "dns", "ssh"; "unknown",
 * "failed" (looked at, none) otherwise. */
const char *mb_app_proto_name(int proto);

/* Flags of one side of a flow. */
enum mb_side_flag {
    MB_SIDE_SEEN = 1,        /* it sent at least one packet */
    MB_SIDE_ISN = 2,         /* isn is known (its SYN was seen) */
    MB_SIDE_SYNC = 4,        /* its sequence space is known */
    MB_SIDE_FIN = 8,         /* its FIN was seen, at fin_seq */
    MB_SIDE_FIN_ACKED = 16,  /* the other side acknowledged that FIN */
    MB_SIDE_RST = 32,        /* it sent an accepted RST */
    MB_SIDE_TIMESTAMPS = 64, /* it offered RFC 7323 timestamps */
    MB_SIDE_SACK = 128,      /* it permitted SACK */
    MB_SIDE_WSCALE = 256,    /* it offered window scaling */
    MB_SIDE_NO_STREAM = 512, /* reassembly is off for what it sends */
    MB_SIDE_GAP = 1024,      /* bytes were lost at the tap */
    MB_SIDE_SETTLED = 2048   /* both: the flow is past its handshake, or without one both have sent */
};

/* One endpoint: what it sent, and where its own TCP stands. Read only. */
struct mb_endpoint {
    struct mb_addr addr;     /* network byte order */
    uint16_t port;           /* host order; ICMP: as in mb_packet */
    uint16_t flags;          /* of enum mb_side_flag */
    uint8_t state;           /* enum mb_tcp_state; CLOSED for other protocols */
    uint8_t tcp_flags;       /* all TCP flags it ever sent, ORed */
    uint8_t wscale;          /* window shift it announced */
    uint8_t ttl;             /* of its first packet */
    uint16_t mss;            /* it announced; 0: none */
    uint16_t out_of_order;   /* segments that arrived before their turn; stops at 65,535 */
    uint32_t isn;            /* initial sequence number; ICMP: type << 8 | code of its first message */
    uint32_t snd_nxt;        /* one past the highest sequence number it sent */
    uint32_t snd_una;        /* oldest of its numbers not yet acknowledged */
    uint32_t snd_wnd;        /* window it may send into, bytes, scaled */
    uint32_t ts_recent;      /* its newest timestamp value */
    uint32_t retransmits;    /* segments with bytes sent before */
    uint32_t stream_seq;     /* sequence number of its stream's first byte */
    uint32_t snd_max;        /* right edge of the widest window it was given */
    uint32_t challenged;     /* sequence number of a SYN it sent into this connection; 0: none */
    uint64_t packets;        /* packets it sent */
    uint64_t bytes;          /* frame bytes on the wire it sent */
    uint64_t next;           /* stream offset of the next byte in order */
    uint64_t missed;         /* stream bytes lost at the tap */
};

/* Flags of a flow. */
enum mb_flow_flag {
    MB_FLOW_MIDSTREAM = 1,   /* its beginning was not seen */
    MB_FLOW_CLOSED = 2,      /* TCP: both ends are done; lingers for late packets */
    MB_FLOW_DROP = 4,        /* verdict: its packets are not passed on */
    MB_FLOW_ALERTED = 8,     /* a rule alerted on it */
    MB_FLOW_SWAPPED = 16,    /* the first packet came from the server */
    MB_FLOW_ANSWERED = 32,   /* both sides sent */
    MB_FLOW_ENDING = 64,     /* flow_end is being raised */
    MB_FLOW_FORGET = 128     /* ends after this packet, see mb_flow_forget() */
};

/* A flow: one conversation of two endpoints. Read only, but through calls. */
struct mb_flow {
    uint64_t id;             /* rises in order of appearance: 8 times the number of its first frame, and more */
    int64_t first_ts;        /* ns since 1970 */
    int64_t last_ts;         /* ns since 1970 */
    uint64_t events;         /* bit n below MB_EV_BUILTIN: somebody listens to built-in event n */
    void *set;               /* its event set; the event floor's */
    void *streams;           /* reassembly state, NULL while nothing is buffered */
    uint32_t hash;           /* of its key */
    uint32_t tunnel_id;      /* part of the key if so configured */
    uint16_t vlan;           /* outermost VLAN id of its first packet; 0: none */
    uint8_t ip_proto;        /* 6 TCP, 17 UDP, 1 ICMP, ... */
    uint8_t ip_version;      /* 4 or 6 */
    uint8_t flags;           /* of enum mb_flow_flag */
    uint8_t app_proto;       /* enum mb_app_proto */
    uint8_t end_reason;      /* enum mb_end_reason */
    uint8_t timer_kind;      /* which of the idle times applies */
    uint32_t rtt_server;     /* SYN to SYN/ACK, microseconds; 0: unknown */
    uint32_t rtt_client;     /* SYN/ACK to ACK, microseconds; 0: unknown */
    uint32_t link[5];        /* wheel and age links; the flow floor's */
    uint32_t anomalies;      /* odd segments counted */
    struct mb_endpoint end[2]; /* by enum mb_side */
};

/* ---- events ------------------------------------------------------------- */

/* Built-in events. A Python method on_<name in lower case> subscribes. */
enum mb_event_id {
    MB_EV_RAW = 0,           /* every frame, before flows; no flow */
    MB_EV_PACKET = 1,        /* every packet of a flow; hooks SND, RCV */
    MB_EV_FLOW_START = 2,    /* first packet of a flow */
    MB_EV_STATE_CHANGE = 3,  /* TCP: old_state -> new_state of |side|; hooks SND, RCV */
    MB_EV_RETRANSMIT = 4,    /* TCP: bytes sent before; data: the new copy; conflict */
    MB_EV_DATA = 5,          /* in-order bytes that |side| sent: data, len, offset */
    MB_EV_GAP = 6,           /* |len| bytes at |offset| that |side| sent were lost at the tap */
    MB_EV_ORPHAN = 7,        /* a packet that belongs to no flow and starts none */
    MB_EV_ANOMALY = 8,       /* something odd: reason is of enum mb_anomaly; flow may be NULL */
    MB_EV_FLOW_END = 9,      /* exactly once a flow; reason is of enum mb_end_reason */
    MB_EV_TIMER = 10,        /* a timer of this monitor ran out: record is its argument */
    MB_EV_PROTOCOL = 11,     /* flow->app_proto was found, or MB_APP_NONE: none that is known */
    MB_EV_HTTP_REQUEST = 12, /* request line and headers are whole: struct mb_http */
    MB_EV_HTTP_RESPONSE = 13, /* status line and headers are whole: struct mb_http */
    MB_EV_HTTP_BODY = 14,    /* a piece of a body, chunking and compression undone */
    MB_EV_HTTP_END = 15,     /* a message is complete: struct mb_http */
    MB_EV_TLS_HELLO = 16,    /* ClientHello (side client) or ServerHello: struct mb_tls_hello */
    MB_EV_TLS_CERTIFICATE = 17, /* a certificate chain in clear: struct mb_tls_certificate */
    MB_EV_DNS = 18,          /* a DNS message: struct mb_dns */
    MB_EV_SSH = 19,          /* SSH identification line or KEXINIT: struct mb_ssh */
    MB_EV_URGENT = 20,       /* TCP: a byte that |side| sent out of band, see enum mb_urgent; offset: of what follows */
    MB_EV_ICMP_ERROR = 21,   /* an ICMP error quotes what |side| sent: struct mb_icmp_error; packet: the error */
    MB_EV_BUILTIN = 22,      /* how many built-in events there are */
    MB_EV_USER = 4096        /* user-defined events are numbered from here */
};

/* Name of a built-in event such as "flow_start"; NULL for others. */
const char *mb_event_name(int event);

/* Where in a packet's life an event is raised. */
#define MB_HOOK_NONE 0 /* events without a choice */
#define MB_HOOK_SND 1  /* after the sender's endpoint was updated */
#define MB_HOOK_RCV 2  /* after the receiver's endpoint was updated */

/* What a callback is told. Valid until the callback returns. */
struct mb_event {
    struct mb_engine *engine;
    struct mb_monitor *monitor;
    struct mb_flow *flow;            /* NULL: event of no flow */
    const struct mb_packet *packet;  /* NULL: raised by time or at the end of the run */
    const void *record;              /* protocol events: the record; timer: its argument */
    const uint8_t *data;             /* data, retransmit, urgent, http_body: the bytes */
    uint64_t offset;                 /* stream offset of data, or of the gap */
    uint64_t len;                    /* bytes of data, or of the gap */
    int64_t ts;                      /* the packet clock, ns since 1970; timer: when it was due */
    uint32_t id;                     /* the event as registered, user-defined or built in */
    uint32_t base;                   /* the built-in event under it */
    uint8_t side;                    /* enum mb_side: whose bytes, state or packet */
    uint8_t hook;                    /* MB_HOOK_ bit */
    uint8_t old_state;               /* state_change */
    uint8_t new_state;               /* state_change */
    uint8_t reason;                  /* enum mb_anomaly or enum mb_end_reason */
    uint8_t conflict;                /* retransmit: the bytes differ from the first copy, as far as that is kept
                                      * (mb_monitor_history(); what waits behind a hole is) */
    uint8_t spare[2];
};

/* A callback. 0: go on; > 0: stop the run politely; < 0: fail, the code comes
 * back from mb_engine_run(). */
typedef int (*mb_callback)(struct mb_event *ev, void *arg);
/* A filter of a user-defined event: > 0 it happened, 0 it did not, < 0 fail. */
typedef int (*mb_filter)(struct mb_event *ev, void *arg);
/* Gives back what an argument or a user pointer holds. */
typedef void (*mb_free_fn)(void *arg);

/* ---- the engine --------------------------------------------------------- */

/* Options and named limits of an engine. Times are ns of the packet clock. */
struct mb_config {
    uint64_t seed;               /* of the keyed hashes; 0: from the system */
    uint32_t max_flows;          /* flows at once, at most */
    uint32_t max_fragments;      /* IP datagrams in reassembly at once */
    uint64_t max_stream_bytes;   /* buffered a side of a flow; 64 are charged for each piece besides its own */
    uint64_t max_memory;         /* bytes kept: flows 1/2, parsers 1/4, streams and fragments 1/8, a tally 1/16 */
    int64_t timeout_tcp_syn;     /* no answer to the SYN */
    int64_t timeout_tcp;         /* established and idle */
    int64_t timeout_tcp_half;    /* one side closed */
    int64_t timeout_tcp_closed;  /* how long a closed flow waits for late packets */
    int64_t timeout_tcp_reset;   /* the same after a reset */
    int64_t timeout_udp;
    int64_t timeout_icmp;
    int64_t timeout_ip;          /* other protocols */
    int64_t timeout_fragment;
    uint32_t decap;              /* of enum mb_tunnel */
    uint32_t max_tunnels;        /* headers taken off one packet */
    uint8_t checksums;           /* enum mb_checksums */
    uint8_t midstream;           /* make flows of connections whose SYN was not seen */
    uint8_t async_oneside;       /* one direction only: do not wait for the other's ACKs */
    uint8_t key_vlan;            /* VLAN ids are part of the flow key */
    uint8_t key_tunnel;          /* the tunnel id is part of the flow key */
    uint8_t overlap;             /* enum mb_overlap: whose bytes win where segments or fragments overlap */
    uint8_t reassemble;          /* 0: no stream is ever buffered */
    uint8_t urgent;              /* enum mb_urgent: whether an urgent byte is part of the stream */
    uint8_t table_full;          /* enum mb_table_full: what a new flow does where there is no room */
    uint8_t icmp_joins;          /* ICMP unreachable about TCP or UDP is a packet of the flow it quotes, or of none */
    uint8_t spare[6];
};

/* Where the byte is that a segment's urgent pointer marks (the last one before
 * where it points, RFC 6093): in the stream, as a socket with SO_OOBINLINE has
 * it, or beside it, as any other has it, in an urgent event of its own. */
enum mb_urgent { MB_URGENT_INLINE = 0, MB_URGENT_OOB = 1 };

/* What is done when max_flows are there and a packet would start another: the
 * flow that waits longest for its answer, else the idlest, is ended for it; or
 * there is no flow for it, and it is passed on, or dropped. */
enum mb_table_full { MB_FULL_EVICT = 0, MB_FULL_OPEN = 1, MB_FULL_CLOSE = 2 };

/* Whose bytes stand where TCP segments or IP fragments overlap: the first copy,
 * the last one, or as these systems have it. Delivered bytes never change. */
enum mb_overlap {
    MB_OVERLAP_FIRST = 0,
    MB_OVERLAP_LAST = 1,
    MB_OVERLAP_BSD = 2,         /* the first, unless the other begins before it */
    MB_OVERLAP_BSD_RIGHT = 3,   /* the last, unless it begins before the other */
    MB_OVERLAP_LINUX = 4,
    MB_OVERLAP_WINDOWS = 5,     /* before Vista, which keeps the first */
    MB_OVERLAP_WINDOWS2003 = 6,
    MB_OVERLAP_SOLARIS = 7,
    MB_OVERLAP_HPUX = 8,
    MB_OVERLAP_OLD_LINUX = 9,   /* 2.2 and before */
    MB_OVERLAP_MACOS = 10,
    MB_OVERLAP_COUNT = 11
};

/* Name of an overlap policy such as "bsd_right"; NULL for others. */
const char *mb_overlap_name(int policy);

/* Fills |config| with the defaults. */
void mb_config_init(struct mb_config *config);

/* Counters of a run. Every packet or byte let go is in exactly one. */
struct mb_stats {
    uint64_t frames;             /* frames read */
    uint64_t frame_bytes;        /* bytes on the wire of them */
    uint64_t packets_ip;         /* decoded IP packets, tunnelled ones too */
    uint64_t packets_tcp;
    uint64_t packets_udp;
    uint64_t packets_icmp;
    uint64_t packets_other;      /* other IP protocols */
    uint64_t non_ip;             /* frames without IP (ARP, LLDP, ...) */
    uint64_t fragments;          /* IP fragments met */
    uint64_t reassembled;        /* datagrams put together */
    uint64_t kept;               /* frames passed on */
    uint64_t dropped;            /* frames a verdict kept back */
    uint64_t orphans;            /* packets of no flow */
    uint64_t flows;              /* flows ever made */
    uint64_t flows_active;
    uint64_t flows_peak;
    uint64_t flows_ended[8];     /* by enum mb_end_reason */
    uint64_t stream_bytes;       /* payload bytes delivered in order */
    uint64_t stream_gaps;        /* gap events */
    uint64_t stream_missed;      /* bytes in them */
    uint64_t stream_discarded;   /* bytes that waited in vain: no host is known to have taken them */
    uint64_t stream_memory;      /* bytes buffered now, fragments too */
    uint64_t stream_memory_peak;
    uint64_t memory_refused;     /* buffers of parsers, or histories, that max_memory had no room for */
    uint64_t flow_memory;        /* bytes of flow records and their table in use */
    uint64_t kernel_received;    /* live: as the kernel counts */
    uint64_t kernel_dropped;     /* live: lost before we saw them */
    uint64_t backward_time;      /* packets whose timestamp went backward */
    uint64_t anomalies[45];      /* by enum mb_anomaly */
};

struct mb_engine;
struct mb_monitor;
struct mb_source;
struct mb_writer;
struct mb_output;

/* A new engine with |config| (NULL: defaults), copied. NULL and a sentence in
 * |err| on failure. Free with mb_engine_free(). */
struct mb_engine *mb_engine_new(const struct mb_config *config, char *err);
/* Frees the engine and all it owns, without raising events. NULL is fine. */
void mb_engine_free(struct mb_engine *e);
/* Runs at most |max_packets| packets of |source| (0: all). > 0: there is more
 * (or, live, nothing came for a while); 0: the source is at its end; < 0: an
 * error, see mb_engine_errmsg(). A callback's polite stop gives 0. */
int mb_engine_run(struct mb_engine *e, struct mb_source *source, uint64_t max_packets);
/* Runs one frame of link type |linktype| (LINKTYPE_ number), 0 or < 0. */
int mb_engine_frame(struct mb_engine *e, int linktype, const struct mb_frame *frame);
/* Moves the packet clock to |ts| (never backward) and expires what is due. */
int mb_engine_advance(struct mb_engine *e, int64_t ts);
/* Ends all flows, in order of appearance, with MB_END_SHUTDOWN. */
int mb_engine_finish(struct mb_engine *e);
/* What is sent to addresses that share the first |bits| (of 32 or 128) with
 * |prefix| is put together by enum mb_overlap |policy|; the longest prefix
 * counts. 0, MB_EINVAL, MB_ELIMIT (4096 prefixes) or MB_ENOMEM. */
int mb_engine_set_overlap(struct mb_engine *e, const struct mb_addr *prefix, unsigned bits, int policy);
/* Hosts that share the first |bits| with |prefix| are |hops| routers (at most 255)
 * away from where packets are captured: one whose TTL is no greater does not reach
 * them, and belongs to no flow and no datagram. The longest prefix counts; for
 * hosts in none, every packet is taken to arrive. As mb_engine_set_overlap(). */
int mb_engine_set_hops(struct mb_engine *e, const struct mb_addr *prefix, unsigned bits, unsigned hops);
/* Makes mb_engine_run() return soon. Safe in a signal handler. */
void mb_engine_stop(struct mb_engine *e);
/* Whether a callback or mb_engine_stop() has asked to stop. */
bool mb_engine_stopped(const struct mb_engine *e);
/* Sentence of the last error; borrowed, valid until the next call. */
const char *mb_engine_errmsg(const struct mb_engine *e);
/* Copies the counters. */
void mb_engine_stats(const struct mb_engine *e, struct mb_stats *stats);
/* The packet clock, ns since 1970; 0 before the first packet. */
int64_t mb_engine_now(const struct mb_engine *e);
/* Frames kept are written to |w| (NULL: to none). Borrowed. */
void mb_engine_set_writer(struct mb_engine *e, struct mb_writer *w);

/* ---- monitors: who listens ---------------------------------------------- */

/* A new monitor, the scope of one listener's registrations. Belongs to the
 * engine. Made before the first packet, at most 16. */
struct mb_monitor *mb_monitor_new(struct mb_engine *e, const char *name, char *err);
/* Flows whose first packet does not match the BPF filter |bpf| (libpcap's
 * syntax, NULL: all) do not exist for this monitor, nor do packets without a
 * flow that do not. 0 or MB_ESYNTAX. */
int mb_monitor_scope(struct mb_monitor *m, const char *bpf);
/* Keeps the last |bytes| delivered of each stream side readable for peeks. */
int mb_monitor_history(struct mb_monitor *m, uint32_t bytes);
/* |fn| gives back each user pointer left at a flow's end. */
void mb_monitor_user_free(struct mb_monitor *m, mb_free_fn fn);
/* Registers |cb| for |event| at |hooks| (MB_HOOK_ bits; NONE: the event's
 * usual place): on |flow| only, or with NULL on later flows of |m|. Another
 * callback for the same event and hook is replaced. Works inside callbacks,
 * for the next event on. The callbacks of one event are called in the order in
 * which their monitors were made. NONE is SND for packets and both hooks for
 * state changes; other events have no hooks. 0 or < 0. */
int mb_on(struct mb_monitor *m, struct mb_flow *flow, uint32_t event, int hooks, mb_callback cb, void *arg);
/* Takes a registration back (NONE: at all hooks); no call follows, not even of
 * the event being raised. 0 or MB_ENOENT. */
int mb_off(struct mb_monitor *m, struct mb_flow *flow, uint32_t event, int hooks);
/* Ends all registrations of |m| on |flow|, but flow_end, and its timers bound
 * to it. */
int mb_ignore(struct mb_monitor *m, struct mb_flow *flow);

/* Defines an event: |parent| happened and |filter| said yes. Equal calls
 * (parent, filter, arg bytes) give the same id. |arg| is copied, |arg_len|
 * bytes; with 0 the pointer itself is kept, borrowed. Id or < 0. */
int mb_event_define(struct mb_engine *e, uint32_t parent, mb_filter filter, const void *arg, size_t arg_len);
/* The same with an expression, see mosbox-filter(7). Id or MB_ESYNTAX with a
 * sentence and column in |err|. */
int mb_event_define_expr(struct mb_engine *e, uint32_t parent, const char *expression, char *err);
/* The same with a BPF filter on the packet. Id or MB_ESYNTAX. */
int mb_event_define_bpf(struct mb_engine *e, uint32_t parent, const char *bpf, char *err);
/* An event without a filter of its own: mb_event_raise() raises it. */
int mb_event_alloc(struct mb_engine *e, uint32_t parent);
/* Raises the allocated event |event| for whoever listens on the flow of |ev|,
 * with the context of |ev|, whose built-in event must be the one under it. To be
 * called in a filter or callback. 0, > 0 if a callback asked to stop, or < 0. */
int mb_event_raise(struct mb_event *ev, uint32_t event);

/* Sets and gets the monitor's pointer on a flow. */
int mb_flow_set_user(struct mb_flow *flow, struct mb_monitor *m, void *user);
void *mb_flow_user(const struct mb_flow *flow, const struct mb_monitor *m);

/* Verdict: this packet, and all that follow of the flow, are not passed on.
 * Events raised by time or a flow's end have no packet: then those that follow. */
void mb_flow_drop(struct mb_event *ev);
/* Verdict: this packet alone is not passed on. */
void mb_packet_drop(struct mb_event *ev);
/* Ends the flow after this packet: its later packets start anew. */
int mb_flow_forget(struct mb_engine *e, struct mb_flow *flow);

/* ---- streams ------------------------------------------------------------ */

/* Copies up to |len| bytes that |side| sent from stream offset |offset|: the
 * history kept, and out-of-order data already here. The count, 0 if none. */
size_t mb_stream_peek(const struct mb_flow *flow, int side, uint64_t offset, uint8_t *buf, size_t len);
/* The bytes that |side| sent from stream offset |from| to the last one in
 * order, those of the data event being raised included, in one piece without a
 * copy: |*len| is how many. NULL if |from| is older than the history kept, see
 * mb_monitor_history(). Valid until the callback returns. */
const uint8_t *mb_stream_view(const struct mb_flow *flow, int side, uint64_t from, size_t *len);
/* Switches reassembly of what |side| sends off for good; its buffers are given back by the flow's next packet,
 * or its end. 0 or MB_EINVAL. */
int mb_stream_off(struct mb_flow *flow, int side);

/* A piece of out-of-order data. */
struct mb_fragment {
    uint64_t offset; /* stream offset */
    uint64_t len;
};

/* The out-of-order pieces of what |side| sent, lowest first: fills at most
 * |max| of |list|, the number there are. */
size_t mb_stream_fragments(const struct mb_flow *flow, int side, struct mb_fragment *list, size_t max);

/* What is buffered of one side. */
struct mb_buffer_info {
    uint64_t next;      /* offset of the next byte in order */
    uint64_t history;   /* bytes before it that can be peeked */
    uint64_t pending;   /* out-of-order bytes after it */
    uint64_t highest;   /* offset one past the last byte seen */
    uint64_t memory;    /* bytes of memory held */
};

int mb_stream_info(const struct mb_flow *flow, int side, struct mb_buffer_info *info);

/* ---- timers ------------------------------------------------------------- */

/* Raises a timer event of |m| with record |arg| in |after| ns of the packet
 * clock, and every |period| ns after that (0: once); with |flow| it dies with
 * the flow. |cb| is called with |arg|, or if it is NULL what |m| registered for
 * MB_EV_TIMER. Timers run in the order of their times, then of their making, up
 * to 1.05 ms late; one made before the first packet counts from it. If the clock
 * jumps over several turns of a periodic timer, it runs once. The timer's id
 * (> 0) or < 0. */
int64_t mb_timer_add(struct mb_monitor *m, struct mb_flow *flow, int64_t after, int64_t period, mb_callback cb, void *arg);
/* Cancels a timer, in its own callback too. 0 or MB_ENOENT. */
int mb_timer_del(struct mb_monitor *m, int64_t timer);

/* ---- protocol records --------------------------------------------------- */

/* An ICMP or ICMPv6 error about a packet of the flow (RFC 792, RFC 4443). Its
 * event changes no state; whoever reports it is the source of ev->packet. */
struct mb_icmp_error {
    uint32_t seq;                /* TCP: sequence number of the packet quoted */
    uint32_t mtu;                /* too big: what the next hop takes, bytes; 0: not told */
    uint8_t type;
    uint8_t code;
    uint8_t credible;            /* the packet quoted can have been on its way: TCP: seq is sent and not
                                  * acknowledged (RFC 5927 4.1); others: the side has sent something */
    uint8_t spare;
};

/* Bytes of somebody else's buffer. */
struct mb_view {
    const uint8_t *data;
    uint32_t len;
};

/* A header field. Views as on the wire, white space around the value left out. */
struct mb_http_header {
    struct mb_view name;
    struct mb_view value;
};

/* An HTTP/1 message (RFC 9112). Response fields are 0 in a request and back.
 * Each http_request and http_response has one http_end. The records of
 * http_body and http_end have numbers and flags only: their views are empty. */
struct mb_http {
    struct mb_view method;       /* request: "GET" */
    struct mb_view target;       /* request target as on the wire */
    struct mb_view host;         /* of the target or the Host field, port left out */
    struct mb_view path;         /* request: target without scheme and authority */
    struct mb_view version;      /* "HTTP/1.1" */
    struct mb_view reason;       /* response: reason phrase */
    struct mb_view start_line;   /* request or status line without line end */
    struct mb_view raw_headers;  /* header block, from the first field to the last line end */
    const struct mb_http_header *headers;
    uint32_t header_count;
    uint32_t status;             /* response: status code; 0: not a number */
    uint32_t transaction;        /* which request of the flow, from 0; equal in its response */
    uint32_t flags;              /* of enum mb_http_flag */
    uint64_t body_len;           /* http_end: body bytes after decoding; http_body: those before this piece */
    int64_t content_length;      /* as announced; -1: not */
};

/* What was odd about a message. */
enum mb_http_flag {
    MB_HTTP_CHUNKED = 1,          /* body came in chunks */
    MB_HTTP_COMPRESSED = 2,       /* body was gzip or deflate and is given inflated */
    MB_HTTP_NO_VERSION = 4,       /* HTTP/0.9 */
    MB_HTTP_FOLDED = 8,           /* a header was folded over lines (obs-fold) */
    MB_HTTP_AMBIGUOUS_LENGTH = 16, /* Content-Length repeated, or beside Transfer-Encoding */
    MB_HTTP_TRUNCATED = 32,       /* the stream ended inside the message */
    MB_HTTP_BAD = 64,             /* bytes that the grammar does not allow were passed over */
    MB_HTTP_BODY_LIMIT = 128      /* body was longer than what is decoded */
};

/* A TLS ClientHello or ServerHello (RFC 8446 4.1, RFC 5246 7.4.1). */
struct mb_tls_hello {
    struct mb_view sni;          /* client: server_name, as on the wire */
    struct mb_view alpn;         /* protocol name list as on the wire: length byte, name, ... */
    struct mb_view session_id;
    struct mb_view random;       /* 32 bytes */
    const uint16_t *ciphers;     /* client: offered; server: one, chosen */
    const uint16_t *extensions;  /* types in order */
    const uint16_t *groups;      /* supported_groups */
    const uint16_t *sig_algs;    /* signature_algorithms */
    const uint16_t *versions;    /* supported_versions; server: one */
    struct mb_view point_formats;
    struct mb_view ja3_string;   /* what ja3 is the MD5 of */
    uint32_t cipher_count;
    uint32_t extension_count;
    uint32_t group_count;
    uint32_t sig_alg_count;
    uint32_t version_count;
    uint16_t record_version;     /* of the record layer, 0x0301 ... */
    uint16_t hello_version;      /* legacy_version of the hello */
    uint16_t version;            /* negotiated or highest offered, 0x0304: TLS 1.3 */
    uint8_t server;              /* 1: ServerHello */
    uint8_t sslv2;               /* 1: SSLv2-compatible hello */
    char ja3[33];                /* MD5 in hex of the JA3 (client) or JA3S (server) string; "" off */
    char ja4[40];                /* client: JA4 */
};

/* A certificate chain as sent in clear (before TLS 1.3). */
struct mb_tls_certificate {
    const struct mb_view *chain; /* DER, the end entity's first */
    uint32_t count;
    struct mb_view subject;      /* of the first, "C=..., O=..., CN=..." */
    struct mb_view issuer;
    struct mb_view serial;       /* hex bytes with colons, upper case */
    int64_t not_before;          /* seconds since 1970 */
    int64_t not_after;
    char sha1[60];               /* fingerprint of the first, hex with colons */
};

/* A question or resource record of a DNS message. */
struct mb_dns_rr {
    struct mb_view name;         /* presentation form, no closing dot */
    struct mb_view rdata;        /* A/AAAA/CNAME/NS/PTR/DNAME/MX/SRV/SOA: presentation form; TXT: its
                                  * strings joined; others: wire bytes */
    uint32_t ttl;                /* seconds; question: 0 */
    uint16_t type;
    uint16_t klass;
    uint8_t section;             /* 0 question, 1 answer, 2 authority, 3 additional */
};

/* A DNS message (RFC 1035), over UDP or TCP. */
struct mb_dns {
    const struct mb_dns_rr *records; /* questions first, as in the message */
    uint32_t record_count;
    uint16_t id;
    uint16_t flags;              /* second 16 bits of the header */
    uint16_t questions;          /* the counts of the header */
    uint16_t answers;
    uint16_t authorities;
    uint16_t additionals;
    uint8_t response;            /* QR bit */
    uint8_t opcode;
    uint8_t rcode;
    uint8_t malformed;           /* the message ends early; records before that are given */
};

/* SSH identification (RFC 4253 4.2), then key exchange lists (7.1). */
struct mb_ssh {
    struct mb_view banner;       /* identification line without line end */
    struct mb_view protocol;     /* "2.0" */
    struct mb_view software;     /* "OpenSSH_9.2p1" */
    struct mb_view kex;          /* KEXINIT: name lists as on the wire; empty in a banner event */
    struct mb_view host_keys;
    struct mb_view ciphers_c2s;
    struct mb_view ciphers_s2c;
    struct mb_view macs_c2s;
    struct mb_view macs_s2c;
    struct mb_view compression_c2s;
    struct mb_view compression_s2c;
    char hassh[33];              /* MD5 in hex (HASSH; from the server HASSHServer); "": banner event */
};

/* ---- sources and sinks -------------------------------------------------- */

/* Opens a capture file: pcap (us and ns, both byte orders) or pcapng, plain or
 * gzip; "-" is the standard input. Growing files and pipes are read as far as
 * they go. NULL and a sentence in |err|. */
struct mb_source *mb_source_file(const char *path, char *err);
/* Opens an interface through libpcap. |snaplen| bytes of a packet (0: 262144). */
struct mb_source *mb_source_live(const char *interface, int snaplen, bool promiscuous, char *err);
void mb_source_free(struct mb_source *s);
/* Only packets that match |bpf| (libpcap's syntax) are handed over. */
int mb_source_filter(struct mb_source *s, const char *bpf, char *err);
/* LINKTYPE_ number of the source; pcapng: of its first interface. */
int mb_source_linktype(const struct mb_source *s);
/* Whether it is a live interface. */
bool mb_source_is_live(const struct mb_source *s);
/* Bytes read and in all (0: unknown), for a progress bar. */
void mb_source_progress(const struct mb_source *s, uint64_t *done, uint64_t *total);
/* What went wrong at the end, "" if nothing: a file cut inside a packet, say. */
const char *mb_source_warning(const struct mb_source *s);

/* Opens a pcap file ("-": standard output) for |linktype|; nanosecond stamps.
 * Writer and sink below keep what a full disk refuses and try it again with
 * the next call. A reader that went away is MB_EPIPE where SIGPIPE is ignored
 * (Python does that; a C program does it itself). NULL and a sentence. */
struct mb_writer *mb_writer_new(const char *path, int linktype, char *err);
int mb_writer_put(struct mb_writer *w, const struct mb_frame *frame);
int mb_writer_flush(struct mb_writer *w);
/* Flushes, closes and frees. 0 or the code of what failed. */
int mb_writer_free(struct mb_writer *w);

/* A buffered text sink ("-": standard output); lines of Python and of the core
 * go through the same buffer, so their order is the order of the calls. When
 * neither disk nor buffer has room, a write is refused whole. */
struct mb_output *mb_output_new(const char *path, bool append, bool line_buffered, char *err);
int mb_output_write(struct mb_output *o, const char *bytes, size_t len);
int mb_output_flush(struct mb_output *o);
/* Closes the file and opens its name again, for log rotation. */
int mb_output_reopen(struct mb_output *o);
int mb_output_free(struct mb_output *o);

/* ---- records written in C ----------------------------------------------- */

/* How a flow is written. */
enum mb_format {
    MB_FORMAT_JSON = 0,  /* mosbox's own record, one object a line */
    MB_FORMAT_EVE = 1,   /* Suricata's EVE flow record */
    MB_FORMAT_CSV = 2,   /* one line a flow, a header line first */
    MB_FORMAT_ZEEK = 3   /* Zeek's conn.log, tab-separated, with its header lines */
};

/* From now on each flow that ends is written to |o|. Made before the first
 * packet. Belongs to the engine; |o| is borrowed. 0 or < 0. */
int mb_flow_log(struct mb_engine *e, int format, struct mb_output *o, char *err);
/* Writes one flow as mb_flow_log() would, into |buf|. The length, or the
 * length needed if it is more than |size|. */
size_t mb_flow_record(const struct mb_engine *e, const struct mb_flow *flow, int format, char *buf, size_t size);
/* Community ID v1 of the flow with seed 0, NUL-terminated, into |text| of at
 * least 32 bytes; its length. */
size_t mb_flow_community_id(const struct mb_flow *flow, char *text);
/* The flow's number for other tools: from its key and first time, so it is the
 * same in every run and whichever worker saw it. */
uint64_t mb_flow_stable_id(const struct mb_flow *flow);

/* What a tally groups flows by. */
enum mb_tally_key {
    MB_TALLY_PROTOCOL = 0, /* IP protocol */
    MB_TALLY_PORT = 1,     /* protocol and server port */
    MB_TALLY_HOST = 2,     /* each of the two addresses */
    MB_TALLY_PAIR = 3,     /* client and server address */
    MB_TALLY_APP = 4,      /* application protocol; has it looked for in all flows */
    MB_TALLY_FLOW = 5      /* each flow by itself: the top talkers */
};

/* One group of flows. */
struct mb_tally_row {
    struct mb_addr addr[2]; /* HOST: [0]; PAIR and FLOW: client, server */
    uint16_t port[2];       /* PORT: [1]; FLOW: client, server */
    uint8_t ip_proto;
    uint8_t app_proto;
    uint64_t flows;
    uint64_t packets[2];    /* from client, from server; HOST: sent, received */
    uint64_t bytes[2];
    int64_t first_ts;
    int64_t last_ts;
};

struct mb_tally;

/* Groups all flows by |key|, counting packets as they end or are asked for.
 * Made before the first packet. Belongs to the engine. At most |max_rows|
 * groups are kept (0: a million, if max_memory has room); the smallest make room and are counted. What
 * is left of single flows (MB_TALLY_FLOW) is exact for the largest quarter of
 * |max_rows| by bytes and by packets. */
struct mb_tally *mb_tally_new(struct mb_engine *e, int key, size_t max_rows, char *err);
/* The largest groups by "bytes" (or any other word), "packets" or "flows", live
 * flows included; among equals the lower key comes first. Fills at most |max|
 * of |rows|: how many. */
size_t mb_tally_top(struct mb_tally *t, const char *by, struct mb_tally_row *rows, size_t max);
/* How many groups there are, live flows left out. */
size_t mb_tally_size(const struct mb_tally *t);
/* How many groups made room for larger ones. */
uint64_t mb_tally_evicted(const struct mb_tally *t);

/* ---- workers ------------------------------------------------------------ */

/* Several processes over one capture, each with the flows of its share, write
 * together what one would have written, in the same order. One process makes
 * the workers, opens all else through them, and forks:
 *
 *   w = mb_workers_new(2, err);
 *   s = mb_workers_source(w, path, err);
 *   e = mb_engine_new(...); o = mb_output_new(...); mb_workers_output(w, o); ...
 *   each child n:  mb_workers_join(w, n, e); runs and finishes e on s;
 *                  mb_workers_leave(w, e, false); hands mb_engine_result(e) over
 *   the parent:    while (mb_workers_merge(w, 100) > 0) ...; mb_engine_add() of
 *                  each result; closes the outputs
 *
 * Limits of flows and of memory are divided among the workers: which flows go
 * when one is reached is not what it is in one process. Neither are host bits and
 * rate filters of rules, which are kept by each worker for itself; thresholds are
 * asked where all alerts meet, in the parent. */
#define MB_WORKERS_MAX 64

struct mb_workers;

/* What |count| workers share. NULL and a sentence. */
struct mb_workers *mb_workers_new(unsigned count, char *err);
void mb_workers_free(struct mb_workers *w);
/* As mb_source_file(): the file is read once for all workers, unless mb_workers_apart()
 * said otherwise. The first source is opened before the fork; later ones by each worker,
 * in the same order. */
struct mb_source *mb_workers_source(struct mb_workers *w, const char *path, char *err);
/* Has each worker read the capture for itself, if that is quicker with |e|: it has
 * rules, which look at most bytes, and what another processor has read comes slowly.
 * For a single capture, a regular file, whose source is opened anew after this and
 * before the fork; should it grow, it ends for all where it did then. Whether it is so. */
bool mb_workers_apart(struct mb_workers *w, const struct mb_engine *e);
/* What the workers write to |o| or |writer| (borrowed) comes from the parent,
 * in order. Before the fork. 0, MB_ELIMIT (32 of both) or MB_ENOMEM. */
int mb_workers_output(struct mb_workers *w, struct mb_output *o);
int mb_workers_writer(struct mb_workers *w, struct mb_writer *writer);
/* The rules of |e|, if it has any, are applied by several workers: after all
 * outputs, before the fork. 0, MB_ELIMIT or MB_ENOMEM. */
int mb_workers_rules(struct mb_workers *w, struct mb_engine *e);
/* In the parent, when all have left: counts the alerts that were decided there. */
void mb_workers_count(const struct mb_workers *w, struct mb_engine *e);
/* In a child, before the first frame: it is worker |own|, from 0, and |e| its
 * engine. The child is killed should its parent end. */
void mb_workers_join(struct mb_workers *w, unsigned own, struct mb_engine *e);
/* In a child: nothing more comes from it. |failed|: what others write after the
 * place where |e| is does not count. */
void mb_workers_leave(struct mb_workers *w, const struct mb_engine *e, bool failed);
/* In the parent: writes what has come and waits at most |ms| milliseconds if
 * nothing has. > 0: go on, 0: all have left, < 0: it could not be written. */
int mb_workers_merge(struct mb_workers *w, unsigned ms);
/* Whether worker |n| has left, or is about to since it failed. */
bool mb_workers_left(const struct mb_workers *w, unsigned n);
/* Whether a worker has failed and all others are past that place: they need not go on. */
bool mb_workers_failed(const struct mb_workers *w);
/* Frames that all workers are done with. */
uint64_t mb_workers_frames(const struct mb_workers *w);
/* Where in the run a worker's engine is, as numbers that rise from callback to
 * callback: the frame, what it is about to do in it, and the flow. */
void mb_engine_where(const struct mb_engine *e, uint64_t where[3]);
/* What the engine counted, with its tallies, as bytes for another process of
 * this program. Writes them if |size| is enough; how many they are. */
size_t mb_engine_result(const struct mb_engine *e, void *buf, size_t size);
/* Adds the result of another engine with the same tallies. 0; 1 if it met a limit
 * that all flows share, so that one process may have come to another result;
 * MB_EINVAL if it is no result, or MB_ENOMEM. */
int mb_engine_add(struct mb_engine *e, const void *result, size_t len);

/* ---- rules -------------------------------------------------------------- */

/* A set of rules is compiled outside (mosbox/rules, in Python) into one small
 * program a rule, and given to the core once; the core does all the matching:
 *
 *   program = mb_rule_head | inspections | operations | bytes they refer to
 *
 * all in the machine's byte order. The core checks every offset and number of
 * a program before it believes it. */

#define MB_RULE_MAGIC 0x3152424d /* "MBR1" */
#define MB_RULE_MAX_OPS 250      /* operations of one program */
#define MB_RULE_VARS 8           /* byte_extract variables of one program */

/* What a rule does. Numbers are also the usual order of evaluation. */
enum mb_rule_action { MB_RULE_PASS = 0, MB_RULE_DROP = 1, MB_RULE_REJECT = 2, MB_RULE_ALERT = 3 };

/* When a rule is looked at. */
enum mb_rule_kind {
    MB_RULE_DECODE = 0,  /* packets with decoder events, before flows */
    MB_RULE_IPONLY = 1,  /* addresses only: first packet of each direction of a flow */
    MB_RULE_PACKET = 2,  /* each packet by itself */
    MB_RULE_STREAM = 3,  /* TCP: stream bytes, else each packet by itself */
    MB_RULE_APP = 4,     /* each packet of flows of an application protocol */
    MB_RULE_TX = 5,      /* transactions of an application protocol */
    MB_RULE_PROTO = 6    /* once a flow direction, when the protocol search is over */
};

/* Flags of a rule. */
enum mb_rule_flag {
    MB_RULE_TO_SERVER = 1,     /* packets from the client */
    MB_RULE_TO_CLIENT = 2,     /* packets from the server */
    MB_RULE_BOTH_WAYS = 4,     /* <>: addresses and ports match either way round */
    MB_RULE_NEEDS_PACKET = 8,  /* TCP: the payload of single segments too */
    MB_RULE_ONLY_PACKET = 16,  /* TCP: the payload of single segments only */
    MB_RULE_ONLY_STREAM = 32,  /* TCP: stream bytes only */
    MB_RULE_NOALERT = 64,      /* acts, but is not reported */
    MB_RULE_TARGET_SRC = 128,  /* the source is the victim */
    MB_RULE_TARGET_DST = 256,  /* the destination is the victim */
    MB_RULE_REJECT_DST = 512,  /* the receiver is told of a reject */
    MB_RULE_REJECT_BOTH = 1024 /* both ends are told of it */
};

/* Bytes an inspection looks at. */
enum mb_buffer {
    MB_BUF_PAYLOAD = 0,
    MB_BUF_BASE64 = 1,
    MB_BUF_IPV4_HDR = 2,
    MB_BUF_IPV6_HDR = 3,
    MB_BUF_TCP_HDR = 4,
    MB_BUF_UDP_HDR = 5,
    MB_BUF_ICMPV4_HDR = 6,
    MB_BUF_ICMPV6_HDR = 7,
    MB_BUF_HTTP_METHOD = 8,
    MB_BUF_HTTP_URI = 9,
    MB_BUF_HTTP_URI_RAW = 10,
    MB_BUF_HTTP_PROTOCOL = 11,
    MB_BUF_HTTP_REQUEST_LINE = 12,
    MB_BUF_HTTP_REQUEST_BODY = 13,
    MB_BUF_HTTP_HEADER = 14,
    MB_BUF_HTTP_HEADER_RAW = 15,
    MB_BUF_HTTP_HEADER_NAMES = 16,
    MB_BUF_HTTP_START = 17,
    MB_BUF_HTTP_COOKIE = 18,
    MB_BUF_HTTP_USER_AGENT = 19,
    MB_BUF_HTTP_HOST = 20,
    MB_BUF_HTTP_HOST_RAW = 21,
    MB_BUF_HTTP_ACCEPT = 22,
    MB_BUF_HTTP_ACCEPT_LANG = 23,
    MB_BUF_HTTP_ACCEPT_ENC = 24,
    MB_BUF_HTTP_REFERER = 25,
    MB_BUF_HTTP_CONNECTION = 26,
    MB_BUF_HTTP_CONTENT_TYPE = 27,
    MB_BUF_HTTP_CONTENT_LEN = 28,
    MB_BUF_HTTP_SERVER = 29,
    MB_BUF_HTTP_LOCATION = 30,
    MB_BUF_HTTP_STAT_CODE = 31,
    MB_BUF_HTTP_STAT_MSG = 32,
    MB_BUF_HTTP_RESPONSE_LINE = 33,
    MB_BUF_HTTP_RESPONSE_BODY = 34,
    MB_BUF_HTTP_REQUEST_FIELD = 35,  /* each header field of a request by itself */
    MB_BUF_HTTP_RESPONSE_FIELD = 36, /* each header field of a response by itself */
    MB_BUF_FILE_DATA = 37,
    MB_BUF_TLS_SNI = 38,
    MB_BUF_TLS_SUBJECT = 39,
    MB_BUF_TLS_ISSUER = 40,
    MB_BUF_TLS_SERIAL = 41,
    MB_BUF_TLS_FINGERPRINT = 42,
    MB_BUF_TLS_CERTS = 43, /* each certificate of the chain, DER */
    MB_BUF_TLS_ALPN = 44,  /* each protocol name */
    MB_BUF_JA3_HASH = 45,
    MB_BUF_JA3S_HASH = 46,
    MB_BUF_JA4_HASH = 47,
    MB_BUF_DNS_QUERY = 48, /* each name asked for */
    MB_BUF_SSH_PROTO = 49,
    MB_BUF_SSH_SOFTWARE = 50,
    MB_BUF_SSH_HASSH = 51,
    MB_BUF_SSH_HASSH_STRING = 52,
    MB_BUF_SSH_HASSH_SERVER = 53,
    MB_BUF_SSH_HASSH_SERVER_STRING = 54,
    MB_BUF_JA3_STRING = 55,
    MB_BUF_JA3S_STRING = 56,
    MB_BUF_FILE_NAME = 57,
    MB_BUF_COUNT = 58
};

/* What is done to a buffer's bytes before they are inspected. */
enum mb_transform {
    MB_XF_LOWERCASE = 1,
    MB_XF_UPPERCASE = 2,
    MB_XF_STRIP_SPACE = 3,
    MB_XF_COMPRESS_SPACE = 4,
    MB_XF_DOTPREFIX = 5,
    MB_XF_URL_DECODE = 6,
    MB_XF_MD5 = 7,
    MB_XF_SHA1 = 8,
    MB_XF_SHA256 = 9
};

/* Operations. Those up to MB_OP_STREAM_SIZE look at the packet or its flow,
 * those up to MB_OP_BYTE_MATH at the bytes of an inspection, the rest is
 * done when all of the others said yes. a, b, c, d: see each. */
enum mb_rule_op_type {
    MB_OP_DSIZE = 1,         /* payload length in range a..b */
    MB_OP_TCP_FLAGS = 2,     /* a: bits, b: bits left out, c: 0 equal, 1 all of (+), 2 any of (*), 3 none of (!) */
    MB_OP_TTL = 3,           /* in range a..b; so are the next */
    MB_OP_ITYPE = 4,
    MB_OP_ICODE = 5,
    MB_OP_ICMP_ID = 6,
    MB_OP_ICMP_SEQ = 7,
    MB_OP_IP_ID = 8,
    MB_OP_TCP_SEQ = 9,       /* a, as unsigned */
    MB_OP_TCP_ACK = 10,      /* a, as unsigned */
    MB_OP_TCP_WINDOW = 11,
    MB_OP_TCP_MSS = 12,
    MB_OP_IP_OPTION = 13,    /* an IPv4 option of type a; -1: any */
    MB_OP_FRAGBITS = 14,     /* as TCP_FLAGS; 1 MF, 2 DF, 4 reserved */
    MB_OP_FRAG_OFFSET = 15,
    MB_OP_SAME_IP = 16,
    MB_OP_IP_PROTO = 17,     /* in range a..b */
    MB_OP_TOS = 18,
    MB_OP_FLOW = 19,         /* a: MB_FLOW_IS_ bits that must hold */
    MB_OP_APP_PROTO = 20,    /* enum mb_app_proto a */
    MB_OP_DECODE_EVENT = 21, /* decoder event a */
    MB_OP_STREAM_EVENT = 22, /* enum mb_anomaly a */
    MB_OP_APP_EVENT = 23,    /* the parser met what the protocol does not allow */
    MB_OP_DNS_OPCODE = 24,   /* in range a..b */
    MB_OP_DNS_RCODE = 25,
    MB_OP_DNS_RRTYPE = 26,
    MB_OP_TLS_VERSION = 27,  /* version a */
    MB_OP_URILEN = 28,       /* in range a..b; c: 1 raw */
    MB_OP_FLOWBITS = 29,     /* a: enum mb_bit_command; data: 16-bit bit numbers, any of */
    MB_OP_HOSTBITS = 30,     /* a: command, b: bit, c: enum mb_track, d: seconds */
    MB_OP_FLOW_AGE = 31,     /* seconds in range a..b */
    MB_OP_STREAM_SIZE = 32,  /* range a..b; c: 0 client 1 server 2 both 3 either */

    MB_OP_CONTENT = 40,      /* a offset, b depth, c distance, d within; data: the bytes */
    MB_OP_PCRE = 41,         /* a: PCRE2 options; data: the expression */
    MB_OP_BYTE_TEST = 42,    /* a bytes, b value, c offset, d mask; x: operator, base, shift */
    MB_OP_BYTE_JUMP = 43,    /* a bytes, b post offset, c offset, d mask; multiplier in data */
    MB_OP_BYTE_EXTRACT = 44, /* a bytes, b multiplier, c offset, d variable */
    MB_OP_ISDATAAT = 45,     /* c: how many bytes on */
    MB_OP_BSIZE = 46,        /* in range a..b */
    MB_OP_BASE64_DECODE = 47, /* a: at most so many bytes, c offset */
    MB_OP_BYTE_MATH = 48,    /* a bytes, b value, c offset, d variable; x: '+', '-', '*', '/', '<' or '>' */

    MB_OP_THRESHOLD = 60,    /* a: enum mb_threshold, b count, c seconds, d: enum mb_track; y: action, timeout in data */
    MB_OP_SUPPRESS = 61,     /* d: enum mb_track, a: address set */
    MB_OP_SET_FLOWBITS = 62, /* as FLOWBITS */
    MB_OP_SET_HOSTBITS = 63  /* as HOSTBITS */
};

/* Flags of an operation. */
enum mb_rule_op_flag {
    MB_OPF_NOT = 1,         /* negated */
    MB_OPF_RELATIVE = 2,    /* counts from the end of the match before */
    MB_OPF_NOCASE = 4,
    MB_OPF_OFFSET = 8,      /* a is given */
    MB_OPF_DEPTH = 16,      /* b is given */
    MB_OPF_DISTANCE = 32,   /* c is given */
    MB_OPF_WITHIN = 64,     /* d is given */
    MB_OPF_ENDSWITH = 128,
    MB_OPF_FAST = 256,      /* the pattern that is looked for first */
    MB_OPF_LITTLE = 512,    /* little-endian number */
    MB_OPF_STRING = 1024,   /* a number in digits */
    MB_OPF_ALIGN = 2048,    /* byte_jump: on to a multiple of 4 */
    MB_OPF_BEGINNING = 4096, /* byte_jump: from the start of the buffer */
    MB_OPF_END = 8192,      /* byte_jump: from the end of the buffer */
    MB_OPF_DCE = 16384      /* byte order as the DCE/RPC header says */
};

/* Which of a, b, c, d of an operation are numbers of variables. */
#define MB_OPV_A 1
#define MB_OPV_B 2
#define MB_OPV_C 4
#define MB_OPV_D 8

/* MB_OP_FLOW. */
#define MB_FLOW_IS_ESTABLISHED 1
#define MB_FLOW_IS_NOT_ESTABLISHED 2
#define MB_FLOW_IS_STATELESS 4

enum mb_bit_command { MB_BIT_SET = 0, MB_BIT_UNSET = 1, MB_BIT_TOGGLE = 2, MB_BIT_ISSET = 3, MB_BIT_ISNOTSET = 4 };
enum mb_track { MB_TRACK_SRC = 0, MB_TRACK_DST = 1, MB_TRACK_BOTH = 2, MB_TRACK_RULE = 3, MB_TRACK_EITHER = 4 };
enum mb_threshold {
    MB_THRESHOLD_LIMIT = 0,     /* the first |count| in a time */
    MB_THRESHOLD_THRESHOLD = 1, /* each |count|-th in a time */
    MB_THRESHOLD_BOTH = 2,      /* once in a time, at the |count|-th */
    MB_THRESHOLD_FILTER = 3,    /* detection_filter: those after the |count|-th */
    MB_THRESHOLD_RATE = 4       /* rate_filter: another action after the |count|-th */
};

/* The beginning of a rule program. Strings are offsets into its bytes. */
struct mb_rule_head {
    uint32_t magic;
    uint32_t sid;
    uint32_t gid;
    uint32_t rev;
    uint32_t text;           /* message, category, metadata: one after the other */
    uint16_t msg_len;
    uint16_t category_len;
    uint32_t metadata_len;   /* of a JSON object; 0: none */
    uint32_t bytes;          /* how many follow the operations */
    uint16_t flags;          /* of enum mb_rule_flag */
    uint16_t src;            /* address set; 0: any */
    uint16_t dst;
    uint16_t sport;          /* port set; 0: any */
    uint16_t dport;
    uint16_t inspections;
    uint16_t ops;
    uint8_t action;          /* enum mb_rule_action */
    uint8_t kind;            /* enum mb_rule_kind */
    uint8_t severity;
    uint8_t app;             /* enum mb_app_proto; UNKNOWN: any */
    uint8_t ip_proto;        /* 255: any */
    uint8_t ip_version;      /* 0: any */
};

/* Operations that share a buffer, tried together. */
struct mb_rule_inspect {
    uint16_t buffer;         /* of mb_rules_buffer() */
    uint16_t first;          /* operation */
    uint16_t count;
    uint16_t spare;
};

/* One operation. */
struct mb_rule_op {
    uint8_t type;            /* enum mb_rule_op_type */
    uint8_t vars;            /* MB_OPV_ bits */
    uint16_t flags;          /* of enum mb_rule_op_flag */
    uint16_t x;
    uint16_t y;
    int32_t a;
    int32_t b;
    int32_t c;
    int32_t d;
    uint32_t data;           /* offset into the program's bytes */
    uint32_t len;
};

struct mb_rules;
struct mb_detect;

/* An empty set of rules. NULL: no memory. */
struct mb_rules *mb_rules_new(void);
void mb_rules_free(struct mb_rules *r);
/* Adds a set of addresses: |count| pairs of lowest and highest, ascending and
 * apart. Its number, from 1, or < 0. */
int mb_rules_addresses(struct mb_rules *r, const struct mb_addr *pairs, size_t count);
/* Adds a set of ports likewise. */
int mb_rules_ports(struct mb_rules *r, const uint16_t *pairs, size_t count);
/* The buffer |base| (enum mb_buffer) after |count| transforms: its number or
 * < 0. Equal calls give the same number. */
int mb_rules_buffer(struct mb_rules *r, int base, const uint8_t *transforms, size_t count);
/* Adds the rule |program|, copied. Rules are looked at in the order of adding.
 * Its number, or MB_EINVAL or MB_ESYNTAX with a sentence in |err|. */
int mb_rules_add(struct mb_rules *r, const void *program, size_t len, char *err);
/* Compiles the patterns of all rules. 0 or < 0. Afterwards nothing is added;
 * engines of any number of workers may share the result. */
int mb_rules_build(struct mb_rules *r, char *err);
/* Number of the decoder event named |name|, such as "ipv4.trunc_pkt". < 0: unknown. */
int mb_decode_event_number(const char *name);

/* How rules are applied. */
struct mb_detect_config {
    uint32_t max_alerts;      /* of one packet */
    uint32_t window;          /* stream bytes an inspection can look back over */
    uint32_t body_limit;      /* bytes of a body that are inspected */
    uint32_t flow_bits;       /* how many flowbits the rules name */
    uint8_t inline_mode;      /* verdicts are carried out; bytes are inspected before they are acknowledged */
    uint8_t payload;          /* EVE alerts repeat the payload, base64 */
    uint8_t payload_printable; /* the same as text */
    uint8_t packet;           /* EVE alerts repeat the packet, base64 */
    uint8_t verdict;          /* EVE alerts tell what became of the packet */
    uint8_t ethernet;         /* EVE records have MAC addresses */
    uint8_t spare[2];
};

/* What detection has done so far. */
struct mb_detect_stats {
    uint64_t alerts;
    uint64_t suppressed;      /* matches a threshold or suppression kept back */
    uint64_t overflow;        /* matches beyond max_alerts of a packet */
    uint64_t candidates;      /* rules whose program was run */
    uint64_t pcre_limits;     /* expressions stopped at a limit */
    uint64_t drops;           /* packets dropped */
};

/* Fills |c| with the defaults. */
void mb_detect_config_init(struct mb_detect_config *c);
/* Applies |r| to all flows of |e| from now on. Made before the first packet.
 * Belongs to the engine; |r| is borrowed. NULL and a sentence in |err|. */
struct mb_detect *mb_detect_new(struct mb_engine *e, const struct mb_rules *r, const struct mb_detect_config *c,
                                char *err);
/* Alerts on packets of the next source tell |name|. At most 256 of them. 0 or < 0. */
int mb_detect_file(struct mb_detect *d, const char *name);
/* How an alert is written. */
enum mb_alert_format {
    MB_ALERT_EVE = 0, /* Suricata's EVE alert record */
    MB_ALERT_FAST = 1 /* a line of fast.log */
};

/* What else an EVE log is told of. */
enum mb_alert_event {
    MB_ALERT_DROPS = 2,  /* packets dropped inline */
    MB_ALERT_HTTP = 4,   /* transactions that are over; so are the next */
    MB_ALERT_FILES = 8,  /* bodies of HTTP responses */
    MB_ALERT_DNS = 16,
    MB_ALERT_TLS = 32,
    MB_ALERT_SSH = 64
};

/* From now on each alert, and in EVE records what |events| (of enum
 * mb_alert_event) names, is written to |o|, borrowed. At most 8. 0 or < 0. */
int mb_alert_log(struct mb_detect *d, int format, uint32_t events, struct mb_output *o);
/* Copies the counters. */
void mb_detect_stats(const struct mb_detect *d, struct mb_detect_stats *stats);

/* cffi: end */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
