/* SPDX-License-Identifier: BSD-3-Clause */
/* zeek_conn -- states, sizes and history of one connection, packet by packet */
#include "output/zeek.h"

#define TCP 6
#define UDP 17
#define ICMP 1
#define ICMPV6 58
#define ICMP_HEADER 8

/* ---- history ---------------------------------------------------------------- */

static void note(struct mb__zeek_conn *c, int side, char letter)
{
    if (c->history_len == MB__ZEEK_HISTORY)
        return;
    if (side == MB_CLIENT && letter >= 'a' && letter <= 'z')
        letter = (char)(letter - 'a' + 'A');
    c->history[c->history_len++] = letter;
}

static void note_once(struct mb__zeek_conn *c, int side, uint8_t bit, char letter)
{
    if (c->side[side].once & bit)
        return;
    c->side[side].once |= bit;
    note(c, side, letter);
}

static void note_again(struct mb__zeek_conn *c, int side, enum mb__zeek_again what, uint32_t seq, char letter)
{
    struct mb__zeek_side *s = &c->side[side];
    if (s->again >> what & 1 && s->seq[what] == seq)
        return;
    s->again |= (uint8_t)(1 << what);
    s->seq[what] = seq;
    note(c, side, letter);
}

/* At the 1st, 10th, 100th ... time. */
static void note_log(struct mb__zeek_conn *c, int side, enum mb__zeek_log what, char letter)
{
    uint32_t n = ++c->side[side].count[what];
    while (n >= 10 && n % 10 == 0)
        n /= 10;
    if (n == 1)
        note(c, side, letter);
}

static void note_tcp(struct mb__zeek_conn *c, int side, const struct mb_packet *p, uint32_t payload)
{
    uint8_t flags = p->tcp_flags;
    bool syn = flags & MB_TCP_SYN, fin = flags & MB_TCP_FIN, rst = flags & MB_TCP_RST;
    if (syn && (fin || rst))
        note_once(c, side, MB__ZEEK_ONCE_MULTI, 'q');
    if (fin && rst)
        note_once(c, side, MB__ZEEK_ONCE_MIXED, 'i');
    if (syn && flags & MB_TCP_ACK)
        note_again(c, side, MB__ZEEK_SYN_ACK, p->seq, 'h');
    else if (syn)
        note_again(c, side, MB__ZEEK_SYN, p->seq, 's');
    if (payload > 0)
        note_once(c, side, MB__ZEEK_ONCE_DATA, 'd');
    if (fin)
        note_again(c, side, MB__ZEEK_FIN, p->seq + payload, 'f');
    if (rst)
        note_again(c, side, MB__ZEEK_RST, p->seq, 'r');
    if (payload == 0 && !syn && !fin && !rst && flags & MB_TCP_ACK)
        note_once(c, side, MB__ZEEK_ONCE_ACK, 'a');
}

/* ---- states ----------------------------------------------------------------- */

static bool closed(const struct mb__zeek_side *s)
{
    return s->state == MB__ZEEK_CLOSED || s->state == MB__ZEEK_RESET;
}

/* The first that |from| sends. */
static uint8_t first_state(const struct mb__zeek_side *from, struct mb__zeek_side *to, uint8_t flags)
{
    (void)from;
    if (flags & MB_TCP_FIN)
        return MB__ZEEK_CLOSED;
    if (!(flags & MB_TCP_SYN)) {
        if (to->state != MB__ZEEK_SYN_ACK_SENT)
            return MB__ZEEK_PARTIAL;
        to->state = MB__ZEEK_ESTABLISHED; /* the SYN was not seen, the rest of the handshake was */
        return MB__ZEEK_ESTABLISHED;
    }
    if (!(flags & MB_TCP_ACK))
        return MB__ZEEK_SYN_SENT;
    if (to->state != MB__ZEEK_SYN_SENT)
        return MB__ZEEK_SYN_ACK_SENT;
    to->state = MB__ZEEK_ESTABLISHED;
    return MB__ZEEK_ESTABLISHED;
}

static void move(struct mb__zeek_conn *c, int side, uint8_t flags)
{
    struct mb__zeek_side *from = &c->side[side], *to = &c->side[!side];
    if (flags & MB_TCP_RST) {
        if (from->state != MB__ZEEK_CLOSED || !closed(to))
            from->state = MB__ZEEK_RESET;
    } else if (from->state == MB__ZEEK_INACTIVE) {
        from->state = first_state(from, to, flags);
    } else if (from->state == MB__ZEEK_SYN_SENT && flags & MB_TCP_SYN && flags & MB_TCP_ACK) {
        from->state = to->state = MB__ZEEK_ESTABLISHED; /* both opened at once */
    } else if (flags & MB_TCP_FIN && from->state != MB__ZEEK_RESET) {
        from->state = MB__ZEEK_CLOSED;
    }
}

/* ---- sequence numbers -------------------------------------------------------- */

/* |seq| from the side's start, taken to be near |near|. */
static int64_t from_start(const struct mb__zeek_side *s, uint32_t seq, int64_t near)
{
    return near + (int32_t)(seq - (s->start + (uint32_t)near));
}

static void take_numbers(struct mb__zeek_conn *c, int side, const struct mb_packet *p, uint32_t payload)
{
    struct mb__zeek_side *from = &c->side[side], *to = &c->side[!side];
    bool syn = p->tcp_flags & MB_TCP_SYN, fin = p->tcp_flags & MB_TCP_FIN, rst = p->tcp_flags & MB_TCP_RST;
    if (!from->started) {
        from->started = true;
        from->start = syn ? p->seq : p->seq - 1;
    }
    int64_t end = from_start(from, p->seq + payload + syn + fin, from->sent);
    if (payload > 0 && end - fin <= from->sent)
        note_log(c, side, MB__ZEEK_RETRANSMIT, 't');
    if (end > from->sent && !rst)
        from->sent = end;
    if (to->started && p->tcp_flags & MB_TCP_ACK && !rst) {
        int64_t acked = from_start(to, p->ack, to->acked > to->sent ? to->acked : to->sent);
        if (acked > to->acked)
            to->acked = acked;
    }
}

/* ---- packets ----------------------------------------------------------------- */

/* Bytes above the transport header, by the lengths in the headers: a capture
 * may hold less. None of protocols that Zeek does not know. */
static uint32_t payload_of(const struct mb_packet *p)
{
    uint32_t headers = p->payload_off;
    if (p->ip_proto == ICMP || p->ip_proto == ICMPV6)
        headers = p->l4_off + ICMP_HEADER;
    else if (p->ip_proto != TCP && p->ip_proto != UDP)
        return 0;
    return p->ip_len > headers ? p->ip_len - headers : 0;
}

static void tcp_packet(struct mb__zeek_conn *c, int side, const struct mb_packet *p, uint32_t payload)
{
    bool over = closed(&c->side[0]) && closed(&c->side[1]);
    note_tcp(c, side, p, payload);
    if (p->window == 0 && !(p->tcp_flags & (MB_TCP_SYN | MB_TCP_FIN | MB_TCP_RST)) && !closed(&c->side[side]))
        note_log(c, side, MB__ZEEK_ZERO_WINDOW, 'w');
    take_numbers(c, side, p, payload);
    move(c, side, p->tcp_flags);
    if (!over)
        c->last_ts = p->ts;
}

void mb__zeek_conn_packet(struct mb__zeek_conn *c, int side, const struct mb_packet *p, bool swapped)
{
    struct mb__zeek_side *from = &c->side[side];
    uint32_t payload = payload_of(p);
    if (c->side[0].packets == 0 && c->side[1].packets == 0) {
        c->first_ts = c->last_ts = p->ts;
        if (swapped)
            note(c, side, '^');
    }
    from->packets++;
    from->ip_bytes += p->ip_len;
    from->payload += payload;
    if (p->ip_proto == TCP) {
        tcp_packet(c, side, p, payload);
        return;
    }
    c->last_ts = p->ts;
    from->state = MB__ZEEK_PARTIAL;
    if (p->ip_proto == UDP)
        note_once(c, side, MB__ZEEK_ONCE_DATA, 'd');
}

void mb__zeek_conn_gap(struct mb__zeek_conn *c, int side, uint64_t len)
{
    c->side[side].missed += len;
    note_log(c, side, MB__ZEEK_GAP, 'g');
}

/* ---- what the record says ----------------------------------------------------- */

uint64_t mb__zeek_conn_bytes(const struct mb__zeek_conn *c, int side, int ip_proto)
{
    const struct mb__zeek_side *s = &c->side[side];
    if (ip_proto != TCP)
        return s->payload;
    if (!s->started)
        return 0;
    int64_t end = s->acked > s->sent ? s->acked : s->sent;
    int64_t size = end - 1 - (s->again >> MB__ZEEK_FIN & 1);
    return size > 0 ? (uint64_t)size : 0;
}

static const char *tcp_state(uint8_t orig, uint8_t resp, bool empty)
{
    bool orig_inactive = orig == MB__ZEEK_INACTIVE || orig == MB__ZEEK_PARTIAL;
    bool resp_inactive = resp == MB__ZEEK_INACTIVE || resp == MB__ZEEK_PARTIAL;
    if (resp == MB__ZEEK_RESET) {
        if (orig == MB__ZEEK_SYN_SENT || orig == MB__ZEEK_SYN_ACK_SENT || (orig == MB__ZEEK_RESET && empty))
            return "REJ";
        return orig_inactive ? "RSTRH" : "RSTR";
    }
    if (orig == MB__ZEEK_RESET)
        return resp_inactive ? "RSTOS0" : "RSTO";
    if (orig == MB__ZEEK_CLOSED && resp == MB__ZEEK_CLOSED)
        return "SF";
    if (orig == MB__ZEEK_CLOSED)
        return resp_inactive ? "SH" : "S2";
    if (resp == MB__ZEEK_CLOSED)
        return orig_inactive ? "SHR" : "S3";
    if (orig == MB__ZEEK_SYN_SENT && resp == MB__ZEEK_INACTIVE)
        return "S0";
    return orig == MB__ZEEK_ESTABLISHED && resp == MB__ZEEK_ESTABLISHED ? "S1" : "OTH";
}

const char *mb__zeek_conn_state(const struct mb__zeek_conn *c, int ip_proto)
{
    uint8_t orig = c->side[MB_CLIENT].state, resp = c->side[MB_SERVER].state;
    bool empty = mb__zeek_conn_bytes(c, MB_CLIENT, ip_proto) + mb__zeek_conn_bytes(c, MB_SERVER, ip_proto) == 0;
    if (ip_proto == TCP)
        return tcp_state(orig, resp, empty);
    if (ip_proto != UDP)
        return "OTH";
    if (orig == MB__ZEEK_INACTIVE)
        return resp == MB__ZEEK_INACTIVE ? "OTH" : "SHR";
    return resp == MB__ZEEK_INACTIVE ? "S0" : "SF";
}
