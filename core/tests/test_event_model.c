/* SPDX-License-Identifier: BSD-3-Clause */
/* test_event_model -- random trees, registrations and changes in callbacks
 * against a model that is too simple to be wrong
 *
 * The model is a table event x monitor x hook of what is registered, and a
 * recursive walk over the tree that looks everything up. What a callback does
 * is a function of the round and of how many came before it, so the model runs
 * first and the dispatcher must leave the same trace.
 */
#include "listeners.h"

#define NODES 40
#define MONITORS 4
#define TOKENS 6 /* different callback arguments */
#define TRACE 4096

enum kind { BASE, FILTER, MANY, ALLOCATED };

struct node {
    uint32_t event;
    int parent;
    enum kind kind;
};

/* 0: nothing; else 1 + token. */
typedef uint8_t table[NODES][MONITORS][3];

static struct node nodes[NODES];
static int node_count;
static table now;
static int words[TOKENS];
static int trace[2][TRACE], trace_len[2], calls;
static unsigned round_number;
static struct mb_flow *subject; /* NULL: later flows, with an event of no flow */

static unsigned scramble(unsigned a, unsigned b)
{
    uint64_t x = (uint64_t)a * 0x9e3779b97f4a7c15u ^ (uint64_t)b * 0xc2b2ae3d27d4eb4fu;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return (unsigned)(x >> 33);
}

static void put(int which, int what)
{
    if (trace_len[which] < TRACE)
        trace[which][trace_len[which]++] = what;
}

static bool hooked(void)
{
    return nodes[0].event == MB_EV_PACKET || nodes[0].event == MB_EV_STATE_CHANGE;
}

static int model_callback(struct mb_event *ev, void *arg);

/* ---- one random change, of the model or of the registry ---- */

static void change(unsigned random, bool model)
{
    int node = (int)(random % (unsigned)node_count), monitor = (int)(random / 64 % MONITORS);
    int hook = hooked() ? 1 + (int)(random / 256 % 2) : 0, token = (int)(random / 512 % TOKENS);
    bool on = random / 8192 % 5 < 3;
    if (model)
        now[node][monitor][hook] = (uint8_t)(on ? 1 + token : 0);
    else if (on)
        CHECK_INT(mb_on(mon[monitor], subject, nodes[node].event, hook, model_callback, &words[token]), 0);
    else
        mb_off(mon[monitor], subject, nodes[node].event, hook);
}

static void act(int call, bool model)
{
    unsigned random = scramble(round_number * 1000 + (unsigned)call, 77);
    if (random % 3 == 0 && call < 40)
        change(scramble(random, 5), model);
}

static bool answer(int node)
{
    return scramble((unsigned)node, round_number) % 4 != 0;
}

/* Whether filter |node| raises allocated event |child|. */
static bool raises(int node, int child)
{
    return nodes[child].kind == ALLOCATED && nodes[child].parent == node &&
           scramble((unsigned)child, round_number + 9) % 2 == 0;
}

/* ---- the model ---- */

static bool subtree_listens(table *t, int node, int hook)
{
    for (int m = 0; m < MONITORS; m++)
        if ((*t)[node][m][hook])
            return true;
    for (int i = node + 1; i < node_count; i++)
        if (nodes[i].parent == node && subtree_listens(t, i, hook))
            return true;
    return false;
}

static void model_raise(int node, int hook);

static void model_visit(table *start, int node, int hook)
{
    if (nodes[node].kind == FILTER || nodes[node].kind == MANY) {
        if (!subtree_listens(start, node, hook) || !subtree_listens(&now, node, hook))
            return;
        put(0, 1000 + node);
        for (int i = node + 1; nodes[node].kind == MANY && i < node_count; i++)
            if (raises(node, i))
                model_raise(i, hook);
        if (!answer(node))
            return;
    }
    for (int m = 0; m < MONITORS; m++) {
        uint8_t token = (*start)[node][m][hook];
        if (token == 0 || now[node][m][hook] != token)
            continue;
        put(0, node * 100 + m * 10 + token - 1 + 10000);
        act(calls++, true);
    }
    for (int i = node + 1; i < node_count; i++)
        if (nodes[i].parent == node && nodes[i].kind != ALLOCATED)
            model_visit(start, i, hook);
}

static void model_raise(int node, int hook)
{
    table start;
    memcpy(start, now, sizeof now);
    model_visit(&start, node, hook);
}

/* ---- the callbacks of the real one ---- */

static int node_of(uint32_t event)
{
    int i = 0;
    while (i < node_count && nodes[i].event != event)
        i++;
    return i;
}

static int model_callback(struct mb_event *ev, void *arg)
{
    int m = 0;
    while (mon[m] != ev->monitor)
        m++;
    put(1, node_of(ev->id) * 100 + m * 10 + (int)((int *)arg - words) + 10000);
    act(calls++, false);
    return 0;
}

static int model_filter(struct mb_event *ev, void *arg)
{
    int node = *(int *)arg;
    CHECK_INT(ev->id, nodes[node].event);
    put(1, 1000 + node);
    for (int i = node + 1; nodes[node].kind == MANY && i < node_count; i++)
        if (raises(node, i))
            CHECK_INT(mb_event_raise(ev, nodes[i].event), 0);
    return answer(node);
}

/* ---- the runs ---- */

static void grow_tree(uint32_t base, unsigned seed)
{
    nodes[0] = (struct node){base, -1, BASE};
    for (node_count = 1; node_count < NODES; node_count++) {
        unsigned random = scramble(seed, (unsigned)node_count);
        int parent = (int)(random % (unsigned)node_count), number = node_count, id;
        enum kind kind = random / 64 % 4 == 0 ? MANY : random / 64 % 4 == 1 ? ALLOCATED : FILTER;
        if (kind == ALLOCATED)
            id = mb__event_alloc(es, nodes[parent].event);
        else
            id = mb__event_define(es, nodes[parent].event, model_filter, &number, sizeof number);
        CHECK(id >= MB_EV_USER);
        nodes[node_count] = (struct node){(uint32_t)id, parent, kind};
    }
}

static void run(uint32_t base, bool with_flow, unsigned seed)
{
    listeners_setup(MONITORS);
    memset(now, 0, sizeof now);
    grow_tree(base, seed);
    subject = with_flow ? attached(0) : NULL;
    for (round_number = seed * 1000; round_number < seed * 1000 + 150; round_number++) {
        for (unsigned i = 0; i < 4; i++) {
            unsigned random = scramble(round_number, 100 + i);
            change(random, true);
            change(random, false);
        }
        int hook = hooked() ? 1 + (int)(round_number % 2) : 0;
        trace_len[0] = trace_len[1] = calls = 0;
        model_raise(0, hook);
        calls = 0;
        raise_at(subject, base, hook);
        CHECK_INT(trace_len[1], trace_len[0]);
        CHECK_MEM(trace[1], trace[0], (size_t)trace_len[0] * sizeof(int));
        bool any = false;
        for (int h = 0; h < 3; h++)
            any |= subtree_listens(&now, 0, h);
        uint64_t bits = with_flow ? subject->events : *mb__events_global(es);
        bits &= (1ull << MB_EV_BUILTIN) - 1; /* above are the second hooks' */
        CHECK_INT(bits, any ? (long long)1 << base : 0);
        if (with_flow && hook != 0)
            CHECK(mb__heard_at(subject, base, hook) || trace_len[1] == 0);
    }
    listeners_teardown();
}

static void test_on_a_flow(void)
{
    for (unsigned seed = 1; seed < 20; seed++) {
        run(MB_EV_DATA, true, seed);
        run(MB_EV_PACKET, true, seed + 100);
        run(MB_EV_STATE_CHANGE, true, seed + 200);
    }
}

static void test_without_a_flow(void)
{
    for (unsigned seed = 1; seed < 20; seed++)
        run(MB_EV_RAW, false, seed + 300);
}

int main(void)
{
    RUN(test_on_a_flow);
    RUN(test_without_a_flow);
    return test_done();
}
