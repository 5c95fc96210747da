/* SPDX-License-Identifier: BSD-3-Clause */
/* decide -- the thresholds' memory, and the flows that alerts were told of */
#include "detect/decide.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 64
#define MOST_ROOM (1u << 24) /* flows in a table that is half full: 8 million, 128 MB */

struct mb__decider {
    struct mb_detect *detect;
    struct mb__tracker *thresholds;
    uint64_t *alerted;  /* ids of flows, open addressing; 0: free. Ids rise, so they need no hash */
    size_t room;        /* a power of two */
    size_t count;
    uint64_t told, kept_back;
};

struct mb__decider *mb__decider_new(struct mb_detect *d)
{
    struct mb__decider *decider = calloc(1, sizeof *decider);
    if (decider == NULL)
        return NULL;
    decider->detect = d;
    decider->room = FIRST_ROOM;
    decider->alerted = calloc(decider->room, sizeof *decider->alerted);
    decider->thresholds = mb__tracker_new(MB__TRACKERS, 0);
    if (decider->alerted == NULL || decider->thresholds == NULL) {
        mb__decider_free(decider);
        return NULL;
    }
    return decider;
}

void mb__decider_free(struct mb__decider *decider)
{
    if (decider == NULL)
        return;
    mb__tracker_free(decider->thresholds);
    free(decider->alerted);
    free(decider);
}

/* ---- flows that alerts were told of ---------------------------------------- */

static size_t place_of(const struct mb__decider *decider, uint64_t flow)
{
    size_t at = (size_t)(flow >> 3) & (decider->room - 1); /* the number of its first frame */
    while (decider->alerted[at] != 0 && decider->alerted[at] != flow)
        at = (at + 1) & (decider->room - 1);
    return at;
}

/* Twice the room. Without memory nothing changes: the table gets fuller. */
static void grow(struct mb__decider *decider)
{
    size_t room = decider->room;
    uint64_t *old = decider->alerted;
    uint64_t *alerted = room < MOST_ROOM ? calloc(2 * room, sizeof *alerted) : NULL;
    if (alerted == NULL)
        return;
    decider->alerted = alerted;
    decider->room = 2 * room;
    for (size_t i = 0; i < room; i++)
        if (old[i] != 0)
            alerted[place_of(decider, old[i])] = old[i];
    free(old);
}

static void remember(struct mb__decider *decider, uint64_t flow)
{
    if (2 * decider->count >= decider->room)
        grow(decider);
    size_t at = place_of(decider, flow);
    if (flow == 0 || decider->alerted[at] == flow || decider->count + 1 == decider->room)
        return;
    decider->alerted[at] = flow;
    decider->count++;
}

/* ---- decisions ---------------------------------------------------------------- */

static bool may_speak(struct mb__decider *decider, const struct mb__condition *c)
{
    struct mb_detect *d = decider->detect;
    const struct mb__rule *rule = &d->rules->rule[c->rule];
    struct mb__look look = {0};
    struct mb__tracker *own = d->thresholds;
    uint8_t action = rule->head->action;
    memcpy(&look.src, c->src, sizeof c->src);
    memcpy(&look.dst, c->dst, sizeof c->dst);
    d->now = c->ts;
    d->thresholds = decider->thresholds;
    bool speaks = mb__threshold(d, &look, rule, c->rule, &action);
    d->thresholds = own;
    if (!speaks) {
        decider->kept_back++;
        return false;
    }
    decider->told++;
    remember(decider, c->flow);
    return true;
}

bool mb__decide(void *arg, const struct mb__condition *c)
{
    struct mb__decider *decider = arg;
    if (c->kind == MB__CONDITION_SPEAK)
        return may_speak(decider, c);
    bool alerted = decider->alerted[place_of(decider, c->flow)] == c->flow;
    return alerted == (c->kind == MB__CONDITION_ALERTED);
}

void mb__decider_count(const struct mb__decider *decider, uint64_t *told, uint64_t *kept_back)
{
    *told = decider->told;
    *kept_back = decider->kept_back;
}
