/* SPDX-License-Identifier: BSD-3-Clause */
/* test_wheel -- the timing wheel against a plain list that is searched whole */
#include "base/wheel.h"

#include <stdlib.h>

#include "test.h"

#define TICK ((int64_t)1 << MB__WHEEL_SHIFT)
#define DAY ((int64_t)86400 * 1000000000)
#define SLOTS 400

struct item {
    uint64_t payload;
    struct mb__wheel_link link;
};

static struct mb__pool pool;
static struct mb__wheel *wheel;

static void setup(void)
{
    CHECK(mb__pool_init(&pool, sizeof(struct item), SLOTS) == 0);
    wheel = malloc(sizeof *wheel);
    CHECK(mb__wheel_init(wheel, &pool, offsetof(struct item, link), MB__WHEEL_FIFO) == 0);
}

static void teardown(void)
{
    mb__wheel_fini(wheel);
    free(wheel);
    mb__pool_fini(&pool);
}

static void test_empty(void)
{
    setup();
    CHECK(!mb__wheel_due(wheel, INT64_MAX - 1));
    CHECK_INT(mb__wheel_next(wheel, 0), 0);
    CHECK_INT(mb__wheel_next(wheel, 5000 * DAY), 0);
    CHECK_INT(mb__wheel_next(wheel, INT64_MAX), 0);
    CHECK_INT(mb__wheel_next(wheel, INT64_MIN), 0);
    uint32_t n = mb__pool_take(&pool);
    mb__wheel_del(wheel, n);
    CHECK_INT(wheel->count, 0);
    teardown();
}

static void test_never_early(void)
{
    setup();
    int64_t start = 1700000000 * (int64_t)1000000000;
    for (int64_t after = 1; after < 400 * DAY; after = after * 3 + 1) {
        uint32_t n = mb__pool_take(&pool);
        mb__wheel_add(wheel, n, start + after, start);
        CHECK_INT(mb__wheel_next(wheel, start + after - 1), 0);
        CHECK_INT(mb__wheel_next(wheel, start + after + TICK), n);
        mb__pool_give(&pool, n);
        start += after + TICK;
    }
    teardown();
}

static void test_order_in_a_tick(void)
{
    setup();
    uint32_t n[10];
    int64_t due = 300000 * TICK; /* far: level 2, then 1, then 0 */
    for (int i = 0; i < 10; i++) {
        n[i] = mb__pool_take(&pool);
        mb__wheel_add(wheel, n[i], due, (int64_t)i * 33000 * TICK);
        CHECK_INT(mb__wheel_next(wheel, (int64_t)i * 33000 * TICK), 0);
    }
    for (int i = 0; i < 10; i++)
        CHECK_INT(mb__wheel_next(wheel, due), n[i]);
    CHECK_INT(mb__wheel_next(wheel, due), 0);
    teardown();
}

/* With a rank, the entries of a tick come in its order, whenever and from
 * wherever they were added. */
static void test_rank(void)
{
    setup();
    mb__wheel_init(wheel, &pool, offsetof(struct item, link), offsetof(struct item, payload));
    int64_t due = 300000 * TICK;
    uint32_t n[100];
    for (uint32_t i = 0; i < 100; i++) {
        n[i] = mb__pool_take(&pool);
        struct item *item = mb__pool_at(&pool, n[i]);
        item->payload = i * 37 % 100;
        mb__wheel_add(wheel, n[i], due + (i % 2) * TICK, (int64_t)i * 3000 * TICK);
        CHECK_INT(mb__wheel_next(wheel, (int64_t)i * 3000 * TICK), 0);
    }
    mb__wheel_del(wheel, n[50]);
    for (int tick = 0; tick < 2; tick++) {
        uint64_t last = 0;
        for (int i = 0; i < 50 - (tick == 0); i++) {
            uint32_t slot = mb__wheel_next(wheel, due + 5 * TICK);
            CHECK(slot != 0);
            const struct item *item = mb__pool_at(&pool, slot);
            CHECK(i == 0 || item->payload > last);
            CHECK_INT(wheel->tick, (uint64_t)(due / TICK + tick));
            last = item->payload;
        }
    }
    CHECK_INT(mb__wheel_next(wheel, due + 5 * TICK), 0);
    CHECK_INT(wheel->count, 0);
    teardown();
}

static void test_past(void)
{
    setup();
    uint32_t n = mb__pool_take(&pool);
    int64_t now = 1000 * TICK;
    for (int64_t deadline = -5 * TICK; deadline <= now; deadline += 67 * TICK) {
        mb__wheel_add(wheel, n, deadline, now);
        CHECK_INT(mb__wheel_next(wheel, now), 0);
        CHECK_INT(mb__wheel_next(wheel, now + TICK), n);
        now += TICK;
    }
    mb__wheel_add(wheel, n, INT64_MIN, now);
    CHECK_INT(mb__wheel_next(wheel, now + TICK), n);
    mb__wheel_add(wheel, n, INT64_MAX, now);
    CHECK_INT(mb__wheel_next(wheel, INT64_MAX - 2 * TICK), 0);
    CHECK_INT(mb__wheel_next(wheel, INT64_MAX), n);
    teardown();
}

/* An owner that puts its entry in again at once, in the past, ends the loop. */
static void test_add_while_firing(void)
{
    setup();
    uint32_t n = mb__pool_take(&pool);
    int fired = 0;
    mb__wheel_add(wheel, n, 10 * TICK, 0);
    while (mb__wheel_next(wheel, 500 * DAY) != 0 && fired < 10) {
        fired++;
        mb__wheel_add(wheel, n, 5 * TICK, 500 * DAY);
    }
    CHECK_INT(fired, 1);
    CHECK_INT(mb__wheel_next(wheel, 500 * DAY + TICK), n);
    teardown();
}

/* ---- the oracle ---- */

struct plain {
    uint64_t tick;
    uint64_t order; /* of the add */
    bool in;
};

static struct plain plain[SLOTS + 1];
static uint64_t random_state = 88172645463325252u;

static uint64_t rnd(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A duration whose size is as often small as large. */
static int64_t rnd_time(void)
{
    return (int64_t)(rnd() >> (4 + rnd() % 50)) % (200 * DAY);
}

static uint32_t plain_next(uint64_t now_tick)
{
    uint32_t best = 0;
    for (uint32_t n = 1; n <= SLOTS; n++) {
        if (!plain[n].in || plain[n].tick > now_tick)
            continue;
        if (best == 0 || plain[n].tick < plain[best].tick ||
            (plain[n].tick == plain[best].tick && plain[n].order < plain[best].order))
            best = n;
    }
    if (best != 0)
        plain[best].in = false;
    return best;
}

static void plain_add(uint32_t n, int64_t deadline, uint64_t fired, int64_t now)
{
    static uint64_t order;
    uint64_t tick = deadline <= 0 ? 0 : ((uint64_t)deadline + TICK - 1) / TICK;
    if (tick <= fired)
        tick = (uint64_t)(now / TICK) + 1;
    plain[n] = (struct plain){tick, order++, true};
}

static void test_random(void)
{
    setup();
    int64_t now = 1600000000 * (int64_t)1000000000;
    for (int i = 0; i < SLOTS; i++)
        mb__pool_take(&pool);
    memset(plain, 0, sizeof plain);
    uint32_t count = 0;
    for (int step = 0; step < 30000; step++) {
        uint32_t n = 1 + (uint32_t)(rnd() % SLOTS);
        switch (rnd() % 4) {
        case 0:
        case 1:
            if (plain[n].in)
                break;
            int64_t deadline = now + rnd_time() - (rnd() % 4 == 0 ? rnd_time() : 0);
            mb__wheel_add(wheel, n, deadline, now);
            plain_add(n, deadline, (uint64_t)(now / TICK), now);
            count++;
            break;
        case 2:
            mb__wheel_del(wheel, n);
            count -= plain[n].in;
            plain[n].in = false;
            break;
        default:
            now += rnd_time() / 16;
            uint32_t got, want;
            do {
                want = plain_next((uint64_t)(now / TICK));
                CHECK(want == 0 || mb__wheel_due(wheel, now));
                got = mb__wheel_next(wheel, now);
                CHECK_INT(got, want);
                count -= want != 0;
                if (want != 0 && rnd() % 4 == 0) { /* again, while firing */
                    int64_t again = now + TICK + rnd_time();
                    mb__wheel_add(wheel, want, again, now);
                    plain_add(want, again, (uint64_t)(now / TICK), now);
                    count++;
                }
            } while (want != 0 && got == want);
        }
        CHECK_INT(wheel->count, count);
        if (rnd() % 3 == 0)
            mb__wheel_prefetch(wheel); /* a hint, which changes nothing */
    }
    teardown();
}

/* Many at each tick, in the order of their ranks; while they fire, others of the row are
 * taken out and put in again: where the row is now, between there and now, or later. */
static void test_random_rows(void)
{
    setup();
    mb__wheel_fini(wheel);
    CHECK(mb__wheel_init(wheel, &pool, offsetof(struct item, link), offsetof(struct item, payload)) == 0);
    memset(plain, 0, sizeof plain);
    for (uint32_t n = 1; n <= SLOTS; n++) {
        struct item *item = mb__pool_at(&pool, mb__pool_take(&pool));
        item->payload = n * 7919 % 1009;
    }
    int64_t now = 1600000000 * (int64_t)1000000000;
    uint32_t got = 0, want = 0;
    for (int step = 0; step < 20000; step++) {
        uint32_t n = 1 + (uint32_t)(rnd() % SLOTS);
        mb__wheel_del(wheel, n);
        plain[n].in = false;
        if (rnd() % 8 != 0) {
            int64_t deadline = now + ((int64_t)(rnd() % 8) - 3) * (rnd() % 40 == 0 ? 9000 * TICK : TICK);
            mb__wheel_add(wheel, n, deadline, now);
            plain_add(n, deadline, wheel->tick, now);
            plain[n].order = ((struct item *)mb__pool_at(&pool, n))->payload;
        }
        if (got == 0 && rnd() % 100 == 0)
            now += (int64_t)(1 + rnd() % (rnd() % 10 == 0 ? 20000 : 6)) * TICK;
        else if (got == 0)
            continue;
        mb__wheel_prefetch(wheel);
        want = plain_next((uint64_t)(now / TICK));
        got = mb__wheel_next(wheel, now);
        CHECK_INT(got, want);
        if (got != want)
            break;
    }
    teardown();
}

/* A clock that jumps over a year in small and large entries takes no time. */
static void test_jump(void)
{
    setup();
    uint32_t n = mb__pool_take(&pool), m = mb__pool_take(&pool);
    mb__wheel_add(wheel, n, TICK, 0);
    mb__wheel_add(wheel, m, 365 * DAY, 0);
    CHECK(mb__wheel_due(wheel, 30000 * DAY));
    CHECK_INT(mb__wheel_next(wheel, 30000 * DAY), n);
    CHECK_INT(mb__wheel_next(wheel, 30000 * DAY), m);
    CHECK_INT(mb__wheel_next(wheel, 30000 * DAY), 0);
    CHECK(!mb__wheel_due(wheel, 60000 * DAY));
    teardown();
}

int main(void)
{
    RUN(test_empty);
    RUN(test_never_early);
    RUN(test_order_in_a_tick);
    RUN(test_rank);
    RUN(test_past);
    RUN(test_add_while_firing);
    RUN(test_random);
    RUN(test_random_rows);
    RUN(test_jump);
    return test_done();
}
