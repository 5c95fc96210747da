/* SPDX-License-Identifier: BSD-3-Clause */
/* live -- an interface as a source, through libpcap */
#include "io/say.h"
#include "io/source.h"

struct mb_source *mb_source_live(const char *interface, int snaplen, bool promiscuous, char *err)
{
    mb__say(MB_ENOTSUP, err, "%s: %s", interface, mb_error_text(MB_ENOTSUP));
    return NULL;
}
