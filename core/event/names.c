/* SPDX-License-Identifier: BSD-3-Clause */
/* names -- words for the numbers of events, states and end reasons */
#include "mosbox.h"

static const char *const event_names[MB_EV_BUILTIN] = {
    [MB_EV_RAW] = "raw",
    [MB_EV_PACKET] = "packet",
    [MB_EV_FLOW_START] = "flow_start",
    [MB_EV_STATE_CHANGE] = "state_change",
    [MB_EV_RETRANSMIT] = "retransmit",
    [MB_EV_DATA] = "data",
    [MB_EV_GAP] = "gap",
    [MB_EV_ORPHAN] = "orphan",
    [MB_EV_ANOMALY] = "anomaly",
    [MB_EV_FLOW_END] = "flow_end",
    [MB_EV_TIMER] = "timer",
    [MB_EV_PROTOCOL] = "protocol",
    [MB_EV_HTTP_REQUEST] = "http_request",
    [MB_EV_HTTP_RESPONSE] = "http_response",
    [MB_EV_HTTP_BODY] = "http_body",
    [MB_EV_HTTP_END] = "http_end",
    [MB_EV_TLS_HELLO] = "tls_hello",
    [MB_EV_TLS_CERTIFICATE] = "tls_certificate",
    [MB_EV_DNS] = "dns",
    [MB_EV_SSH] = "ssh",
    [MB_EV_URGENT] = "urgent",
    [MB_EV_ICMP_ERROR] = "icmp_error",
};

static const char *const state_names[] = {
    [MB_TCP_CLOSED] = "CLOSED",           [MB_TCP_LISTEN] = "LISTEN",
    [MB_TCP_SYN_SENT] = "SYN_SENT",       [MB_TCP_SYN_RCVD] = "SYN_RCVD",
    [MB_TCP_ESTABLISHED] = "ESTABLISHED", [MB_TCP_FIN_WAIT_1] = "FIN_WAIT_1",
    [MB_TCP_FIN_WAIT_2] = "FIN_WAIT_2",   [MB_TCP_CLOSE_WAIT] = "CLOSE_WAIT",
    [MB_TCP_CLOSING] = "CLOSING",         [MB_TCP_LAST_ACK] = "LAST_ACK",
    [MB_TCP_TIME_WAIT] = "TIME_WAIT",
};

static const char *const end_names[] = {
    [MB_END_NONE] = "none",       [MB_END_FIN] = "fin",         [MB_END_RST] = "rst",
    [MB_END_REFUSED] = "refused", [MB_END_TIMEOUT] = "timeout", [MB_END_REUSED] = "reused",
    [MB_END_EVICTED] = "evicted", [MB_END_SHUTDOWN] = "shutdown",
};

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))

const char *mb_event_name(int event)
{
    return event >= 0 && event < COUNT(event_names) ? event_names[event] : NULL;
}

const char *mb_tcp_state_name(int state)
{
    return state >= 0 && state < COUNT(state_names) ? state_names[state] : "unknown";
}

const char *mb_end_reason_name(int reason)
{
    return reason >= 0 && reason < COUNT(end_names) ? end_names[reason] : "unknown";
}
