/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_defrag -- fragments in any order, overlapping, too long, too late: what a byte-by-byte model makes of them
 *
 *   input: options, then 4 bytes a fragment --> frames --> a decoder, frame by frame --> whole datagrams
 *                                                 |                                          | the same?
 *                                                 +----> the model: an owner a byte  --------+
 *                                                 +----> a decoder, in bursts --> the same counters?
 *
 * The model knows no pieces, only which fragment each byte is of; an old piece is
 * the run of bytes of one fragment. By option memory is short: then datagrams make
 * room for each other, and only the limits are looked at.
 */
#include <assert.h>
#include <stdlib.h>

#include "../tests/decoding.h"
#include "base/overlap.h"

#define IDS 4            /* datagrams at once */
#define MAX_FRAGMENTS 250 /* numbered from 1; the number is the TTL */
#define MAX_LEN 256
#define PART 65536       /* bytes of a fragmentable part */
#define PROTO 253        /* RFC 3692: nobody's */
#define TIMEOUT INT64_C(30000000000)
#define MS INT64_C(1000000)

struct fragment {
    unsigned id;
    uint32_t offset;
    uint32_t len;
    bool more;
    uint8_t number;
    uint8_t bytes[MAX_LEN];
};

/* ---- the model --------------------------------------------------------------- */

struct model {
    bool used;
    uint8_t head; /* number of the fragment whose header stands; 0: none yet */
    int64_t first;
    uint32_t total, highest, filled;
    uint8_t owner[PART]; /* number of the fragment; 0: nobody */
    uint8_t bytes[PART];
};

static struct model models[IDS];

static void forget(struct model *m)
{
    memset(m->owner, 0, m->highest);
    m->used = false;
    m->head = 0;
    m->total = m->highest = m->filled = 0;
}

/* The run of bytes of one fragment around |at|. */
static struct mb__extent piece_at(const struct model *m, uint32_t at)
{
    struct mb__extent run = {at, at + 1};
    while (run.begin > 0 && m->owner[run.begin - 1] == m->owner[at])
        run.begin--;
    while (run.end < PART && m->owner[run.end] == m->owner[at])
        run.end++;
    return run;
}

/* Puts the bytes in; whether some of them were there already, other than in a copy of a whole piece. */
static bool fill_in(struct model *m, int policy, const struct fragment *f, uint32_t len)
{
    const struct mb__extent fresh = {f->offset, f->offset + len};
    bool overlap = false;
    for (uint32_t at = f->offset; at < fresh.end;) {
        uint32_t end = at + 1;
        bool take = m->owner[at] == 0;
        if (take) {
            m->filled++;
        } else {
            const struct mb__extent old = piece_at(m, at);
            overlap |= old.begin != fresh.begin || old.end != fresh.end || memcmp(m->bytes + at, f->bytes, len) != 0;
            take = mb__overlap_fresh_wins(MB__OVERLAP_IP, policy, fresh, old);
            end = (uint32_t)(old.end < fresh.end ? old.end : fresh.end);
        }
        for (; at < end; at++)
            if (take) {
                m->owner[at] = f->number;
                m->bytes[at] = f->bytes[at - f->offset];
            }
    }
    return overlap;
}

/* The datagram that the fragment completes, to be forgotten by the caller; NULL: none. */
static struct model *take(const struct fragment *f, bool v6, int policy, int64_t now)
{
    struct model *m = &models[f->id];
    uint32_t len = f->len, end;
    for (int i = 0; i < IDS; i++)
        if (models[i].used && now - models[i].first > TIMEOUT)
            forget(&models[i]);
    if (f->offset + len + (v6 ? 0 : 20) > 65535) /* as it was sent */
        return NULL;
    if (f->more && len % 8 != 0)
        len = v6 ? 0 : len / 8 * 8;
    if (len == 0)
        return NULL;
    if (!m->used) {
        m->used = true;
        m->first = now;
    }
    end = f->offset + len;
    if (m->total != 0 && (f->more ? end > m->total : end != m->total))
        return NULL;
    if (!f->more && m->highest > end)
        return NULL;
    if (!f->more)
        m->total = end;
    if (end > m->highest)
        m->highest = end;
    if (f->offset == 0 && m->head == 0)
        m->head = f->number;
    if (fill_in(m, policy, f, len) && v6) {
        forget(m); /* RFC 8200 4.5 */
        return NULL;
    }
    return m->filled == m->total ? m : NULL;
}

/* ---- frames -------------------------------------------------------------------- */

static bool next_fragment(struct mb__cursor *c, struct fragment *f, int64_t *now)
{
    const uint8_t *b = mb__cursor_take(c, 4);
    if (b == NULL)
        return false;
    uint8_t variant = b[0] >> 4;
    f->id = b[0] & 3;
    f->more = b[0] & 4;
    f->offset = b[0] & 8 ? 65528 - b[1] * 8u : b[1] * 8u;
    f->len = b[2] + 1u;
    for (uint32_t i = 0; i < f->len; i++) /* of one variant all fragments agree */
        f->bytes[i] = (uint8_t)((f->offset + i) * 7 + (f->offset + i) / 256 + variant * 50u);
    *now += b[3] == 255 ? TIMEOUT + MS : b[3] * 100 * MS;
    return true;
}

/* The fragment as an IP packet in memory of just its size. */
static struct mb_frame packet_of(const struct fragment *f, bool v6, int64_t now)
{
    uint32_t head = v6 ? 48 : 20, len = head + f->len;
    uint8_t *b = calloc(1, len);
    assert(b != NULL);
    if (v6) {
        b[0] = 0x60;
        mb__put_be16(b + 4, (uint16_t)(8 + f->len));
        b[6] = 44;
        b[7] = f->number;
        b[8] = b[24] = 0xfd;
        b[39] = 1;
        b[40] = PROTO;
        mb__put_be16(b + 42, (uint16_t)(f->offset | f->more));
        mb__put_be32(b + 44, f->id);
    } else {
        b[0] = 0x45;
        mb__put_be16(b + 2, (uint16_t)len);
        mb__put_be16(b + 4, (uint16_t)f->id);
        mb__put_be16(b + 6, (uint16_t)(f->offset / 8 | (f->more ? 0x2000u : 0)));
        b[8] = f->number;
        b[9] = PROTO;
        b[12] = b[16] = 10;
        b[19] = 1;
    }
    memcpy(b + head, f->bytes, f->len);
    return (struct mb_frame){.ts = now, .data = b, .caplen = len, .wirelen = len};
}

/* ---- decoders -------------------------------------------------------------------- */

static void start(struct decoding *r, int policy, bool tight)
{
    decoding_init(r);
    r->config.max_fragments = tight ? 2 : IDS;
    r->config.timeout_fragment = TIMEOUT;
    r->config.overlap = (uint8_t)policy;
    r->memory.limit = tight ? 2000 : 1 << 24;
    decoding_start(r);
    assert(r->decoder != NULL);
}

static void stop(struct decoding *r)
{
    decoding_stop(r);
    assert(r->memory.used == 0);
}

static void decode_all(struct decoding *r, const struct mb_frame *frames, int n, bool v6)
{
    for (int done = 0; done < n;) {
        int some = n - done < MB_BURST ? n - done : MB_BURST;
        done += mb__decode_burst(r->decoder, v6 ? 229 : 228, frames + done, some, 0, false, &r->burst);
        assert(r->memory.used <= r->memory.limit);
        if (n > 1)
            mb__decoder_release(r->decoder);
    }
}

/* |p| is the datagram of |m|, or (NULL) none. */
static void compare(const struct mb_packet *p, const struct model *m, bool v6)
{
    bool whole = p->flags & MB_PKT_REASSEMBLED;
    assert(whole == (m != NULL));
    assert(whole == !(p->flags & MB_PKT_FRAGMENT));
    if (m == NULL)
        return;
    uint32_t head = v6 ? 40 : 20;
    assert(p->net_len == head + m->total && p->ip_proto == PROTO);
    assert(p->net[v6 ? 7 : 8] == m->head);
    assert(memcmp(p->net + head, m->bytes, m->total) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct decoding single, bursts;
    struct mb__cursor c = mb__cursor(data, size);
    struct mb_frame frames[MAX_FRAGMENTS];
    struct fragment f = {0};
    uint8_t policy, options;
    int64_t now = 1000 * MS;
    int n = 0;
    if (!mb__cursor_u8(&c, &policy) || !mb__cursor_u8(&c, &options))
        return 0;
    policy %= MB_OVERLAP_COUNT;
    const bool v6 = options & 1, tight = options & 2;
    start(&single, policy, tight);
    start(&bursts, policy, tight);
    while (n < MAX_FRAGMENTS && next_fragment(&c, &f, &now)) {
        if (f.offset == 0 && !f.more)
            continue; /* no fragment */
        f.number = (uint8_t)(n + 1);
        frames[n] = packet_of(&f, v6, now);
        decode_all(&single, &frames[n++], 1, v6);
        if (!tight) {
            struct model *m = take(&f, v6, policy, now);
            compare(single.burst.packet, m, v6);
            if (m != NULL)
                forget(m);
        }
        mb__decoder_release(single.decoder);
    }
    decode_all(&bursts, frames, n, v6);
    assert(memcmp(&single.stats, &bursts.stats, sizeof single.stats) == 0);
    stop(&single);
    stop(&bursts);
    for (int i = 0; i < IDS; i++)
        forget(&models[i]);
    for (int i = 0; i < n; i++)
        free((void *)frames[i].data);
    return 0;
}
