/* SPDX-License-Identifier: BSD-3-Clause */
/* test_listing -- what a list says of frames, and who has which in his */
#include "decoding.h"
#include "packet/segment.h"
#include "packet/shard.h"
#include "test.h"

#define TICK_SHIFT 20
#define FRAMES 40

static struct frame frames[FRAMES];
static struct mb_frame list_of[FRAMES];
static struct mb__listed room[2][MB__LIST_FRAMES];

struct fixture {
    struct decoding d;
    struct mb__shards shards;
    struct mb__lists lists;
};

static void start(struct fixture *f)
{
    decoding_init(&f->d);
    decoding_start(&f->d);
    f->shards = (struct mb__shards){.count = 2, .config = &f->d.config, .key = &f->d.key};
    f->lists = (struct mb__lists){.latest = 1000, .frame = {room[0], room[1]}};
}

/* Frame |n|: TCP with |flags| from port 1000 + |n|, with or without timestamps, at |ts|. */
static void make(uint32_t n, unsigned flags, bool stamped, int64_t ts)
{
    static const uint8_t stamp[12] = {1, 1, 8, 10, 0, 0, 0, 77, 0, 0, 0, 78};
    struct frame *f = &frames[n];
    memset(f, 0, sizeof *f);
    frame_ethernet(f, 0x0800);
    frame_ipv4(f, 6, 0);
    frame_tcp_options(f, 1000 + n, 80, flags, stamp, stamped ? sizeof stamp : 0);
    frame_fill(f, 'x', n);
    frame_end(f);
    list_of[n] = frame_of(f);
    list_of[n].ts = ts;
}

static bool list(struct fixture *f, uint32_t n, bool briefs)
{
    return mb__list_frames(f->d.decoder, &f->shards, 1, TICK_SHIFT, briefs, list_of, n, &f->lists);
}

/* What the list has of a brief frame is enough to move its connection on. */
static void check_brief(const struct mb__listed *listed, uint32_t n, bool stamped)
{
    const struct mb__brief_at at = mb__brief_in_list(listed);
    const struct mb__segment s = mb__brief_segment(&at, listed->frame.ts);
    const struct mb__ends ends = mb__brief_ends(&at);
    const uint8_t client[4] = {10, 0, 0, 1}, server[4] = {10, 0, 0, 2};
    uint32_t src, dst;
    memcpy(&src, client, 4);
    memcpy(&dst, server, 4);
    CHECK(ends.src == mb__v4_end(src, (uint16_t)(1000 + n)));
    CHECK(ends.dst == mb__v4_end(dst, 80));
    CHECK_INT(s.seq, 1000);
    CHECK_INT(s.ack, 2000);
    CHECK_INT(s.len, n);
    CHECK_INT(s.window, 8192);
    CHECK_INT(s.flags, MB_TCP_ACK | MB_TCP_PSH);
    CHECK_INT(s.stamped, stamped);
    CHECK_INT(s.tsval, stamped ? 77 : 0);
    if (stamped)
        CHECK_INT(mb__brief_echo(&at), 78);
}

static void test_each_in_one_list(void)
{
    struct fixture f;
    start(&f);
    for (uint32_t n = 0; n < FRAMES; n++)
        make(n, MB_TCP_ACK | MB_TCP_PSH, n % 3 == 0, 1000 + n);
    CHECK(list(&f, FRAMES, true));
    CHECK_INT(f.lists.total, FRAMES);
    CHECK_INT(f.lists.count[0] + f.lists.count[1], FRAMES);
    CHECK_INT(f.lists.latest, 1000 + FRAMES - 1);
    for (uint32_t n = 0, at[2] = {0}; n < FRAMES; n++) {
        const struct mb__listed *both[2] = {&room[0][at[0]], &room[1][at[1]]};
        int whose = at[0] < f.lists.count[0] && both[0]->place == n ? 0 : 1;
        const struct mb__listed *listed = both[whose];
        at[whose]++;
        CHECK_INT(listed->place, n);
        CHECK_INT(listed->owner, whose);
        CHECK_INT(listed->shape, n % 3 == 0 ? MB__SHAPE_STAMPED : MB__SHAPE_BRIEF);
        CHECK_INT(listed->frame.ts, 1000 + n);
        CHECK_INT(mb__listed_time(listed), 1000 + n);
        check_brief(listed, n, n % 3 == 0);
        CHECK_INT(decode_frame(&f.d, 1, &list_of[n]), 1);
        CHECK_INT(listed->hash, f.d.out->hash);
    }
    decoding_stop(&f.d);
}

/* A frame that begins a tick of the clock, and one that cannot be told to be somebody's, are in all lists. */
static void test_in_all_lists(void)
{
    const int64_t tick = INT64_C(1) << TICK_SHIFT;
    struct fixture f;
    start(&f);
    f.lists.latest = tick - 2;
    make(0, MB_TCP_ACK | MB_TCP_PSH, true, tick - 1);
    make(1, MB_TCP_ACK | MB_TCP_PSH, true, tick);
    make(2, MB_TCP_ACK | MB_TCP_PSH, true, tick);
    make(3, MB_TCP_ACK | MB_TCP_PSH, true, tick + 1);
    list_of[3].caplen = 30;
    CHECK(list(&f, 4, true));
    CHECK_INT(f.lists.count[0] + f.lists.count[1], 6);
    for (int worker = 0; worker < 2; worker++) {
        uint32_t met = 0;
        for (uint32_t i = 0; i < f.lists.count[worker]; i++)
            met |= 1u << room[worker][i].place;
        CHECK_INT(met & 10, 10);
    }
    const struct mb__listed *last = &room[0][f.lists.count[0] - 1];
    CHECK_INT(last->owner, MB__SHARD_ALL);
    CHECK_INT(last->shape, MB__SHAPE_OTHER);
    CHECK_INT(last->before, tick);
    decoding_stop(&f.d);
}

/* Whose time needs mending is not brief, nor is any frame where the time before is asked for. */
static void test_times(void)
{
    struct fixture f;
    start(&f);
    make(0, MB_TCP_ACK | MB_TCP_PSH, true, 900);
    make(1, MB_TCP_SYN, false, 1005);
    CHECK(list(&f, 2, true));
    make(0, MB_TCP_ACK | MB_TCP_PSH, true, 1007);
    CHECK(list(&f, 1, false));
    CHECK_INT(f.lists.total, 3);
    const int64_t wanted[3][3] = {{1000, 1000, 1}, {1000, 1005, 0}, {1005, 1007, 0}};
    for (int worker = 0; worker < 2; worker++)
        for (uint32_t i = 0; i < f.lists.count[worker]; i++) {
            const struct mb__listed *listed = &room[worker][i];
            CHECK_INT(listed->shape, MB__SHAPE_PLAIN);
            CHECK_INT(listed->before, wanted[listed->place][0]);
            CHECK_INT(mb__listed_time(listed), wanted[listed->place][1]);
            CHECK_INT(mb__listed_backward(listed), wanted[listed->place][2]);
        }
    decoding_stop(&f.d);
}

static void test_no_room(void)
{
    struct fixture f;
    start(&f);
    make(0, MB_TCP_ACK, false, 2000);
    f.lists.count[1] = f.lists.total = MB__LIST_FRAMES;
    CHECK(!list(&f, 1, true));
    CHECK_INT(f.lists.total, MB__LIST_FRAMES);
    CHECK_INT(f.lists.count[0], 0);
    decoding_stop(&f.d);
}

int main(void)
{
    RUN(test_each_in_one_list);
    RUN(test_in_all_lists);
    RUN(test_times);
    RUN(test_no_room);
    return test_done();
}
