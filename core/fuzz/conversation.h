/* SPDX-License-Identifier: BSD-3-Clause */
/* conversation -- fuzz input as turns of a conversation, played in several ways
 *
 *   +----+--------+----------+----+--------+-----
 *   | op | length | bytes    | op | length | ...      op bit 0: side
 *   +----+--------+----------+----+--------+-----         bits 1-2: 2 end, 3 gap, else data
 *     1      2       length
 *
 * A length past the end of the input means: all that is left.
 */
#ifndef MB_CONVERSATION_H
#define MB_CONVERSATION_H

#include "../tests/transcript.h"

#define MAX_TURNS 64

static size_t read_turns(const uint8_t *data, size_t size, struct turn *turns)
{
    size_t count = 0;
    while (size >= 3 && count < MAX_TURNS) {
        struct turn *t = &turns[count++];
        int kind = data[0] >> 1 & 3;
        *t = (struct turn){kind == 2 ? TURN_END : kind == 3 ? TURN_GAP : TURN_DATA, data[0] & 1, data + 3,
                           (size_t)data[1] << 8 | data[2]};
        data += 3;
        size -= 3;
        if (t->kind != TURN_DATA)
            continue;
        if (t->len > size)
            t->len = size;
        data += t->len;
        size -= t->len;
    }
    return count;
}

/* Aborts unless the conversation says the same however it is cut. */
static void play_conversation(const uint8_t *data, size_t size, bool datagrams, uint64_t wanted)
{
    struct turn turns[MAX_TURNS];
    size_t count = read_turns(data, size, turns);
    if (!transcript_same(turns, count, datagrams, wanted, 2, NULL))
        abort();
}

#endif
