/* SPDX-License-Identifier: BSD-3-Clause */
/* test_zeek_conn -- Zeek's states, sizes and history, packet by packet
 *
 * A connection is spelt as in its history: upper case is the originator's
 * packet. s h f r: with that flag; a: bare ACK; d: ten bytes; w: an ACK with a
 * window of zero; t: the last ten bytes once more; g: ten bytes are lost.
 */
#include "output/zeek.h"

#include <ctype.h>

#include "test.h"

#define TEN 10

struct talk {
    struct mb__zeek_conn conn;
    uint32_t seq[2];
    int64_t ts;
};

static void send_packet(struct talk *t, int side, uint8_t flags, uint32_t payload, uint32_t back, uint16_t window)
{
    struct mb_packet p = {
        .ip_proto = 6,
        .ts = t->ts += 1000,
        .l4_off = 20,
        .payload_off = 40,
        .payload_len = payload,
        .ip_len = 40 + payload,
        .tcp_flags = flags,
        .seq = t->seq[side] - back,
        .ack = t->seq[!side],
        .window = window,
    };
    bool first = t->conn.side[0].packets + t->conn.side[1].packets == 0;
    mb__zeek_conn_packet(&t->conn, side, &p, first && side == MB_SERVER);
    t->seq[side] += payload + (flags & MB_TCP_SYN ? 1 : 0) + (flags & MB_TCP_FIN ? 1 : 0) - back;
}

static void play(struct talk *t, const char *letters)
{
    memset(t, 0, sizeof *t);
    t->seq[MB_CLIENT] = 0xfffffff0; /* wraps soon */
    t->seq[MB_SERVER] = 7000;
    for (; *letters != '\0'; letters++) {
        int side = isupper((unsigned char)*letters) ? MB_CLIENT : MB_SERVER;
        switch (tolower((unsigned char)*letters)) {
        case 's': send_packet(t, side, MB_TCP_SYN, 0, 0, 1000); break;
        case 'h': send_packet(t, side, MB_TCP_SYN | MB_TCP_ACK, 0, 0, 1000); break;
        case 'a': send_packet(t, side, MB_TCP_ACK, 0, 0, 1000); break;
        case 'd': send_packet(t, side, MB_TCP_ACK, TEN, 0, 1000); break;
        case 't': send_packet(t, side, MB_TCP_ACK, TEN, TEN, 1000); break;
        case 'w': send_packet(t, side, MB_TCP_ACK, 0, 0, 0); break;
        case 'f': send_packet(t, side, MB_TCP_ACK | MB_TCP_FIN, 0, 0, 1000); break;
        case 'r': send_packet(t, side, MB_TCP_RST, 0, 0, 1000); break;
        case 'g':
            t->seq[side] += TEN;
            mb__zeek_conn_gap(&t->conn, side, TEN);
            break;
        default: CHECK(!"a letter without a meaning");
        }
    }
}

static const struct {
    const char *packets, *history, *state;
    unsigned orig, resp;
} cases[] = {
    {"S", "S", "S0", 0, 0},
    {"Sr", "Sr", "REJ", 0, 0},
    {"SR", "SR", "RSTOS0", 0, 0},
    {"SF", "SF", "SH", 0, 0},
    {"Sh", "Sh", "S1", 0, 0},
    {"ShA", "ShA", "S1", 0, 0},
    {"ShADad", "ShADad", "S1", 10, 10},
    {"ShADadadad", "ShADad", "S1", 10, 30},
    {"ShADdaA", "ShADda", "S1", 10, 10},
    {"ShADadFfA", "ShADadFf", "SF", 10, 10},
    {"ShADadF", "ShADadF", "S2", 10, 10},
    {"ShADadf", "ShADadf", "S3", 10, 10},
    {"ShADadR", "ShADadR", "RSTO", 10, 10},
    {"ShADadr", "ShADadr", "RSTR", 10, 10},
    {"ShADadFr", "ShADadFr", "RSTR", 10, 10},
    {"ShADadFfr", "ShADadFfr", "SF", 10, 10},
    {"ShADT", "ShADT", "S1", 10, 0},
    {"ShADTTTTTTTTTTA", "ShADTT", "S1", 10, 0},
    {"ShADwA", "ShADaw", "S1", 10, 0},
    {"ShADDgda", "ShADgda", "S1", 20, 20},
    {"hADad", "^hADad", "S1", 10, 10},
    {"hr", "^hr", "RSTRH", 0, 0},
    {"hf", "^hf", "SHR", 0, 0},
    {"D", "D", "OTH", 10, 0},
    {"DdA", "DdA", "OTH", 10, 10},
    {"DdFf", "DdFf", "SF", 10, 10},
};

static void test_histories(void)
{
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        struct talk t;
        char got[128], want[128];
        play(&t, cases[n].packets);
        snprintf(got, sizeof got, "%s: %.*s %s %llu %llu", cases[n].packets, t.conn.history_len, t.conn.history,
                 mb__zeek_conn_state(&t.conn, 6), (unsigned long long)mb__zeek_conn_bytes(&t.conn, 0, 6),
                 (unsigned long long)mb__zeek_conn_bytes(&t.conn, 1, 6));
        snprintf(want, sizeof want, "%s: %s %s %u %u", cases[n].packets, cases[n].history, cases[n].state,
                 cases[n].orig, cases[n].resp);
        CHECK_STR(got, want);
    }
}

/* The last ACK after both FINs counts as a packet but not as time. */
static void test_duration(void)
{
    struct talk t;
    play(&t, "ShAFfA");
    CHECK_INT(t.conn.last_ts - t.conn.first_ts, 4000);
    CHECK_INT(t.conn.side[MB_CLIENT].packets, 4);
    CHECK_INT(t.conn.side[MB_CLIENT].ip_bytes, 160);
}

static void test_long_history_is_cut(void)
{
    struct talk t;
    char many[201];
    memset(many, 'S', sizeof many - 1);
    many[200] = '\0';
    play(&t, many);
    CHECK_INT(t.conn.history_len, MB__ZEEK_HISTORY);
}

static void send_datagram(struct mb__zeek_conn *c, int side, uint8_t proto, uint32_t payload)
{
    uint32_t header = proto == 17 ? 8 : 0;
    struct mb_packet p = {.ip_proto = proto, .l4_off = 20, .payload_off = 20 + header, .ip_len = 28 + payload};
    mb__zeek_conn_packet(c, side, &p, false);
}

static void test_datagrams(void)
{
    struct mb__zeek_conn c = {0};
    send_datagram(&c, MB_CLIENT, 17, 100);
    CHECK_STR(mb__zeek_conn_state(&c, 17), "S0");
    send_datagram(&c, MB_SERVER, 17, 50);
    send_datagram(&c, MB_CLIENT, 17, 1);
    CHECK_STR(mb__zeek_conn_state(&c, 17), "SF");
    CHECK_INT(c.history_len, 2);
    CHECK_MEM(c.history, "Dd", 2);
    CHECK_INT(mb__zeek_conn_bytes(&c, MB_CLIENT, 17), 101);
    CHECK_INT(mb__zeek_conn_bytes(&c, MB_SERVER, 17), 50);

    c = (struct mb__zeek_conn){0};
    send_datagram(&c, MB_CLIENT, 1, 56);
    CHECK_STR(mb__zeek_conn_state(&c, 1), "OTH");
    CHECK_INT(c.history_len, 0);
    CHECK_INT(mb__zeek_conn_bytes(&c, MB_CLIENT, 1), 56);

    c = (struct mb__zeek_conn){0};
    send_datagram(&c, MB_CLIENT, 89, 44);
    CHECK_INT(mb__zeek_conn_bytes(&c, MB_CLIENT, 89), 0);
    CHECK_INT(c.side[MB_CLIENT].ip_bytes, 72);
}

int main(void)
{
    RUN(test_histories);
    RUN(test_duration);
    RUN(test_long_history_is_cut);
    RUN(test_datagrams);
    return test_done();
}
