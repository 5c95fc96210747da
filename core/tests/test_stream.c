/* SPDX-License-Identifier: BSD-3-Clause */
/* test_stream -- reassembly against a naive oracle: one byte array and a map */
#include "flow/stream.h"

#include <stdlib.h>

#include "test.h"

#define STREAM 600 /* bytes of the oracle's stream */

static struct mb__memory memory;
static struct mb__stream_config config;
static struct mb_flow flow;

static void begin(int overlap, uint32_t history, uint64_t max_bytes)
{
    memory = (struct mb__memory){.limit = 1 << 20};
    config = (struct mb__stream_config){.memory = &memory, .history_memory = &memory, .max_bytes = max_bytes,
                                        .history = history, .overlap = (uint8_t)overlap};
    memset(&flow, 0, sizeof flow);
}

static void end(void)
{
    mb__streams_free(&config, &flow);
    CHECK_INT(memory.used, 0);
}

static void put(uint64_t offset, const char *text)
{
    CHECK_INT(mb__stream_put(&config, &flow, MB_CLIENT, offset, (const uint8_t *)text, strlen(text)), 0);
}

/* All that is in order now, as text. */
static const char *drain(void)
{
    static char text[STREAM + 1];
    size_t n = 0;
    struct mb_view view;
    while (mb__stream_take(&flow, MB_CLIENT, &view)) {
        memcpy(text + n, view.data, view.len);
        n += view.len;
        mb__stream_deliver(&config, &flow, MB_CLIENT, view);
        mb__stream_taken(&config, &flow, MB_CLIENT);
    }
    text[n] = '\0';
    return text;
}

static void test_out_of_order(void)
{
    begin(MB_OVERLAP_FIRST, 0, 1000);
    put(3, "def");
    put(9, "jk");
    put(6, "ghi");
    CHECK_STR(drain(), "");
    struct mb_fragment list[4];
    CHECK_INT(mb_stream_fragments(&flow, MB_CLIENT, list, 4), 1);
    CHECK_INT(list[0].offset, 3);
    CHECK_INT(list[0].len, 8);
    put(0, "abc");
    CHECK_STR(drain(), "abcdefghijk");
    CHECK_INT(flow.end[MB_CLIENT].next, 11);
    CHECK_INT(mb_stream_fragments(&flow, MB_CLIENT, list, 4), 0);
    end();
}

static void test_first_copy_stands(void)
{
    begin(MB_OVERLAP_FIRST, 0, 1000);
    put(2, "CC");
    put(6, "GG");
    put(1, "bcdefghi"); /* around both */
    put(0, "a");
    CHECK_STR(drain(), "abCCefGGi");
    end();
}

static void test_last_copy_stands(void)
{
    begin(MB_OVERLAP_LAST, 0, 1000);
    put(1, "bcdefghi");
    put(3, "DE"); /* splits it */
    put(8, "IJ"); /* takes its end */
    put(0, "a");
    CHECK_STR(drain(), "abcDEfghIJ");
    end();
}

static void test_delivered_bytes_never_change(void)
{
    begin(MB_OVERLAP_LAST, 100, 1000);
    put(0, "abc");
    CHECK_STR(drain(), "abc");
    put(1, "XYz");
    CHECK_STR(drain(), "z");
    uint8_t bytes[8];
    CHECK_INT(mb_stream_peek(&flow, MB_CLIENT, 0, bytes, sizeof bytes), 4);
    CHECK_MEM(bytes, "abcz", 4);
    end();
}

static void test_compare(void)
{
    begin(MB_OVERLAP_FIRST, 100, 1000);
    put(0, "abcdef");
    drain();
    put(8, "ij");
    struct mb__overlap o = mb__stream_compare(&flow, MB_CLIENT, 2, (const uint8_t *)"cdef", 4);
    CHECK(o.old && !o.new && !o.conflict);
    o = mb__stream_compare(&flow, MB_CLIENT, 4, (const uint8_t *)"efgh", 4);
    CHECK(o.old && o.new && !o.conflict);
    o = mb__stream_compare(&flow, MB_CLIENT, 4, (const uint8_t *)"eXgh", 4);
    CHECK(o.conflict);
    o = mb__stream_compare(&flow, MB_CLIENT, 7, (const uint8_t *)"hi!", 3);
    CHECK(o.conflict && o.new);
    o = mb__stream_compare(&flow, MB_CLIENT, 6, (const uint8_t *)"gh", 2);
    CHECK(!o.old && o.new && !o.conflict);
    o = mb__stream_compare(&flow, MB_CLIENT, -1, (const uint8_t *)"?ab", 3);
    CHECK(o.old && !o.new && !o.conflict);
    end();
}

static void test_history(void)
{
    begin(MB_OVERLAP_FIRST, 4, 1000);
    size_t len;
    CHECK(mb_stream_view(&flow, MB_CLIENT, 0, &len) == NULL);
    for (int i = 0; i < 26; i += 2) {
        char text[3] = {(char)('a' + i), (char)('b' + i), 0};
        put((uint64_t)i, text);
        drain();
        uint64_t from = i >= 4 ? (uint64_t)i - 4 : 0;
        const uint8_t *view = mb_stream_view(&flow, MB_CLIENT, from, &len);
        CHECK(view != NULL);
        CHECK_INT(len, (uint64_t)i + 2 - from);
        for (size_t k = 0; view != NULL && k < len; k++)
            CHECK_INT(view[k], 'a' + (int)from + (int)k);
    }
    CHECK(mb_stream_view(&flow, MB_CLIENT, 0, &len) == NULL);
    CHECK(mb_stream_view(&flow, MB_CLIENT, 27, &len) == NULL);
    end();
}

static void test_limits(void)
{
    begin(MB_OVERLAP_FIRST, 0, 5 + MB__PIECE_OVERHEAD);
    put(1, "bcdef");
    CHECK_INT(mb__stream_put(&config, &flow, MB_CLIENT, 6, (const uint8_t *)"g", 1), MB_ELIMIT);
    memory.limit = memory.used;
    CHECK_INT(mb__stream_put(&config, &flow, MB_SERVER, 6, (const uint8_t *)"g", 1), MB_ENOMEM);
    memory.limit = 1 << 20;
    put(0, "");
    CHECK_STR(drain(), "");
    mb__stream_skip(&config, &flow, MB_CLIENT, 1);
    CHECK_STR(drain(), "bcdef");
    end();
}

static int put_into(struct mb_flow *f, uint64_t offset)
{
    return mb__stream_put(&config, f, MB_CLIENT, offset, (const uint8_t *)"x", 1);
}

/* Who makes room: first those that have not settled, then the longest wait;
 * a flow with nothing pending holds no memory and is not asked. */
static void test_behind_the_end(void)
{
    begin(MB_OVERLAP_FIRST, 0, 1000);
    CHECK_INT(mb__stream_cut(&config, &flow, MB_CLIENT, 5), 0);
    put(1, "bc");
    put(4, "efgh");
    put(10, "xyz");
    CHECK_INT(mb__stream_cut(&config, &flow, MB_CLIENT, 6), 5);
    CHECK_INT(mb__stream_pending(&flow, MB_CLIENT), 4);
    put(0, "a");
    put(3, "d");
    CHECK_STR(drain(), "abcdef");
    put(8, "i");
    CHECK_INT(mb__stream_cut(&config, &flow, MB_CLIENT, 6), 1);
    CHECK(flow.streams == NULL);
    end();
}

/* A byte taken out of the stream: what waits behind it moves up, and so do the
 * sequence numbers that tell offsets. */
static void test_marks(void)
{
    begin(MB_OVERLAP_FIRST, 0, 1000);
    put(4, "ef");
    CHECK_INT(mb__stream_mark(&config, &flow, MB_CLIENT, 1), 0);
    CHECK_INT(mb__stream_mark(&config, &flow, MB_CLIENT, 2), 0);
    CHECK_INT(mb__stream_mark(&config, &flow, MB_CLIENT, 1), 0);
    CHECK_INT(mb__stream_to_mark(&flow, MB_CLIENT, 2), 2);
    CHECK_INT(mb__stream_to_mark(&flow, MB_CLIENT, 4), 2);
    flow.end[MB_CLIENT].next = 2;
    CHECK_INT(mb__stream_to_mark(&flow, MB_CLIENT, 2), 0);
    mb__stream_take_mark(&config, &flow, MB_CLIENT);
    CHECK_INT(flow.end[MB_CLIENT].stream_seq, 1);
    CHECK_INT(mb__stream_first_pending(&flow, MB_CLIENT), 3);
    CHECK_INT(mb__stream_to_mark(&flow, MB_CLIENT, 9), 9);
    put(2, "d");
    CHECK_STR(drain(), "def");
    CHECK(flow.streams == NULL);
    CHECK_INT(mb__stream_mark(&config, &flow, MB_CLIENT, 100), 0); /* never reached */
    end();
}

static void test_the_longest_wait(void)
{
    struct mb_flow a = {.end = {{.flags = MB_SIDE_SETTLED}}}, b = a, mute = {0};
    begin(MB_OVERLAP_FIRST, 0, 1000);
    CHECK(mb__stream_longest_wait(&config, NULL, true) == NULL);
    CHECK_INT(put_into(&a, 1), 0);
    CHECK_INT(put_into(&b, 1), 0);
    CHECK_INT(put_into(&a, 3), 0);
    CHECK(mb__stream_longest_wait(&config, NULL, true) == &a);
    CHECK(mb__stream_longest_wait(&config, &a, true) == &b);
    CHECK(mb__stream_longest_wait(&config, NULL, false) == NULL);
    CHECK_INT(put_into(&mute, 1), 0);
    CHECK(mb__stream_longest_wait(&config, NULL, true) == &mute);
    mb__stream_clear(&config, &mute, MB_CLIENT);
    mb__stream_clear(&config, &a, MB_CLIENT);
    CHECK(a.streams == NULL);
    CHECK_INT(put_into(&a, 1), 0);
    CHECK(mb__stream_longest_wait(&config, NULL, true) == &b);
    mb__streams_free(&config, &a);
    mb__streams_free(&config, &b);
    CHECK(mb__stream_longest_wait(&config, NULL, true) == NULL);
    end();
}

/* Many small pieces are as dear as a few large ones. */
static void test_small_pieces(void)
{
    begin(MB_OVERLAP_FIRST, 0, 100 * (1 + MB__PIECE_OVERHEAD));
    int kept = 0;
    for (uint64_t offset = 1; offset < 1000; offset += 2)
        kept += mb__stream_put(&config, &flow, MB_CLIENT, offset, (const uint8_t *)"x", 1) == 0;
    CHECK_INT(kept, 100);
    end();
}

static void test_ranges_only(void)
{
    begin(MB_OVERLAP_FIRST, 0, 1000);
    config.ranges_only = true;
    put(2, "cd");
    put(3, "de");
    struct mb_view view;
    mb__stream_skip(&config, &flow, MB_CLIENT, 2);
    CHECK(mb__stream_take(&flow, MB_CLIENT, &view));
    CHECK(view.data == NULL);
    CHECK_INT(view.len, 2);
    mb__stream_taken(&config, &flow, MB_CLIENT);
    struct mb__overlap o = mb__stream_compare(&flow, MB_CLIENT, 4, (const uint8_t *)"?", 1);
    CHECK(o.old && !o.conflict);
    end();
}

/* What the stream must hold: bytes by offset, written by the policy's rule. */
struct oracle {
    uint8_t byte[STREAM];
    bool known[STREAM];
    size_t next; /* delivered */
};

/* Bytes that were ever sent for each place: what the policies of systems choose from. */
static bool sent[STREAM][256];

static void oracle_put(struct oracle *o, int overlap, size_t offset, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        size_t at = offset + i;
        sent[at][data[i]] = true;
        if (at < o->next || (o->known[at] && overlap == MB_OVERLAP_FIRST))
            continue;
        o->byte[at] = data[i];
        o->known[at] = true;
    }
}

static void random_run(unsigned seed, int overlap)
{
    struct oracle o = {0};
    uint8_t got[STREAM];
    size_t filled = 0;
    memset(sent, 0, sizeof sent);
    srand(seed);
    begin(overlap, (uint32_t)(rand() % 3) * 40, 100000);
    for (int round = 0; round < 200; round++) {
        size_t offset = (size_t)rand() % (STREAM - 60), len = 1 + (size_t)rand() % 60;
        uint8_t data[60];
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)rand();
        oracle_put(&o, overlap, offset, data, len);
        CHECK_INT(mb__stream_put(&config, &flow, MB_CLIENT, offset, data, len), 0);
        struct mb_view view;
        while (mb__stream_take(&flow, MB_CLIENT, &view)) {
            memcpy(got + filled, view.data, view.len);
            filled += view.len;
            mb__stream_deliver(&config, &flow, MB_CLIENT, view);
            mb__stream_taken(&config, &flow, MB_CLIENT);
        }
        while (o.next < STREAM && o.known[o.next])
            o.next++;
        CHECK_INT(filled, o.next);
    }
    bool exact = overlap <= MB_OVERLAP_LAST;
    if (exact)
        CHECK_MEM(got, o.byte, filled);
    for (size_t at = 0; at < filled; at++)
        CHECK(sent[at][got[at]]);
    uint8_t rest[STREAM];
    for (size_t at = filled; at < STREAM; at++)
        if (mb_stream_peek(&flow, MB_CLIENT, at, rest, 1) == 1)
            CHECK(o.known[at] && (exact ? o.byte[at] == rest[0] : sent[at][rest[0]]));
        else
            CHECK(!o.known[at]);
    end();
}

static void test_random(void)
{
    for (unsigned seed = 1; seed <= 300; seed++) {
        int before = test_failures;
        random_run(seed, (int)(seed % MB_OVERLAP_COUNT));
        if (test_failures != before) {
            fprintf(stderr, "seed %u\n", seed);
            return;
        }
    }
}

int main(void)
{
    RUN(test_out_of_order);
    RUN(test_first_copy_stands);
    RUN(test_last_copy_stands);
    RUN(test_delivered_bytes_never_change);
    RUN(test_compare);
    RUN(test_history);
    RUN(test_limits);
    RUN(test_behind_the_end);
    RUN(test_marks);
    RUN(test_the_longest_wait);
    RUN(test_small_pieces);
    RUN(test_ranges_only);
    RUN(test_random);
    return test_done();
}
