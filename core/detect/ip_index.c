/* SPDX-License-Identifier: BSD-3-Clause */
/* ip_index -- a sweep over the ends of ranges makes segments */
#include "detect/ip_index.h"

#include <stdlib.h>
#include <string.h>

#define MAX_IDS (8u << 20)

/* A place where a range begins or has just ended. */
struct edge {
    struct mb_addr at;
    uint32_t rule;
    bool begins;
};

static int by_place(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    int order = memcmp(&x->at, &y->at, sizeof x->at);
    if (order != 0)
        return order;
    return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The address after |a|; false after the last. */
static bool next(struct mb_addr *a)
{
    for (int i = 15; i >= 0; i--)
        if (++a->byte[i] != 0)
            return true;
    return false;
}

static uint32_t make_edges(struct edge *edges, const struct mb__ip_range *ranges, uint32_t count)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct mb_addr end = ranges[i].high;
        edges[n++] = (struct edge){ranges[i].low, ranges[i].rule, true};
        if (next(&end))
            edges[n++] = (struct edge){end, ranges[i].rule, false};
    }
    qsort(edges, n, sizeof *edges, by_place);
    return n;
}

/* Rules whose ranges cover the place of the sweep. */
struct active {
    uint32_t *rule;
    uint32_t count;
};

static void cross(struct active *active, const struct edge *edge)
{
    if (edge->begins) {
        active->rule[active->count++] = edge->rule;
        return;
    }
    for (uint32_t i = 0; i < active->count; i++)
        if (active->rule[i] == edge->rule) {
            active->rule[i] = active->rule[--active->count];
            return;
        }
}

/* Starts a segment at |at| with the active rules. */
static int emit(struct mb__ip_index *x, const struct mb_addr *at, const struct active *active, uint32_t *ids,
                uint32_t *room)
{
    if (*ids + active->count > *room) {
        uint32_t more = 2 * (*ids + active->count);
        uint32_t *grown = more > MAX_IDS ? NULL : realloc(x->ids, more * sizeof *grown);
        if (grown == NULL)
            return more > MAX_IDS ? MB_ELIMIT : MB_ENOMEM;
        x->ids = grown;
        *room = more;
    }
    x->start[x->segments] = *at;
    x->first[x->segments++] = *ids;
    memcpy(x->ids + *ids, active->rule, active->count * sizeof *x->ids);
    qsort(x->ids + *ids, active->count, sizeof *x->ids, by_number);
    *ids += active->count;
    return 0;
}

int mb__ip_index_build(struct mb__ip_index *x, const struct mb__ip_range *ranges, uint32_t count)
{
    *x = (struct mb__ip_index){0};
    if (count == 0)
        return 0;
    struct edge *edges = malloc(2 * (size_t)count * sizeof *edges);
    struct active active = {malloc((size_t)count * sizeof *active.rule), 0};
    uint32_t room = 2 * count, ids = 0;
    x->start = malloc(2 * (size_t)count * sizeof *x->start);
    x->first = malloc((2 * (size_t)count + 1) * sizeof *x->first);
    x->ids = malloc(room * sizeof *x->ids);
    int err = MB_ENOMEM;
    if (edges != NULL && active.rule != NULL && x->start != NULL && x->first != NULL && x->ids != NULL) {
        uint32_t n = make_edges(edges, ranges, count);
        err = 0;
        for (uint32_t i = 0; i < n && err == 0; i++) {
            cross(&active, &edges[i]);
            if (i + 1 == n || memcmp(&edges[i].at, &edges[i + 1].at, sizeof edges[i].at) != 0)
                err = emit(x, &edges[i].at, &active, &ids, &room);
        }
        x->first[x->segments] = ids;
    }
    free(edges);
    free(active.rule);
    if (err < 0)
        mb__ip_index_free(x);
    return err;
}

void mb__ip_index_free(struct mb__ip_index *x)
{
    free(x->start);
    free(x->first);
    free(x->ids);
    *x = (struct mb__ip_index){0};
}

uint32_t mb__ip_index_find(const struct mb__ip_index *x, const struct mb_addr *a, const uint32_t **ids)
{
    uint32_t low = 0, high = x->segments;
    while (low < high) { /* the last segment that does not start above |a| */
        uint32_t mid = low + (high - low) / 2;
        if (memcmp(&x->start[mid], a, sizeof *a) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return 0;
    *ids = x->ids + x->first[low - 1];
    return x->first[low] - x->first[low - 1];
}
