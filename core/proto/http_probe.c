/* SPDX-License-Identifier: BSD-3-Clause */
/* http_probe -- is this HTTP/1? Told from a status line, a request line, a known method
 *
 * Other protocols have taken over methods and the shape of the request line
 * (RTSP, SIP), but neither the version nor targets that begin with a slash.
 */
#include "proto/http.h"

/* A request line by its shape: printable, ending in a version. */
static enum mb__probe probe_line(const uint8_t *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[n] != '\n') {
        if (p[n] != '\t' && p[n] != '\r' && (p[n] < 0x20 || p[n] == 0x7f))
            return MB__PROBE_NO;
        n++;
    }
    if (n == len)
        return MB__PROBE_MORE;
    return mb__http_is_request_line(p, n, true) ? MB__PROBE_YES : MB__PROBE_NO;
}

/* A method may begin with a letter and goes on to a space. */
static bool may_be_method(const uint8_t *p, size_t len)
{
    if (*p < 'A' || *p > 'Z')
        return false;
    for (size_t i = 0; i < len && p[i] != ' ' && p[i] != '\t'; i++)
        if (p[i] < '!' || p[i] > '~' || i == 32)
            return false;
    return true;
}

/* A known method, blanks, a slash. */
static bool has_path(const uint8_t *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[n] > ' ')
        n++;
    if (n == len || p[n] != ' ' || mb__http_is_method(p, n + 1) != MB__PROBE_YES)
        return false;
    while (n < len && p[n] == ' ')
        n++;
    return n < len && p[n] == '/';
}

enum mb__probe mb__http_probe(int side, const uint8_t *data, size_t len, bool datagram)
{
    static const char http2[] = "PRI * HTTP/2";
    (void)side, (void)datagram;
    while (len > 0 && mb__http_is_space(*data))
        data++, len--;
    if (len == 0)
        return MB__PROBE_MORE;
    enum mb__probe status = mb__http_is_status_line(data, len);
    if (status != MB__PROBE_NO)
        return status;
    if (!may_be_method(data, len))
        return MB__PROBE_NO;
    size_t n = len < sizeof http2 - 1 ? len : sizeof http2 - 1;
    if (memcmp(data, http2, n) == 0)
        return n < sizeof http2 - 1 ? MB__PROBE_MORE : MB__PROBE_NO;
    if (has_path(data, len))
        return MB__PROBE_YES; /* others have such methods too, but not such targets */
    return probe_line(data, len);
}
