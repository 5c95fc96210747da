/* SPDX-License-Identifier: BSD-3-Clause */
/* say -- a sentence for an error buffer, and codes for errno */
#ifndef MB_BASE_SAY_H
#define MB_BASE_SAY_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "mosbox.h"

/* Writes a sentence to |err| (MB_ERRBUF_SIZE bytes or NULL) and returns |code|. */
__attribute__((format(printf, 3, 4))) static inline int mb__say(int code, char *err, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(err, MB_ERRBUF_SIZE, format, args);
        va_end(args);
    }
    return code;
}

/* The code that fits errno value |number|. */
static inline int mb__code_of_errno(int number)
{
    switch (number) {
    case ENOMEM: return MB_ENOMEM;
    case EPIPE: return MB_EPIPE;
    case EACCES:
    case EPERM: return MB_EPERM;
    case ENOENT: return MB_ENOENT;
    default: return MB_EIO;
    }
}

#endif
