/* SPDX-License-Identifier: BSD-3-Clause */
/* transcript -- what a parser said, as text: the same bytes must give the same text
 *
 * A conversation is a row of turns: "C..." bytes of the client, "S..." of the
 * server, 'G' gaps and 'E' ends. It is played whole, byte by byte, or cut at
 * random places; pieces of a body are joined before they are written down, so
 * that the places of the cuts do not show.
 */
#ifndef MB_TRANSCRIPT_H
#define MB_TRANSCRIPT_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/proto.h"

struct growing {
    char *text;
    size_t len, size;
};

struct transcript {
    struct mb__proto_sink sink; /* first: the parser's view */
    struct mb__memory memory;
    struct growing out;
    struct growing body[2]; /* of the HTTP message of a side, so far */
};

enum turn_kind { TURN_DATA, TURN_GAP, TURN_END };

struct turn {
    enum turn_kind kind;
    int side;
    const uint8_t *data;
    size_t len;
};

enum cuts { CUT_NONE, CUT_BYTES, CUT_RANDOM };

static void growing_add(struct growing *g, const void *bytes, size_t len)
{
    if (g->len + len + 1 > g->size) {
        g->size = 2 * (g->len + len + 1);
        g->text = realloc(g->text, g->size);
        if (g->text == NULL)
            abort();
    }
    if (len > 0)
        memcpy(g->text + g->len, bytes, len);
    g->len += len;
    g->text[g->len] = '\0';
}

static void say(struct transcript *t, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    growing_add(&t->out, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

/* Bytes, those that cannot be printed as \xx. */
static void say_bytes(struct transcript *t, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] >= ' ' && p[i] < 0x7f && p[i] != '\\')
            growing_add(&t->out, p + i, 1);
        else
            say(t, "\\%02x", p[i]);
    }
}

static void say_view(struct transcript *t, const char *name, const struct mb_view *v)
{
    say(t, " %s=<", name);
    say_bytes(t, v->data, v->len);
    say(t, ">");
}

static void say_http(struct transcript *t, const struct mb_http *h)
{
    say_view(t, "start", &h->start_line);
    say_view(t, "method", &h->method);
    say_view(t, "target", &h->target);
    say_view(t, "host", &h->host);
    say_view(t, "path", &h->path);
    say_view(t, "version", &h->version);
    say_view(t, "reason", &h->reason);
    say(t, " status=%u transaction=%u flags=%u length=%" PRId64, h->status, h->transaction, h->flags,
        h->content_length);
    for (uint32_t i = 0; i < h->header_count; i++) {
        say(t, "\n ");
        say_view(t, "name", &h->headers[i].name);
        say_view(t, "value", &h->headers[i].value);
    }
    say(t, "\n ");
    say_view(t, "raw", &h->raw_headers);
}

static void say_list(struct transcript *t, const char *name, const uint16_t *list, uint32_t count)
{
    say(t, " %s=", name);
    for (uint32_t i = 0; i < count; i++)
        say(t, "%04x,", list[i]);
}

static void say_hello(struct transcript *t, const struct mb_tls_hello *h)
{
    say_view(t, "sni", &h->sni);
    say_view(t, "alpn", &h->alpn);
    say_view(t, "id", &h->session_id);
    say_view(t, "random", &h->random);
    say_list(t, "ciphers", h->ciphers, h->cipher_count);
    say_list(t, "extensions", h->extensions, h->extension_count);
    say_list(t, "groups", h->groups, h->group_count);
    say_list(t, "sigs", h->sig_algs, h->sig_alg_count);
    say_list(t, "versions", h->versions, h->version_count);
    say_view(t, "points", &h->point_formats);
    say_view(t, "ja3", &h->ja3_string);
    say(t, " record=%04x hello=%04x version=%04x server=%u v2=%u ja3=%s ja4=%s", h->record_version, h->hello_version,
        h->version, h->server, h->sslv2, h->ja3, h->ja4);
}

static void say_certificate(struct transcript *t, const struct mb_tls_certificate *c)
{
    say(t, " count=%u", c->count);
    for (uint32_t i = 0; i < c->count; i++)
        say(t, " der=%u", c->chain[i].len);
    say_view(t, "subject", &c->subject);
    say_view(t, "issuer", &c->issuer);
    say_view(t, "serial", &c->serial);
    say(t, " from=%" PRId64 " to=%" PRId64 " sha1=%s", c->not_before, c->not_after, c->sha1);
}

static void say_dns(struct transcript *t, const struct mb_dns *d)
{
    say(t, " id=%04x flags=%04x counts=%u,%u,%u,%u response=%u opcode=%u rcode=%u malformed=%u", d->id, d->flags,
        d->questions, d->answers, d->authorities, d->additionals, d->response, d->opcode, d->rcode, d->malformed);
    for (uint32_t i = 0; i < d->record_count; i++) {
        const struct mb_dns_rr *r = &d->records[i];
        say(t, "\n  section=%u type=%u class=%u ttl=%u", r->section, r->type, r->klass, r->ttl);
        say_view(t, "name", &r->name);
        say_view(t, "data", &r->rdata);
    }
}

static void say_ssh(struct transcript *t, const struct mb_ssh *s)
{
    say_view(t, "banner", &s->banner);
    say_view(t, "protocol", &s->protocol);
    say_view(t, "software", &s->software);
    say_view(t, "kex", &s->kex);
    say_view(t, "keys", &s->host_keys);
    say_view(t, "c2s", &s->ciphers_c2s);
    say_view(t, "s2c", &s->ciphers_s2c);
    say_view(t, "mac_c2s", &s->macs_c2s);
    say_view(t, "mac_s2c", &s->macs_s2c);
    say_view(t, "zip_c2s", &s->compression_c2s);
    say_view(t, "zip_s2c", &s->compression_s2c);
    say(t, " hassh=%s", s->hassh);
}

static int transcript_emit(struct mb__proto_sink *sink, uint32_t event, int side, const void *record,
                           const uint8_t *data, uint64_t len)
{
    static const char *const names[] = {"protocol", "request", "response", "body", "end",
                                        "hello",    "certificate", "dns",  "ssh"};
    struct transcript *t = (struct transcript *)sink;
    if (event == MB_EV_HTTP_BODY) {
        growing_add(&t->body[side], data, len);
        return 0;
    }
    say(t, "%c %s", "CS"[side], event == MB_EV_ANOMALY ? "anomaly" : names[event - MB_EV_PROTOCOL]);
    switch (event) {
    case MB_EV_HTTP_REQUEST:
    case MB_EV_HTTP_RESPONSE:
        say_http(t, record);
        break;
    case MB_EV_HTTP_END: {
        const struct mb_http *h = record;
        say(t, " transaction=%u status=%u flags=%u length=%" PRIu64 " body=<", h->transaction, h->status, h->flags,
            h->body_len);
        say_bytes(t, (const uint8_t *)t->body[side].text, t->body[side].len);
        t->body[side].len = 0;
        say(t, ">");
        break;
    }
    case MB_EV_TLS_HELLO:
        say_hello(t, record);
        break;
    case MB_EV_TLS_CERTIFICATE:
        say_certificate(t, record);
        break;
    case MB_EV_DNS:
        say_dns(t, record);
        break;
    case MB_EV_SSH:
        say_ssh(t, record);
        break;
    default:
        break;
    }
    say(t, "\n");
    return 0;
}

static void transcript_init(struct transcript *t, uint64_t wanted)
{
    memset(t, 0, sizeof *t);
    t->memory.limit = 64 * 1024 * 1024;
    t->sink.emit = transcript_emit;
    t->sink.memory = &t->memory;
    t->sink.wanted = wanted;
    growing_add(&t->out, "", 0);
}

static void transcript_fini(struct transcript *t)
{
    free(t->out.text);
    free(t->body[0].text);
    free(t->body[1].text);
}

/* Gives |data| in a copy of its exact size, so that a read past its end shows. */
static void give_exact(struct transcript *t, struct mb__proto_conn *c, int side, const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL)
        abort();
    if (len > 0)
        memcpy(copy, data, len);
    mb__proto_conn_data(c, &t->sink, side, copy, len);
    free(copy);
}

static void give_cut(struct transcript *t, struct mb__proto_conn *c, const struct turn *turn, enum cuts cuts,
                     uint32_t *seed)
{
    for (size_t at = 0, n; at < turn->len; at += n) {
        *seed = *seed * 1664525u + 1013904223u;
        n = cuts == CUT_NONE ? turn->len : cuts == CUT_BYTES ? 1 : 1 + (*seed >> 16) % (*seed >> 30 ? 9 : 300);
        n = n < turn->len - at ? n : turn->len - at;
        give_exact(t, c, turn->side, turn->data + at, n);
    }
}

/* Plays |turns| to a new connection; datagrams are never cut. The text stays in
 * t->out; memory must be back at 0 after it. */
static void transcript_play(struct transcript *t, const struct turn *turns, size_t count, bool datagrams,
                            enum cuts cuts, uint32_t seed)
{
    struct mb__proto_conn *c = mb__proto_conn_new(&t->sink, datagrams, 40000, 80);
    if (c == NULL)
        abort();
    for (size_t i = 0; i < count; i++) {
        const struct turn *turn = &turns[i];
        if (turn->kind == TURN_GAP)
            mb__proto_conn_gap(c, &t->sink, turn->side, turn->len);
        else if (turn->kind == TURN_END)
            mb__proto_conn_end(c, &t->sink, turn->side);
        else if (datagrams)
            give_exact(t, c, turn->side, turn->data, turn->len);
        else
            give_cut(t, c, turn, cuts, &seed);
    }
    say(t, "app=%s done=%d\n", mb_app_proto_name(mb__proto_conn_app(c)), mb__proto_conn_done(c));
    mb__proto_conn_free(c, &t->sink);
}

/* All events of the protocols. */
#define WANT_ALL (~UINT64_C(0))

/* Whether |text| holds |needle|; tells what it holds if not. */
static inline bool transcript_says(const char *text, const char *needle)
{
    bool found = text != NULL && strstr(text, needle) != NULL;
    if (!found)
        fprintf(stderr, "not said: %s\n---- said\n%s", needle, text != NULL ? text : "nothing");
    return found;
}

/* How often |text| holds |needle|. */
static inline int transcript_count(const char *text, const char *needle)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, needle)) != NULL; p++)
        n++;
    return n;
}

/* Plays whole, byte by byte and in |rounds| random ways. True if all say the
 * same and give their memory back; |*text| gets what was said (free it). */
static inline bool transcript_same(const struct turn *turns, size_t count, bool datagrams, uint64_t wanted, int rounds,
                                   char **text)
{
    struct transcript whole, cut;
    bool same = true;
    transcript_init(&whole, wanted);
    transcript_play(&whole, turns, count, datagrams, CUT_NONE, 0);
    same = whole.memory.used == 0;
    for (int i = 0; i <= rounds && !datagrams; i++) {
        transcript_init(&cut, wanted);
        transcript_play(&cut, turns, count, datagrams, i == 0 ? CUT_BYTES : CUT_RANDOM, (uint32_t)i * 7919u);
        if (strcmp(whole.out.text, cut.out.text) != 0 || cut.memory.used != 0) {
            fprintf(stderr, "---- whole (%d bytes held)\n%s---- cut %d (%d bytes held)\n%s", (int)whole.memory.used,
                    whole.out.text, i, (int)cut.memory.used, cut.out.text);
            same = false;
            i = rounds;
        }
        transcript_fini(&cut);
    }
    if (text != NULL) {
        *text = whole.out.text;
        whole.out.text = NULL;
    }
    transcript_fini(&whole);
    return same;
}

#endif
