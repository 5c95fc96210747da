# SPDX-License-Identifier: BSD-3-Clause
"""Buffers that contents look at: sticky names, old modifiers, transforms."""

from __future__ import annotations

from dataclasses import dataclass

from mosbox._core import lib
from mosbox.rules.draft import Draft, keyword
from mosbox.rules.errors import RuleError
from mosbox.rules.parser import Option
from mosbox.rules.program import BufferKey, Op
from mosbox.rules.words import number_range, quoted

REQUEST = lib.MB_RULE_TO_SERVER
RESPONSE = lib.MB_RULE_TO_CLIENT
EITHER = REQUEST | RESPONSE
PACKET_APP = -1  # bytes of a packet's headers, no application's


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named part of a message."""

    key: BufferKey
    app: int
    direction: int


def _table() -> dict[str, Buffer]:
    rows = {
        lib.MB_APP_HTTP: """
            http.method MB_BUF_HTTP_METHOD > http_method
            http.uri MB_BUF_HTTP_URI > http_uri
            http.uri.raw MB_BUF_HTTP_URI_RAW > http_raw_uri
            http.protocol MB_BUF_HTTP_PROTOCOL = http_protocol
            http.request_line MB_BUF_HTTP_REQUEST_LINE > http_request_line
            http.request_body MB_BUF_HTTP_REQUEST_BODY > http_client_body
            http.header MB_BUF_HTTP_HEADER = http_header
            http.header.raw MB_BUF_HTTP_HEADER_RAW = http_raw_header
            http.header_names MB_BUF_HTTP_HEADER_NAMES = http_header_names
            http.start MB_BUF_HTTP_START = http_start
            http.cookie MB_BUF_HTTP_COOKIE = http_cookie
            http.user_agent MB_BUF_HTTP_USER_AGENT > http_user_agent
            http.host MB_BUF_HTTP_HOST > http_host
            http.host.raw MB_BUF_HTTP_HOST_RAW > http_raw_host
            http.accept MB_BUF_HTTP_ACCEPT > http_accept
            http.accept_lang MB_BUF_HTTP_ACCEPT_LANG > http_accept_lang
            http.accept_enc MB_BUF_HTTP_ACCEPT_ENC > http_accept_enc
            http.referer MB_BUF_HTTP_REFERER > http_referer
            http.connection MB_BUF_HTTP_CONNECTION = http_connection
            http.content_type MB_BUF_HTTP_CONTENT_TYPE = http_content_type
            http.content_len MB_BUF_HTTP_CONTENT_LEN = http_content_len
            http.server MB_BUF_HTTP_SERVER < http_server
            http.location MB_BUF_HTTP_LOCATION < http_location
            http.stat_code MB_BUF_HTTP_STAT_CODE < http_stat_code
            http.stat_msg MB_BUF_HTTP_STAT_MSG < http_stat_msg
            http.response_line MB_BUF_HTTP_RESPONSE_LINE < http_response_line
            http.response_body MB_BUF_HTTP_RESPONSE_BODY < http_server_body
            http.request_header MB_BUF_HTTP_REQUEST_FIELD > http_request_header
            http.response_header MB_BUF_HTTP_RESPONSE_FIELD < http_response_header
            file.data MB_BUF_FILE_DATA = file_data
            file.name MB_BUF_FILE_NAME < file_name""",
        lib.MB_APP_TLS: """
            tls.sni MB_BUF_TLS_SNI > tls_sni
            tls.cert_subject MB_BUF_TLS_SUBJECT < tls_cert_subject
            tls.cert_issuer MB_BUF_TLS_ISSUER < tls_cert_issuer
            tls.cert_serial MB_BUF_TLS_SERIAL < tls_cert_serial
            tls.cert_fingerprint MB_BUF_TLS_FINGERPRINT < tls_cert_fingerprint
            tls.certs MB_BUF_TLS_CERTS < tls_certs
            tls.alpn MB_BUF_TLS_ALPN > tls_alpn
            ja3.hash MB_BUF_JA3_HASH > ja3_hash
            ja3.string MB_BUF_JA3_STRING > ja3_string
            ja3s.string MB_BUF_JA3S_STRING < ja3s_string
            ja3s.hash MB_BUF_JA3S_HASH < ja3s_hash
            ja4.hash MB_BUF_JA4_HASH > ja4_hash""",
        lib.MB_APP_DNS: """
            dns.query MB_BUF_DNS_QUERY > dns_query""",
        lib.MB_APP_SSH: """
            ssh.proto MB_BUF_SSH_PROTO = ssh_proto
            ssh.software MB_BUF_SSH_SOFTWARE = ssh_software
            ssh.hassh MB_BUF_SSH_HASSH > ssh_hassh
            ssh.hassh.string MB_BUF_SSH_HASSH_STRING > ssh_hassh_string
            ssh.hassh.server MB_BUF_SSH_HASSH_SERVER < ssh_hassh_server
            ssh.hassh.server.string MB_BUF_SSH_HASSH_SERVER_STRING < ssh_hassh_server_string""",
        PACKET_APP: """
            ipv4.hdr MB_BUF_IPV4_HDR = -
            ipv6.hdr MB_BUF_IPV6_HDR = -
            tcp.hdr MB_BUF_TCP_HDR = -
            udp.hdr MB_BUF_UDP_HDR = -
            icmpv4.hdr MB_BUF_ICMPV4_HDR = -
            icmpv6.hdr MB_BUF_ICMPV6_HDR = -""",
    }
    directions = {">": REQUEST, "<": RESPONSE, "=": EITHER}
    table = {}
    for app, text in rows.items():
        for line in text.split("\n")[1:]:
            name, constant, sign, old = line.split()
            buffer = Buffer((getattr(lib, constant), ()), app, directions[sign])
            table[name] = table[old] = buffer
    del table["-"]
    return table


BUFFERS = _table()

# Modifiers: they change the content before them. Old names of the rest are sticky.
MODIFIERS = {
    name
    for name in BUFFERS
    if name.startswith("http_")
    and name
    not in {
        "http_protocol",
        "http_request_line",
        "http_response_line",
        "http_header_names",
        "http_start",
        "http_accept",
        "http_accept_lang",
        "http_accept_enc",
        "http_referer",
        "http_connection",
        "http_content_type",
        "http_content_len",
        "http_server",
        "http_location",
        "http_request_header",
        "http_response_header",
    }
}

PCRE_BUFFERS = {
    "U": "http.uri",
    "I": "http.uri.raw",
    "P": "http.request_body",
    "Q": "http.response_body",
    "H": "http.header",
    "D": "http.header.raw",
    "M": "http.method",
    "C": "http.cookie",
    "S": "http.stat_code",
    "Y": "http.stat_msg",
    "V": "http.user_agent",
    "W": "http.host",
    "Z": "http.host.raw",
}

TRANSFORMS = {
    "to_lowercase": lib.MB_XF_LOWERCASE,
    "to_uppercase": lib.MB_XF_UPPERCASE,
    "strip_whitespace": lib.MB_XF_STRIP_SPACE,
    "compress_whitespace": lib.MB_XF_COMPRESS_SPACE,
    "dotprefix": lib.MB_XF_DOTPREFIX,
    "url_decode": lib.MB_XF_URL_DECODE,
    "to_md5": lib.MB_XF_MD5,
    "to_sha1": lib.MB_XF_SHA1,
    "to_sha256": lib.MB_XF_SHA256,
}
MAX_TRANSFORMS = 8


def use_buffer(draft: Draft, buffer: Buffer, what: str) -> None:
    """The rule looks at a buffer: that decides its application and direction."""
    program = draft.program
    if buffer.app == PACKET_APP:
        draft.packet_only = True
        return
    if program.app not in (lib.MB_APP_UNKNOWN, buffer.app):
        raise RuleError(f"{what} belongs to another protocol than the rule")
    program.app = buffer.app
    draft.restrict(buffer.direction, what)


def _sticky(draft: Draft, value: str, option: Option) -> None:
    """What follows looks at this part of the message."""
    buffer = BUFFERS[option.name]
    if value:
        raise RuleError(f"{option.name} takes no value")
    use_buffer(draft, buffer, option.name)
    draft.sticky, draft.sticky_is_new = buffer.key, True
    draft.last = None


def _modifier(draft: Draft, value: str, option: Option) -> None:
    """The content before looks at this part of the message."""
    buffer = BUFFERS[option.name]
    use_buffer(draft, buffer, option.name)
    draft.move_last(buffer.key, option.name)


def _transform(draft: Draft, value: str, option: Option) -> None:
    """The part of the message named before is changed before it is looked at."""
    if draft.sticky is None or not draft.sticky_is_new:
        raise RuleError(f"{option.name} stands right after a buffer such as http.uri")
    base, transforms = draft.sticky
    if len(transforms) >= MAX_TRANSFORMS:
        raise RuleError(f"a buffer has at most {MAX_TRANSFORMS} transforms")
    draft.sticky = base, (*transforms, TRANSFORMS[option.name])


for _name in BUFFERS:
    keyword(_name)(_modifier if _name in MODIFIERS else _sticky)
for _name in TRANSFORMS:
    keyword(_name)(_transform)


@keyword("tls.subject", "tls.issuerdn", "tls.fingerprint")
def tls_text(draft: Draft, value: str, option: Option) -> None:
    """A certificate's field, by the older keywords that take a value."""
    names = {
        "tls.subject": "tls.cert_subject",
        "tls.issuerdn": "tls.cert_issuer",
        "tls.fingerprint": "tls.cert_fingerprint",
    }
    buffer = BUFFERS[names[option.name]]
    use_buffer(draft, buffer, option.name)
    text, negated = quoted(value)
    if not text:
        raise RuleError("the value is empty")
    flags = lib.MB_OPF_NOT if negated else 0
    op = Op(lib.MB_OP_CONTENT, data=text.encode("latin-1", "replace"), flags=flags)
    draft.chain(buffer.key).append(op)


@keyword("urilen")
def urilen(draft: Draft, value: str, option: Option) -> None:
    """Length of the request's URI."""
    text, _, form = value.partition(",")
    raw = form.strip() == "raw"
    name = "http.uri.raw" if raw else "http.uri"
    use_buffer(draft, BUFFERS[name], "urilen")
    low, high, negated = number_range(text)
    op = Op(lib.MB_OP_BSIZE, low, high, flags=lib.MB_OPF_NOT if negated else 0)
    draft.chain(BUFFERS[name].key).append(op)
