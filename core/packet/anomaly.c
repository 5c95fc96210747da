/* SPDX-License-Identifier: BSD-3-Clause */
/* anomaly -- names of what can be odd about a packet or a segment */

#include "mosbox.h"

static const char *const names[MB_ANOMALY_COUNT] = {
    [MB_ANOMALY_NONE] = "none",
    [MB_ANOMALY_LINK_TRUNCATED] = "link_truncated",
    [MB_ANOMALY_LINK_UNKNOWN] = "link_unknown",
    [MB_ANOMALY_IPV4_TRUNCATED] = "ipv4_truncated",
    [MB_ANOMALY_IPV4_VERSION] = "ipv4_version",
    [MB_ANOMALY_IPV4_HLEN] = "ipv4_hlen",
    [MB_ANOMALY_IPV4_LEN] = "ipv4_len",
    [MB_ANOMALY_IPV4_OPTIONS] = "ipv4_options",
    [MB_ANOMALY_IPV6_TRUNCATED] = "ipv6_truncated",
    [MB_ANOMALY_IPV6_VERSION] = "ipv6_version",
    [MB_ANOMALY_IPV6_EXT] = "ipv6_ext",
    [MB_ANOMALY_IP_SNAPPED] = "ip_snapped",
    [MB_ANOMALY_IP_SUM] = "ip_sum",
    [MB_ANOMALY_L4_SUM] = "l4_sum",
    [MB_ANOMALY_L4_TRUNCATED] = "l4_truncated",
    [MB_ANOMALY_TCP_HLEN] = "tcp_hlen",
    [MB_ANOMALY_TCP_OPTIONS] = "tcp_options",
    [MB_ANOMALY_TCP_FLAGS] = "tcp_flags",
    [MB_ANOMALY_UDP_LEN] = "udp_len",
    [MB_ANOMALY_FRAG_OVERLAP] = "frag_overlap",
    [MB_ANOMALY_FRAG_TOO_LARGE] = "frag_too_large",
    [MB_ANOMALY_FRAG_TIMEOUT] = "frag_timeout",
    [MB_ANOMALY_FRAG_LIMIT] = "frag_limit",
    [MB_ANOMALY_TUNNEL_DEPTH] = "tunnel_depth",
    [MB_ANOMALY_TUNNEL_BAD] = "tunnel_bad",
    [MB_ANOMALY_TCP_WINDOW] = "tcp_window",
    [MB_ANOMALY_TCP_PAWS] = "tcp_paws",
    [MB_ANOMALY_TCP_RST_CHALLENGE] = "tcp_rst_challenge",
    [MB_ANOMALY_TCP_SYN_CHALLENGE] = "tcp_syn_challenge",
    [MB_ANOMALY_TCP_ACK] = "tcp_ack",
    [MB_ANOMALY_TCP_NO_ACK] = "tcp_no_ack",
    [MB_ANOMALY_TCP_CONFLICT] = "tcp_conflict",
    [MB_ANOMALY_STREAM_LIMIT] = "stream_limit",
    [MB_ANOMALY_FLOW_LIMIT] = "flow_limit",
    [MB_ANOMALY_PROTO] = "proto",
    [MB_ANOMALY_IPV6_LEN] = "ipv6_len",
    [MB_ANOMALY_IPV6_EXT_TRUNCATED] = "ipv6_ext_truncated",
    [MB_ANOMALY_IPV6_EXT_DUPLICATE] = "ipv6_ext_duplicate",
    [MB_ANOMALY_IPV6_OPTION] = "ipv6_option",
    [MB_ANOMALY_FRAG_USELESS] = "frag_useless",
    [MB_ANOMALY_FRAG_LEN] = "frag_len",
    [MB_ANOMALY_TCP_OPTION_LEN] = "tcp_option_len",
    [MB_ANOMALY_TCP_OPTION_DUPLICATE] = "tcp_option_duplicate",
    [MB_ANOMALY_IP_TTL] = "ip_ttl",
    [MB_ANOMALY_TCP_SPURIOUS] = "tcp_spurious",
};

const char *mb_anomaly_name(int anomaly)
{
    if (anomaly < 0 || anomaly >= MB_ANOMALY_COUNT || names[anomaly] == NULL)
        return "unknown";
    return names[anomaly];
}
