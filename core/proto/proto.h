/* SPDX-License-Identifier: BSD-3-Clause */
/* proto -- application protocols found in the bytes: bytes in, records out
 *
 *   stream bytes of both sides --> probe all protocols --> one parser --> sink
 *
 * Parsers are sans-I/O: they know no packets, no flows and no clock. The same
 * bytes give the same records however they are cut. Every parser is bounded:
 * at most MB__PROTO_MAX_HOLD bytes of a message in pieces are kept per side,
 * from the engine's account; a longer one is reported and passed over.
 */
#ifndef MB_PROTO_PROTO_H
#define MB_PROTO_PROTO_H

#include "base/memory.h"
#include "mosbox.h"

#define MB__PROTO_MAX_HOLD (64 * 1024) /* bytes of a message waited for, per side */

/* Who takes what a parser finds. emit() gives 0 or a code that the parser
 * hands back at once; records and views are the parser's, until it returns. */
struct mb__proto_sink {
    int (*emit)(struct mb__proto_sink *sink, uint32_t event, int side, const void *record,
                const uint8_t *data, uint64_t len);
    struct mb__memory *memory; /* account for what is held */
    uint64_t wanted;           /* bit n: somebody listens to event n */
};

enum mb__probe { MB__PROBE_NO = 0, MB__PROBE_MORE = 1, MB__PROBE_YES = 2 };

/* A protocol. state is what create() gave. */
struct mb__proto {
    uint8_t app;     /* enum mb_app_proto */
    bool datagrams;  /* speaks over UDP: data() is given whole datagrams */
    bool streams;    /* speaks over TCP */
    uint64_t events; /* bits of the events it raises */
    /* Are the first |len| bytes that |side| sent of this protocol? */
    enum mb__probe (*probe)(int side, const uint8_t *data, size_t len, bool datagram);
    void *(*create)(struct mb__proto_sink *sink, bool datagram);
    int (*data)(void *state, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len);
    /* |len| bytes of |side| were lost; data() goes on after them. */
    int (*gap)(void *state, struct mb__proto_sink *sink, int side, uint64_t len);
    /* |side| will send no more. */
    int (*end)(void *state, struct mb__proto_sink *sink, int side);
    /* True when nothing more will be reported of this flow. */
    bool (*done)(const void *state);
    void (*destroy)(void *state, struct mb__proto_sink *sink);
};

extern const struct mb__proto mb__proto_http, mb__proto_tls, mb__proto_dns, mb__proto_ssh;

/* One flow's protocol: the search for it, then its parser. */
struct mb__proto_conn;

/* A search among the protocols that raise one of sink->wanted, or among all if
 * MB_EV_PROTOCOL is wanted. |ports| are only a hint of what to try first. NULL:
 * no memory. */
struct mb__proto_conn *mb__proto_conn_new(struct mb__proto_sink *sink, bool datagrams, uint16_t client_port,
                                          uint16_t server_port);
/* enum mb_app_proto found so far. */
int mb__proto_conn_app(const struct mb__proto_conn *c);
/* True when no more bytes need be given: nothing is known here, or the parser
 * has seen all it reports (an encrypted TLS session, say). */
bool mb__proto_conn_done(const struct mb__proto_conn *c);
/* Emits MB_EV_PROTOCOL (record NULL) when recognised, then what the parser finds. */
int mb__proto_conn_data(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side, const uint8_t *data, size_t len);
int mb__proto_conn_gap(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side, uint64_t len);
int mb__proto_conn_end(struct mb__proto_conn *c, struct mb__proto_sink *sink, int side);
void mb__proto_conn_free(struct mb__proto_conn *c, struct mb__proto_sink *sink);

#endif
