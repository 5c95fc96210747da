/* SPDX-License-Identifier: BSD-3-Clause */
/* pcapng -- reads pcapng files */
#include "io/capture.h"
#include "io/say.h"

bool mb__pcapng_is(const struct mb__input *in)
{
    return mb__input_left(in) >= 4 && mb__file_u32(in->at, false) == 0x0a0d0d0a;
}

struct mb_source *mb__pcapng_open(struct mb__input *in, char *err)
{
    mb__say(MB_ENOTSUP, err, "%s: pcapng: %s", in->name, mb_error_text(MB_ENOTSUP));
    return NULL;
}
