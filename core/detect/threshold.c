/* SPDX-License-Identifier: BSD-3-Clause */
/* threshold -- how often a rule may speak, and when it changes its action */
#include <string.h>

#include "detect/detect.h"

#define SECOND 1000000000LL
#define KIND_THRESHOLD 2
#define NO_TIMEOUT 0

/* What operation |index| of a rule counts for |look|. */
static struct mb__track_key key_of(const struct mb__look *look, const struct mb_rule_op *op, uint32_t rule,
                                   unsigned index)
{
    return mb__track_key(rule + 1, KIND_THRESHOLD << 16 | index, op->d, &look->src, &look->dst);
}

/* The count of the present period, which begins with its first packet. */
static struct mb__track *count_up(struct mb_detect *d, const struct mb__track_key *key, int64_t period)
{
    struct mb__track *entry = mb__tracker_find(d->thresholds, key, d->now);
    if (entry == NULL || d->now - entry->since > period) {
        if (entry != NULL)
            entry->until = 0;
        entry = mb__tracker_get(d->thresholds, key, d->now, d->now + period + 1);
    }
    entry->count++;
    return entry;
}

/* Whether a threshold of this kind says nothing more in a period once it has said all it may. */
static bool falls_quiet(const struct mb_rule_op *op)
{
    return op->a == MB_THRESHOLD_LIMIT || op->a == MB_THRESHOLD_BOTH;
}

static bool may_speak(struct mb_detect *d, const struct mb__look *look, const struct mb_rule_op *op, uint32_t rule,
                      unsigned index)
{
    uint32_t limit = (uint32_t)op->b;
    int64_t period = op->c * SECOND;
    struct mb__track_key key = key_of(look, op, rule, index);
    struct mb__track *entry = count_up(d, &key, period);
    if (d->quiet != NULL && entry->count == limit && falls_quiet(op))
        mb__quiet_set(d->quiet, &key, entry->since + period);
    switch (op->a) {
    case MB_THRESHOLD_LIMIT: return entry->count <= limit;
    case MB_THRESHOLD_BOTH: return entry->count == limit;
    case MB_THRESHOLD_FILTER: return entry->count > limit;
    default:
        if (entry->count < limit)
            return false;
        entry->count = 0;
        return true;
    }
}

/* rate_filter: after |count| matches in |seconds| the rule's action is another
 * for |timeout| seconds (the operation's data). */
static void rate_filter(struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule,
                        const struct mb_rule_op *op, uint32_t number, unsigned index, uint8_t *action)
{
    uint32_t timeout = NO_TIMEOUT;
    if (op->len == sizeof timeout)
        memcpy(&timeout, mb__op_data(rule, op), sizeof timeout);
    struct mb__track_key key = key_of(look, op, number, index);
    int64_t period = op->c * SECOND, longest = (op->c + (int64_t)timeout) * SECOND + 1;
    struct mb__track *entry = mb__tracker_get(d->thresholds, &key, d->now, d->now + longest);
    if (entry->acted) {
        if (timeout == NO_TIMEOUT || d->now - entry->since <= timeout * SECOND) {
            *action = (uint8_t)op->y;
            return;
        }
        *entry = (struct mb__track){.key = key, .since = d->now, .until = d->now + longest};
    }
    if (d->now - entry->since > period) {
        entry->since = d->now;
        entry->count = 0;
    }
    if (++entry->count > (uint32_t)op->b) {
        entry->acted = 1;
        entry->since = d->now;
        entry->until = d->now + longest;
        *action = (uint8_t)op->y;
    }
}

static bool suppressed(const struct mb_detect *d, const struct mb__look *look, const struct mb_rule_op *op)
{
    const struct mb_rules *r = d->rules;
    bool src = mb__in_addresses(r, (uint32_t)op->a, &look->src);
    bool dst = mb__in_addresses(r, (uint32_t)op->a, &look->dst);
    switch (op->d) {
    case MB_TRACK_SRC: return src;
    case MB_TRACK_DST: return dst;
    case MB_TRACK_EITHER: return src || dst;
    default: return true;
    }
}

bool mb__has_threshold(const struct mb__rule *rule)
{
    for (unsigned i = rule->after; i < rule->head->ops; i++)
        if (rule->op[i].type == MB_OP_THRESHOLD)
            return true;
    return false;
}

bool mb__threshold_quiet(const struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule,
                         uint32_t number)
{
    bool quiet = false;
    unsigned thresholds = 0;
    for (unsigned i = rule->after; i < rule->head->ops; i++) {
        const struct mb_rule_op *op = &rule->op[i];
        if (op->type != MB_OP_THRESHOLD)
            continue;
        struct mb__track_key key = key_of(look, op, number, i);
        quiet = falls_quiet(op) && mb__quiet_at(d->quiet, &key, d->now);
        thresholds++;
    }
    return quiet && thresholds == 1; /* another one would still have to count the match */
}

bool mb__threshold(struct mb_detect *d, const struct mb__look *look, const struct mb__rule *rule, uint32_t number,
                   uint8_t *action)
{
    bool speak = true;
    for (unsigned i = rule->after; i < rule->head->ops; i++) {
        const struct mb_rule_op *op = &rule->op[i];
        if (op->type == MB_OP_SUPPRESS && suppressed(d, look, op))
            speak = false;
        else if (op->type == MB_OP_THRESHOLD && op->a == MB_THRESHOLD_RATE)
            rate_filter(d, look, rule, op, number, i, action);
        else if (op->type == MB_OP_THRESHOLD && !may_speak(d, look, op, number, i))
            speak = false;
    }
    return speak;
}
