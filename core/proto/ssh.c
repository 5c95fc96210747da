/* SPDX-License-Identifier: BSD-3-Clause */
/* ssh -- the part of SSH that is not encrypted: identification and KEXINIT
 *
 *   lines until "SSH-..." --> packets: length, padding length, message --> done
 *                                      type 20 KEXINIT: ten name lists
 *
 * Sources: RFC 4253 4.2 (identification), 6 (packets), 7.1 (KEXINIT). HASSH is
 * the MD5 of a side's own key exchange, cipher, MAC and compression lists.
 */
#include "base/cursor.h"
#include "base/digest.h"
#include "proto/hold.h"
#include "proto/proto.h"

#define MAX_BANNER 255              /* RFC 4253 4.2, line end included */
#define MAX_LINES 64                /* lines before the identification */
#define MAX_PACKET (256 * 1024)     /* OpenSSH's limit; RFC 4253 6.1 asks for 35,000 */
#define LONE_SIDE_MAX (64 * 1024)   /* bytes after the end of the clear part, the other side silent */

enum { MSG_KEXINIT = 20, MSG_NEWKEYS = 21 };
enum phase { PHASE_BANNER = 0, PHASE_PACKETS, PHASE_FINISHED };

struct ssh_side {
    struct mb__hold hold; /* a piece of a packet */
    enum phase phase;
    uint32_t skip;        /* bytes of a packet nobody asked for */
    uint32_t idle;        /* bytes since PHASE_FINISHED */
    uint16_t banner_len;
    uint8_t lines;
    uint8_t banner[MAX_BANNER + 1]; /* a line so far, then the identification */
};

struct ssh {
    struct ssh_side side[2];
};

static enum mb__probe ssh_probe(int side, const uint8_t *data, size_t len, bool datagram)
{
    static const uint8_t start[4] = {'S', 'S', 'H', '-'};
    (void)side, (void)datagram;
    size_t n = len < sizeof start ? len : sizeof start;
    if (n > 0 && memcmp(data, start, n) != 0)
        return MB__PROBE_NO;
    return n == sizeof start ? MB__PROBE_YES : MB__PROBE_MORE;
}

static int anomaly(struct mb__proto_sink *sink, int side)
{
    return sink->emit(sink, MB_EV_ANOMALY, side, NULL, NULL, 0);
}

/* The clear part of this side is over. */
static void finish(struct ssh_side *s, struct mb__proto_sink *sink)
{
    mb__hold_free(&s->hold, sink->memory);
    s->phase = PHASE_FINISHED;
}

/* ---- identification ------------------------------------------------------ */

/* "SSH-protocol-software comments" */
static void read_banner(const struct ssh_side *s, struct mb_ssh *r)
{
    *r = (struct mb_ssh){.banner = {s->banner, s->banner_len}};
    if (s->banner_len < 4)
        return;
    const uint8_t *at = s->banner + 4, *end = s->banner + s->banner_len;
    const uint8_t *dash = memchr(at, '-', (size_t)(end - at));
    const uint8_t *stop = dash != NULL ? dash : end;
    r->protocol = (struct mb_view){at, (uint32_t)(stop - at)};
    if (dash == NULL)
        return;
    const uint8_t *space = memchr(dash, ' ', (size_t)(end - dash));
    stop = space != NULL ? space : end;
    r->software = (struct mb_view){dash + 1, (uint32_t)(stop - dash - 1)};
}

static bool is_version_2(const struct mb_view *protocol)
{
    return (protocol->len == 3 && memcmp(protocol->data, "2.0", 3) == 0) ||
           (protocol->len == 4 && memcmp(protocol->data, "1.99", 4) == 0);
}

static int banner_line(struct ssh_side *s, struct mb__proto_sink *sink, int side)
{
    struct mb_ssh record;
    while (s->banner_len > 0 && s->banner[s->banner_len - 1] == '\r')
        s->banner_len--;
    if (s->banner_len < 4 || memcmp(s->banner, "SSH-", 4) != 0) {
        s->banner_len = 0; /* a server may greet first */
        if (++s->lines < MAX_LINES)
            return 0;
        finish(s, sink);
        return anomaly(sink, side);
    }
    read_banner(s, &record);
    if (is_version_2(&record.protocol))
        s->phase = PHASE_PACKETS;
    else
        finish(s, sink);
    return sink->emit(sink, MB_EV_SSH, side, &record, NULL, 0);
}

/* Takes bytes up to the end of a line. */
static int banner_bytes(struct ssh_side *s, struct mb__proto_sink *sink, int side, const uint8_t **data, size_t *len)
{
    const uint8_t *lf = memchr(*data, '\n', *len);
    size_t n = lf != NULL ? (size_t)(lf - *data) : *len;
    size_t used = lf != NULL ? n + 1 : n;
    size_t room = sizeof s->banner - s->banner_len;
    bool over = n > room;
    memcpy(s->banner + s->banner_len, *data, n < room ? n : room);
    s->banner_len += (uint16_t)(n < room ? n : room);
    *data += used;
    *len -= used;
    if (over) {
        finish(s, sink);
        return anomaly(sink, side);
    }
    return lf != NULL ? banner_line(s, sink, side) : 0;
}

/* ---- packets ------------------------------------------------------------- */

static bool read_list(struct mb__cursor *c, struct mb_view *v)
{
    uint32_t n;
    const uint8_t *bytes;
    if (!mb__cursor_u32(c, &n) || (bytes = mb__cursor_take(c, n)) == NULL)
        return false;
    *v = (struct mb_view){bytes, n};
    return true;
}

static void hassh(struct mb_ssh *r, int side)
{
    bool client = side == MB_CLIENT;
    const struct mb_view lists[4] = {
        r->kex,
        client ? r->ciphers_c2s : r->ciphers_s2c,
        client ? r->macs_c2s : r->macs_s2c,
        client ? r->compression_c2s : r->compression_s2c,
    };
    struct mb__digest d;
    uint8_t md5[MB__MD5];
    mb__digest_init(&d, MB__MD5);
    for (int i = 0; i < 4; i++) {
        mb__digest_update(&d, ";", i > 0);
        mb__digest_update(&d, lists[i].data, lists[i].len);
    }
    mb__digest_final(&d, md5);
    mb__hex(md5, sizeof md5, r->hassh);
}

/* KEXINIT after its type byte: a cookie, then the lists. */
static int kexinit(struct ssh_side *s, struct mb__proto_sink *sink, int side, struct mb__cursor c)
{
    struct mb_ssh r;
    read_banner(s, &r);
    bool read = mb__cursor_skip(&c, 16) && read_list(&c, &r.kex) && read_list(&c, &r.host_keys) &&
                read_list(&c, &r.ciphers_c2s) && read_list(&c, &r.ciphers_s2c) && read_list(&c, &r.macs_c2s) &&
                read_list(&c, &r.macs_s2c) && read_list(&c, &r.compression_c2s) && read_list(&c, &r.compression_s2c);
    if (!read)
        return anomaly(sink, side);
    hassh(&r, side);
    return sink->emit(sink, MB_EV_SSH, side, &r, NULL, 0);
}

/* A whole packet, its length field included. */
static int packet(struct ssh_side *s, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    struct mb__cursor c = mb__cursor(data + 4, len - 4);
    uint8_t padding, type;
    int rc;
    bool read = mb__cursor_u8(&c, &padding) && padding < mb__cursor_left(&c);
    if (read) {
        mb__cursor_clip(&c, mb__cursor_left(&c) - padding);
        read = mb__cursor_u8(&c, &type);
    }
    if (!read)
        rc = anomaly(sink, side);
    else
        rc = type == MSG_KEXINIT ? kexinit(s, sink, side, c) : 0;
    finish(s, sink); /* nothing after KEXINIT is reported */
    return rc;
}

/* How much of the packet at |data| is wanted: all of a KEXINIT. 0: more bytes
 * are needed to tell. */
static size_t packet_size(const uint8_t *data, size_t len)
{
    return len >= 4 ? 4 + (size_t)mb__be32(data) : 0;
}

/* Packets that are small and not KEXINIT may come first (RFC 4253 11). */
static bool ignorable(const uint8_t *data)
{
    return data[5] < MSG_KEXINIT && data[5] != 0;
}

#define PACKET_HEAD 6 /* length, padding length, message type */

/* Decides on the packet whose first PACKET_HEAD bytes are at |head|: false, it
 * is passed over or refused. */
static bool worth_reading(struct ssh_side *s, struct mb__proto_sink *sink, int side, const uint8_t *head, int *rc)
{
    size_t size = packet_size(head, PACKET_HEAD);
    if (size < PACKET_HEAD || size > MAX_PACKET) {
        finish(s, sink);
        *rc = anomaly(sink, side);
        return false;
    }
    if (ignorable(head)) {
        s->skip = (uint32_t)size;
        return false;
    }
    if (head[5] != MSG_KEXINIT || size > MB__PROTO_MAX_HOLD) {
        bool odd = head[5] != MSG_NEWKEYS;
        finish(s, sink);
        *rc = odd ? anomaly(sink, side) : 0;
        return false;
    }
    return true;
}

static int packet_bytes(struct ssh_side *s, struct mb__proto_sink *sink, int side, const uint8_t **data, size_t *len)
{
    int rc = 0;
    bool direct = s->hold.len == 0 && *len >= PACKET_HEAD;
    if (!direct) {
        int filled = mb__hold_fill(&s->hold, sink->memory, PACKET_HEAD, data, len);
        if (filled < 0) {
            finish(s, sink);
            return anomaly(sink, side);
        }
        if (filled == 0)
            return 0;
    }
    const uint8_t *head = direct ? *data : s->hold.data;
    if (!worth_reading(s, sink, side, head, &rc)) {
        if (s->skip > 0 && !direct) {
            s->skip -= s->hold.len;
            mb__hold_free(&s->hold, sink->memory);
        }
        return rc;
    }
    size_t size = packet_size(head, PACKET_HEAD);
    if (direct && *len >= size) {
        rc = packet(s, sink, side, *data, size);
        *data += size;
        *len -= size;
        return rc;
    }
    int filled = mb__hold_fill(&s->hold, sink->memory, size, data, len);
    if (filled < 0) {
        finish(s, sink);
        return anomaly(sink, side);
    }
    return filled > 0 ? packet(s, sink, side, s->hold.data, size) : 0;
}

static void skip_some(struct ssh_side *s, const uint8_t **data, size_t *len)
{
    size_t n = s->skip < *len ? s->skip : *len;
    s->skip -= (uint32_t)n;
    *data += n;
    *len -= n;
}

/* ---- the parser ---------------------------------------------------------- */

static void *ssh_create(struct mb__proto_sink *sink, bool datagram)
{
    (void)datagram;
    struct ssh *h = mb__memory_alloc(sink->memory, sizeof *h);
    if (h != NULL)
        memset(h, 0, sizeof *h);
    return h;
}

static void ssh_destroy(void *state, struct mb__proto_sink *sink)
{
    struct ssh *h = state;
    mb__hold_free(&h->side[0].hold, sink->memory);
    mb__hold_free(&h->side[1].hold, sink->memory);
    mb__memory_free(sink->memory, h, sizeof *h);
}

static int ssh_data(void *state, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len)
{
    struct ssh_side *s = &((struct ssh *)state)->side[side];
    int rc = 0;
    while (rc == 0 && len > 0 && s->phase != PHASE_FINISHED) {
        if (s->skip > 0)
            skip_some(s, &data, &len);
        else if (s->phase == PHASE_BANNER)
            rc = banner_bytes(s, sink, side, &data, &len);
        else
            rc = packet_bytes(s, sink, side, &data, &len);
    }
    if (s->phase == PHASE_FINISHED && s->idle < LONE_SIDE_MAX)
        s->idle += (uint32_t)(len < LONE_SIDE_MAX ? len : LONE_SIDE_MAX);
    return rc;
}

static int ssh_gap(void *state, struct mb__proto_sink *sink, int side, uint64_t len)
{
    struct ssh_side *s = &((struct ssh *)state)->side[side];
    if (s->phase == PHASE_FINISHED)
        return 0;
    if (len <= s->skip) {
        s->skip -= (uint32_t)len;
        return 0;
    }
    finish(s, sink);
    return anomaly(sink, side);
}

static int ssh_end(void *state, struct mb__proto_sink *sink, int side)
{
    finish(&((struct ssh *)state)->side[side], sink);
    return 0;
}

static bool ssh_done(const void *state)
{
    const struct ssh_side *c = &((const struct ssh *)state)->side[0], *s = c + 1;
    if (c->phase == PHASE_FINISHED && s->phase == PHASE_FINISHED)
        return true;
    return c->idle >= LONE_SIDE_MAX || s->idle >= LONE_SIDE_MAX;
}

const struct mb__proto mb__proto_ssh = {
    .app = MB_APP_SSH,
    .streams = true,
    .events = UINT64_C(1) << MB_EV_SSH,
    .probe = ssh_probe,
    .create = ssh_create,
    .data = ssh_data,
    .gap = ssh_gap,
    .end = ssh_end,
    .done = ssh_done,
    .destroy = ssh_destroy,
};
