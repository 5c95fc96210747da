/* SPDX-License-Identifier: BSD-3-Clause */
/* error -- the one table of codes, names and sentences */
#include "mosbox.h"

#ifndef MB_VERSION
#define MB_VERSION "0"
#endif

#define ERRORS(X)                                                    \
    X(MB_OK, "success")                                              \
    X(MB_ENOMEM, "out of memory")                                    \
    X(MB_EINVAL, "an argument makes no sense")                       \
    X(MB_EIO, "the system refused to read or write")                 \
    X(MB_EFORMAT, "the capture file is damaged or of no known kind") \
    X(MB_ELINKTYPE, "this link layer is not decoded")                \
    X(MB_ESYNTAX, "the filter, expression or pattern does not parse") \
    X(MB_ELIMIT, "a limit is reached")                               \
    X(MB_ENOTSUP, "not available in this build or on this system")   \
    X(MB_ESTATE, "not possible at this time")                        \
    X(MB_ECALLBACK, "a callback failed and the run was stopped")     \
    X(MB_EPIPE, "the reader of an output went away")                 \
    X(MB_EPERM, "not permitted")                                     \
    X(MB_ENOENT, "no such file, interface or registration")

const char *mb_error_name(int code)
{
    switch (code) {
#define NAME(code, text) case code: return #code;
        ERRORS(NAME)
#undef NAME
    default: return "MB_EUNKNOWN";
    }
}

const char *mb_error_text(int code)
{
    switch (code) {
#define TEXT(code, text) case code: return text;
        ERRORS(TEXT)
#undef TEXT
    default: return "unknown error";
    }
}

const char *mb_version(void)
{
    return MB_VERSION;
}
