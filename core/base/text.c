/* SPDX-License-Identifier: BSD-3-Clause */
/* text -- the growing buffer, and what of numbers and dates is not inline */
#include "base/text.h"

#include <stdlib.h>

#define NS_PER_SECOND 1000000000
#define NS_PER_MINUTE (60 * (int64_t)NS_PER_SECOND)
#define FIRST_SIZE 1024 /* bytes a growable text starts with */

const char mb__digit_pairs[201] = "00010203040506070809"
                                  "10111213141516171819"
                                  "20212223242526272829"
                                  "30313233343536373839"
                                  "40414243444546474849"
                                  "50515253545556575859"
                                  "60616263646566676869"
                                  "70717273747576777879"
                                  "80818283848586878889"
                                  "90919293949596979899";

static const char no_bytes[1];

void mb__text_init_fixed(struct mb__text *t, char *buf, size_t size)
{
    t->start = t->at = size != 0 ? buf : (char *)no_bytes;
    t->end = t->start + size;
    t->kept = t->lost = 0;
    t->growable = t->full = false;
}

void mb__text_init(struct mb__text *t)
{
    mb__text_init_fixed(t, NULL, 0);
    t->growable = true;
}

void mb__text_fini(struct mb__text *t)
{
    if (t->growable && t->start != no_bytes)
        free(t->start);
    mb__text_init_fixed(t, NULL, 0);
}

void mb__text_clear(struct mb__text *t)
{
    if (t->full)
        t->end = t->start + t->kept;
    t->at = t->start;
    t->kept = t->lost = 0;
    t->full = false;
}

/* Makes room for |n| more bytes by moving; false without memory. */
static bool grow(struct mb__text *t, size_t n)
{
    size_t len = (size_t)(t->at - t->start), size = (size_t)(t->end - t->start);
    size_t want = size < FIRST_SIZE ? FIRST_SIZE : size * 2;
    if (want < len + n)
        want = len + n;
    char *p = realloc(t->start == no_bytes ? NULL : t->start, want);
    if (p == NULL)
        return false;
    t->start = p;
    t->at = p + len;
    t->end = p + want;
    return true;
}

/* Sends all further bytes to |spill|. Its first byte repeats the last of the
 * text, a line end if there is none: JSON looks back to see whether a comma is
 * due. */
static void turn_to_spill(struct mb__text *t)
{
    t->kept = (size_t)(t->at - t->start);
    t->spill[0] = t->kept != 0 ? t->at[-1] : '\n';
    t->full = true;
    t->at = t->spill + 1;
    t->end = t->spill + sizeof t->spill;
}

char *mb__text_more(struct mb__text *t, size_t n)
{
    if (!t->full) {
        if (t->growable && grow(t, n))
            return t->at;
        turn_to_spill(t);
        return t->at;
    }
    t->lost += (size_t)(t->at - t->spill - 1);
    t->spill[0] = t->at[-1];
    t->at = t->spill + 1;
    return t->at;
}

void mb__text_bytes(struct mb__text *t, const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len > 0) {
        size_t n = len < MB__TEXT_ROOM ? len : MB__TEXT_ROOM;
        mb__text_short(t, p, n);
        p += n;
        len -= n;
    }
}

char *mb__put_fixed(char *p, int64_t v, unsigned decimals)
{
    uint64_t scale = 1, u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    for (unsigned i = 0; i < decimals; i++)
        scale *= 10;
    if (v < 0)
        *p++ = '-';
    p = mb__put_u64(p, u / scale);
    if (decimals == 0)
        return p;
    *p++ = '.';
    return mb__put_padded(p, u % scale, decimals);
}

char *mb__put_hex(char *p, uint64_t v, unsigned digits)
{
    for (unsigned i = digits; i-- > 0; v >>= 4)
        p[i] = "0123456789abcdef"[v & 15];
    return p + digits;
}

/* The proleptic Gregorian calendar counted from 1 March of year 0, so that the
 * leap day is a year's last and months have the regular lengths
 * 31 30 31 30 31 31 30 31 30 31 31 (28 or 29). An era is 400 years. */
static void date_from_days(int64_t days, struct mb__date *d)
{
    days += 719468; /* from 0000-03-01 to 1970-01-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    uint32_t day = (uint32_t)(days - era * 146097);
    uint32_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    uint32_t of_year = day - (365 * year + year / 4 - year / 100);
    uint32_t month = (5 * of_year + 2) / 153;
    d->day = of_year - (153 * month + 2) / 5 + 1;
    d->month = month < 10 ? month + 3 : month - 9;
    d->year = era * 400 + year + (d->month <= 2);
}

void mb__date_from_ns(int64_t ts, struct mb__date *d)
{
    int64_t seconds = ts / NS_PER_SECOND, rest = ts % NS_PER_SECOND;
    if (rest < 0) {
        rest += NS_PER_SECOND;
        seconds--;
    }
    int64_t days = seconds / 86400, of_day = seconds % 86400;
    if (of_day < 0) {
        of_day += 86400;
        days--;
    }
    date_from_days(days, d);
    d->hour = (uint32_t)of_day / 3600;
    d->minute = (uint32_t)of_day / 60 % 60;
    d->second = (uint32_t)of_day % 60;
    d->nanosecond = (uint32_t)rest;
}

static void fill_cache(struct mb__iso_cache *cache, int64_t ts)
{
    struct mb__date d;
    mb__date_from_ns(ts, &d);
    char *p = mb__put_padded(cache->text, (uint64_t)d.year, 4);
    *p++ = '-';
    p = mb__put_2(p, d.month);
    *p++ = '-';
    p = mb__put_2(p, d.day);
    *p++ = 'T';
    p = mb__put_2(p, d.hour);
    *p++ = ':';
    p = mb__put_2(p, d.minute);
    *p = ':';
    /* Unsigned, for the minute of the earliest time starts before it. */
    cache->first = (int64_t)((uint64_t)ts - (d.second * (uint64_t)NS_PER_SECOND + d.nanosecond));
    cache->valid = true;
}

char *mb__put_iso(char *p, struct mb__iso_cache *cache, int64_t ts)
{
    if (!cache->valid || (uint64_t)ts - (uint64_t)cache->first >= (uint64_t)NS_PER_MINUTE)
        fill_cache(cache, ts);
    uint64_t of_minute = (uint64_t)ts - (uint64_t)cache->first;
    uint32_t second = (uint32_t)(of_minute / NS_PER_SECOND);
    uint32_t us = (uint32_t)(of_minute % NS_PER_SECOND) / 1000;
    memcpy(p, cache->text, sizeof cache->text);
    mb__put_2(p + 17, second);
    p[19] = '.';
    mb__put_6(p + 20, us);
    memcpy(p + 26, "+0000", 5);
    return p + MB__TEXT_ISO;
}
