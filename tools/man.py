# SPDX-License-Identifier: BSD-3-Clause
"""Make the manual pages from docstrings, options and the comments of mosbox.h.

    man.py            write man/mosbox.1, man/mosbox-APP.1, man/mosbox-app.7 ...
    man.py --check    say which pages are not what they would be, exit 1 if any

What a page says of an option or a function is written where that is defined,
and nowhere else. The pages are plain man(7) macros.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

from mosbox import app, config, engine, events, options, outputs, registry, runner, testing
from mosbox._core import ffi, lib
from mosbox.cli import command_options, option_flags, option_help, option_metavar
from mosbox.options import COMMON, Option

TOP = Path(__file__).resolve().parent.parent
MAN = TOP / "man"
HEADER = TOP / "core" / "include" / "mosbox.h"
PAGES_BY_HAND = {"mosbox-json.7", "mosbox-policy.5"}
OTHER_PAGES = ("app(7)", "api(7)", "filter(7)", "json(7)", "policy(5)", "rules(5)")
FIELDS = TOP / "core" / "match" / "field.c"

EXAMPLES = """
    mosbox stats -r capture.pcap
    mosbox ids -i eth0 --rules my.rules -o eve:eve.json
    tcpdump -r capture.pcap -w - | mosbox stats -r - -o json | head -1
    mosbox l7fw -r capture.pcap -P policy.yaml -w - | mosbox stats -r -
"""
WORKERS = """
With --workers N the flows of the captures are shared among N processes: both
directions of a connection go to the same one, and so does all ICMP between two
hosts. Records, tables and packets are those of one worker, byte for byte and in
the same order. A capture is read once for all of them; it may come through a
pipe. With rules a single file is read by each of them for itself, as far as it
went at the start; one that becomes shorter meanwhile is an error.

What concerns all flows at once cannot be shared, and is refused: live capture,
--interval of stats, rules with rate_filter, hostbits or xbits, apps without a
merge() (see mosbox-app(7)) or with timers of their own. Limits of flows and of
memory are divided among the workers. When one of them is reached, or a frame is
to be dropped that several workers have a part in (tunnels over UDP), one worker
might have come to another result: that is an error.

Several workers pay off where the work for a packet is more than to read it. A
BPF filter is run by each of them on all packets. After SIGINT each worker ends
where it is; a worker that dies ends the run with an error.
"""
SIGNALS = [
    ("SIGINT, SIGTERM", "end all flows, write what there is to write, exit 0; the second: at once"),
    ("SIGHUP", "reload what the app has loaded, if it is sound, and open output files anew"),
    ("SIGUSR1", "one line of statistics on standard error"),
]
EXITS = [
    ("0", "all went well, or the reader of an output went away"),
    ("1", "it failed while running"),
    ("2", "an option, configuration, rule or filter is wrong"),
]


WIDTH = 72  # of a line of roff, so that a change of a word is a small change
AT_SPACES: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


# ---- roff


def escape(text: str) -> str:
    """Text as roff input: nothing in it is a request or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def prose(text: str) -> Iterator[str]:
    """Paragraphs; those that are indented are set as they stand."""
    paragraphs = re.split(r"\n\s*\n", text.strip("\n"))
    for number, (code, group) in enumerate(groupby(paragraphs, lambda p: p.startswith("  "))):
        if code:
            yield from literal(inspect.cleandoc("\n" + "\n\n".join(group)))
            continue
        for place, paragraph in enumerate(group):
            if number + place:
                yield ".PP"
            yield from map(escape, textwrap.wrap(paragraph, WIDTH, **AT_SPACES))


def literal(text: str) -> Iterator[str]:
    yield from (".RS 4", ".nf")
    yield from (escape(line) for line in text.split("\n"))
    yield from (".fi", ".RE")


def items(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Terms, each with a description."""
    for term, text in pairs:
        yield from (".TP", f".B {escape(term)}")
        lines = list(prose(text))
        yield from (line.replace(".PP", ".IP") if line == ".PP" else line for line in lines)


def page(name: str, section: int, summary: str, parts: Iterable[tuple[str, list[str]]]) -> str:
    """A whole page."""
    lines = [
        '.\\" Made by tools/man.py: edit what it is made from.',
        f'.TH {name.upper().replace("-", chr(92) + "-")} {section} "" "mosbox {engine.version()}"',
        ".SH NAME",
        f"{escape(name)} \\- {escape(summary.rstrip('.'))}",
    ]
    for title, body in parts:
        if body:
            lines += [f".SH {title}", *body]
    return "\n".join(lines) + "\n"


# ---- commands


def option_items(found: Iterable[Option]) -> list[str]:
    pairs = []
    for option in found:
        if option.positional:
            term = option.metavar or option.name.upper()
        else:
            value = "" if option.element is bool else f" {option_metavar(option)}"
            term = ", ".join(option_flags(option)) + value
        pairs.append((term, option_help(option)))
    return list(items(pairs))


def common_options() -> list[str]:
    lines = []
    for section in dict.fromkeys(option.section for option in COMMON):
        lines += [f".SS {section}"]
        lines += option_items(option for option in COMMON if option.section == section)
    return lines


KEYS = {
    "decap": f"tunnels to take off, commas between them: {', '.join(config.TUNNELS)}; all or none",
    "checksums": "ignore, or verify: packets with a wrong checksum belong to no flow",
    "overlap": "whose bytes win where segments or fragments overlap: " + ", ".join(config.OVERLAPS),
    "urgent": "inline: an urgent byte is part of the stream, as with SO_OOBINLINE; oob: it is not,"
    " as for other sockets, and on_urgent is given it",
    "table_full": "where limits.flows are there, a new flow: evict, takes the place of the one that"
    " waits longest for an answer, else of the idlest; open, its packets pass without a flow;"
    " close, they are dropped",
    "reassemble": "put streams together; no: none is ever buffered",
    "timeout_udp": "no datagram either way",
    "timeout_icmp": "no message either way",
    "timeout_fragment": "a datagram of which fragments are missing",
}
"""Fields of struct mb_config whose comments speak to who writes C."""


WORDS = {
    "checksums": config.CHECKSUMS,
    "overlap": config.OVERLAPS,
    "urgent": config.URGENT,
    "table_full": config.TABLE_FULL,
}


def default_of(name: str, defaults: Any) -> str:
    """The default of a field as it is written in a file."""
    value = getattr(defaults, name)
    if name == "decap":
        return "all"
    if name in WORDS:
        return {number: word for word, number in WORDS[name].items()}[value]
    if name.startswith("timeout_"):
        return f"{value / engine.NS:g}s"
    is_flag = dict(ffi.typeof("struct mb_config").fields)[name].type.cname == "uint8_t"
    return ("yes" if value else "no") if is_flag else f"{value}"


def configuration() -> list[str]:
    """The docstring of config.py, then every key with the comment of its field."""
    comments = dict(re.findall(r"^    \w+ (\w+);\s+/\* (.*?) \*/", HEADER.read_text(), re.M)) | KEYS
    defaults = ffi.new("struct mb_config *")
    lib.mb_config_init(defaults)
    keys = [
        (key, f"{comments[name]} (default: {default_of(name, defaults)})")
        for key, (name, _) in config.core_keys().items()
        if key != "max_memory"
    ]
    program = f"the program's {config.PROGRAM // 10**6}MB and limits.memory, which it sets"
    keys.append(("max_memory", program))
    hosts = (
        "addresses and prefixes of hosts that put overlaps together by the policy of this name: "
    )
    keys.append(("hosts.POLICY", hosts + ", ".join(config.OVERLAPS)))
    hops = (
        "addresses and prefixes of hosts that so many routers stand in front of: a packet to"
        " them with no greater TTL does not arrive, and belongs to no flow"
    )
    keys.append(("hops.NUMBER", hops))
    text = inspect.getdoc(config) or ""
    first = "Keys of the core, in the file or with " + "--set" + " KEY=VALUE:"
    return [
        *prose(text.partition("\n")[2]),
        ".PP",
        escape(first),
        *items(keys),
    ]


def main_page(apps: dict[str, registry.Entry]) -> str:
    listed = [(f"{name}(1)".join(("mosbox-", "")), entry.summary) for name, entry in apps.items()]
    return page(
        "mosbox",
        1,
        "network middleboxes on one stack",
        [
            (
                "SYNOPSIS",
                [".B mosbox", escape("[--app-dir DIR] APP [OPTIONS] [FILTER]...")],
            ),
            (
                "DESCRIPTION",
                list(
                    prose(
                        "Each app reads packets from a capture or an interface, follows every flow,"
                        " and writes decisions and records. Data goes to standard output, all else"
                        " to standard error: a table on a terminal, JSON lines in a pipe.\n\n"
                        "FILTER is a packet filter as in tcpdump, see pcap-filter(7). An app"
                        " can also be named by its file, if that ends in .py."
                    )
                ),
            ),
            ("APPS AND COMMANDS", list(items(listed))),
            (
                "OPTIONS",
                list(
                    items(
                        [
                            ("--app-dir DIR", "look for apps here too, as in MOSBOX_APP_DIR"),
                            ("--install-completion", "install completion for the shell in use"),
                            ("--show-completion", "print it"),
                            ("--version", "print the version"),
                            ("-h, --help", "print a summary; after APP, that of the app"),
                        ]
                    )
                ),
            ),
            ("OPTIONS OF EVERY APP", common_options()),
            ("OUTPUTS", list(prose((inspect.getdoc(outputs) or "").partition("\n")[2]))),
            ("CONFIGURATION", configuration()),
            ("WORKERS", list(prose(WORKERS))),
            ("SIGNALS", list(items(SIGNALS))),
            ("EXIT STATUS", list(items(EXITS))),
            (
                "ENVIRONMENT",
                list(items([("MOSBOX_APP_DIR", "folders to look for apps, colons between them")])),
            ),
            ("EXAMPLES", list(prose(EXAMPLES))),
            (
                "SEE ALSO",
                [escape(", ".join(f"mosbox-{name}" for name in OTHER_PAGES))],
            ),
        ],
    )


def command_page(name: str, command: type[app.Command]) -> str:
    own = [o for o in command_options(command) if o.name in command.options()]
    words = [o for o in command_options(command) if o.positional]
    is_app = issubclass(command, app.App)
    synopsis = " ".join(
        ["[OPTIONS]"] + [f"[{o.metavar}]..." if o.default == [] else o.metavar for o in words]
    )
    summary, _, rest = (inspect.getdoc(command) or "").partition("\n")
    more = (
        "It also has the options of every app, see mosbox(1)."
        if is_app
        else "It also has -o table|json[:F]|csv[:F], -c, --set, -q and -v, see mosbox(1)."
    )
    return page(
        f"mosbox-{name}",
        1,
        summary[0].lower() + summary[1:],
        [
            ("SYNOPSIS", [f".B mosbox {escape(name)}", escape(synopsis)]),
            ("DESCRIPTION", list(prose(f"{summary}\n{rest}"))),
            ("OPTIONS", [*option_items(own), *([".PP"] if own else []), escape(more)]),
            ("SEE ALSO", [escape("mosbox(1), mosbox-app(7)")]),
        ],
    )


# ---- the interface in Python


def attribute_docs(module: ModuleType, class_name: str) -> dict[str, str]:
    """Docstrings that stand below the attributes of a class."""
    tree = ast.parse(inspect.getsource(module))
    [found] = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name]
    docs = {}
    for node, after in zip(found.body, found.body[1:], strict=False):
        match node, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=text)):
                docs[name] = inspect.cleandoc(str(text))
    return docs


def signature(function: Any, name: str) -> str:
    """How a function is called, types left out."""
    shown = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(
            parameter.kind, ""
        )
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        shown.append(f"{prefix}{parameter.name}{'=...' if 'Ellipsis' in default else default}")
    return f"{name}({', '.join(shown)})"


def members(kind: type) -> Iterator[tuple[str, str]]:
    """Public methods and properties of a class with their docstrings."""
    for name, value in vars(kind).items():
        text = inspect.getdoc(value) or ""
        if name.startswith("_") or not text:
            continue
        if isinstance(value, property):
            yield name, text
        elif inspect.isfunction(value):
            yield signature(value, name), text


def class_part(kind: type) -> list[str]:
    bases = [b for b in kind.__mro__[1:] if issubclass(b, events.Record) and b is not events.Record]
    found: dict[str, str] = {}
    for base in [*reversed(bases), kind]:
        found |= dict(members(base))
    return [f".SS {kind.__name__}", *prose(inspect.getdoc(kind) or ""), *items(found.items())]


def app_page() -> str:
    calls = [
        (f"on_{name}({', '.join(kind.arguments)})", kind.help)
        for name, kind in events.EVENTS.items()
    ]
    views = [getattr(events, name) for name in events.__all__ if name[0].isupper()]
    views = [v for v in views if isinstance(v, type) and not issubclass(v, tuple)]
    attributes = attribute_docs(app, "App") | attribute_docs(app, "Command")
    functions = [
        (signature(f, name), inspect.getdoc(f) or "")
        for name, f in [
            ("mosbox.run", runner.run),
            ("mosbox.flows", runner.flows),
            ("option", options.option),
            ("argument", options.argument),
            ("hook", app.hook),
        ]
    ]
    event_text = inspect.getdoc(app.event) or ""
    return page(
        "mosbox-app",
        7,
        "how to write an app for mosbox",
        [
            ("DESCRIPTION", list(prose((inspect.getdoc(app) or "").partition("\n")[2]))),
            ("EVENTS", list(items(calls))),
            ("EVENTS OF YOUR OWN", list(prose(event_text))),
            ("ATTRIBUTES OF A CLASS", list(items(attributes.items()))),
            (
                "METHODS",
                list(items({**dict(members(app.Command)), **dict(members(app.App))}.items())),
            ),
            ("FUNCTIONS", list(items(functions))),
            (
                "WHAT METHODS ARE GIVEN",
                [
                    *prose((inspect.getdoc(events) or "").partition("\n")[2]),
                    *(
                        line
                        for view in views
                        if view is not events.EventKind
                        for line in class_part(view)
                    ),
                ],
            ),
            (
                "WHERE APPS ARE FOUND",
                list(prose((inspect.getdoc(registry) or "").partition("\n")[2])),
            ),
            (
                "TESTS",
                [
                    *prose((inspect.getdoc(testing) or "").partition("\n")[2]),
                    *items(members(testing.Capture)),
                ],
            ),
            ("SEE ALSO", [escape("mosbox(1), mosbox-filter(7), mosbox-api(7)")]),
        ],
    )


# ---- the interface in C


def comment_text(comment: str) -> str:
    """A C comment without its stars."""
    inner = comment.strip().removeprefix("/*").removesuffix("*/")
    return "\n".join(re.sub(r"^ \* ?", "", line) for line in inner.split("\n")).strip()


def declarations(body: str) -> Iterator[tuple[str, str]]:
    """Comments and what they are about; either may be empty."""
    comment, code, inside = "", "", False
    for line in [*body.split("\n"), ""]:
        starts = line.startswith("/*")
        if not inside and (starts or not line) and (code or (comment and not line)):
            yield comment, code
            comment, code = "", ""
        inside = inside or starts
        if inside:
            comment += line + "\n"
            inside = "*/" not in line
        elif line:
            code += line + "\n"


def header_parts() -> Iterator[tuple[str, list[str]]]:
    """Sections of the header: each declaration, then what its comment says."""
    text = HEADER.read_text()
    region = text[text.index("/* cffi: begin */") : text.index("/* cffi: end */")]
    for chunk in re.split(r"^/\* -{4} ", region, flags=re.M)[1:]:
        title, _, body = chunk.partition(" ---")
        lines: list[str] = []
        for comment, code in declarations(body.partition("\n")[2]):
            shown = list(literal(code.rstrip())) if code else []
            lines += [*([".sp"] if lines else []), *shown, *prose(comment_text(comment))]
        yield title.strip().upper(), lines


def api_page() -> str:
    opening = HEADER.read_text().split("*/")[1]
    about = comment_text(opening + "*/").partition("\n")[2]
    about = about[about.index("Ownership.") :]
    return page(
        "mosbox-api",
        7,
        "the C interface of mosbox",
        [
            (
                "SYNOPSIS",
                [*literal("#include <mosbox.h>\n\ncc app.c $(pkg-config --cflags --libs mosbox)")],
            ),
            ("DESCRIPTION", list(prose(about))),
            *header_parts(),
            ("SEE ALSO", [escape("mosbox(1), mosbox-app(7)")]),
        ],
    )


# ---- expressions

FILTERS = """
    bytes > 1MB and not midstream
    proto == tcp and server.port in {80, 443, 8000-8100}
    client.ip in 10.0.0.0/8 and server.ip not in {10.0.0.0/8, 192.168.0.0/16}
    app == http or duration >= 1.5s
    tcp.flags == syn and ttl < 5
    payload contains "passwd" and side == client
"""
KINDS = {
    "COUNT": ("Numbers", "Compared with a number: 80, 0x50."),
    "SIZE": ("Bytes", "Compared with a number and a unit: 1500, 10KB (10,000), 2MiB (2,097,152)."),
    "TIME": ("Times", "Compared with a number and a unit: 3ms, 1.5s, 2m."),
    "BOOL": ("Yes or no", "Stand alone, or are compared with true and false."),
    "PROTO": ("IP protocol", "A number, or a name: tcp, udp, icmp, icmp6, sctp."),
    "STATE": ("State of TCP", "A name: ESTABLISHED, TIME_WAIT."),
    "APP": ("Application protocol", "A name: http, tls, dns, ssh, unknown, failed."),
    "SIDE": ("Side of an event", "client or server."),
    "REASON": ("Reason of an anomaly or an end", "A name: tcp_conflict, timeout."),
    "FLAGS": ("Flags of TCP", "Names with bars: syn|ack. `contains` asks for all of them."),
    "ADDR": ("Addresses", "An address, 10.0.0.0/8, or 10.0.0.1-10.0.0.9."),
    "BYTES": ("Text", 'contains "text" or matches "regular expression".'),
}


def filter_page() -> str:
    """The language of expressions; its fields are those of the table in C."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    table = re.findall(r'\{"([\w.]+)", \w+, MB__KIND_(\w+), (\w+), (\w+),', FIELDS.read_text())
    for name, kind, of_side, of_all in table:
        found[kind] += [name] if of_all == "true" else []
        found[kind] += [f"client.{name}", f"server.{name}"] if of_side == "true" else []
    fields = [
        (title, f"{', '.join(found[kind])}\n\n{text}") for kind, (title, text) in KINDS.items()
    ]
    about = """Expressions are the filters of events of your own:
        event("flow_end", where="bytes > 1MB"). They are compiled in C and run in C.

        An expression is made of tests, `and`, `or`, `not` (&&, ||, !) and round brackets. A test
        compares a field: ==, !=, <, <=, >, >=, `in` and `not in` a value, a range LOW-HIGH or a
        list {A, B, C-D}.

        A field that the event at hand does not have, a port of ICMP say, makes its test false,
        != as well. port and ip without a side mean either end; the numbers of
        both sides are added. src and dst are those of the packet."""
    return page(
        "mosbox-filter",
        7,
        "expressions that choose events",
        [
            ("DESCRIPTION", list(prose(inspect.cleandoc("\n        " + about)))),
            ("FIELDS", list(items(fields))),
            ("EXAMPLES", list(prose(FILTERS))),
            ("SEE ALSO", [escape("mosbox-app(7), mosbox-api(7)")]),
        ],
    )


# ---- rules


def rules_page() -> str:
    """The language of rules; its keywords are those that are registered."""
    from mosbox.rules.compiler import PROTOCOLS
    from mosbox.rules.draft import KEYWORDS

    named: dict[str, list[str]] = {}
    for name, handler in KEYWORDS.items():
        named.setdefault(inspect.getdoc(handler) or "", []).append(name)
    keywords = [(", ".join(sorted(names)), text) for text, names in named.items()]
    about = """The rules of mosbox ids are those of Suricata, as far as this page says:

            alert tcp $HOME_NET any -> any 80 (msg:"..."; content:"abc"; sid:1;)

        that is an action (alert, pass, drop, reject), a protocol, source address and port, a
        direction (->, or <> for either way), destination address and port, and options in
        brackets, each ended by a semicolon. A rule is a line; a backslash at its end joins the
        next line. Lines that begin with # say nothing.

        Addresses are any, an address, LOW-HIGH, a network A.B.C.D/N, a variable $NAME or a list
        [A,B,!C]; ports are any, a port, LOW:HIGH, a variable or a list. An exclamation mark
        excludes."""
    return page(
        "mosbox-rules",
        5,
        "rules of mosbox ids",
        [
            ("DESCRIPTION", list(prose(inspect.cleandoc("\n        " + about)))),
            ("PROTOCOLS", list(prose(", ".join(sorted(PROTOCOLS))))),
            ("KEYWORDS", list(items(keywords))),
            ("SEE ALSO", [escape("mosbox-ids(1)")]),
        ],
    )


# ---- all of them


def pages() -> dict[str, str]:
    """Every page by its file name."""
    entries = dict(sorted(registry.Registry().entries.items()))
    built_in = {name: e for name, e in entries.items() if e.origin == "mosbox"}
    made = {
        "mosbox.1": main_page(built_in),
        "mosbox-app.7": app_page(),
        "mosbox-api.7": api_page(),
        "mosbox-filter.7": filter_page(),
        "mosbox-rules.5": rules_page(),
    }
    for name, entry in built_in.items():
        made[f"mosbox-{name}.1"] = command_page(name, entry.load())
    return made


def stale() -> list[str]:
    """Pages that are missing, out of date, or of apps that are gone."""
    made = pages()
    there = {path.name for path in MAN.glob("*.[1-8]")} - PAGES_BY_HAND
    return sorted(
        name
        for name in made.keys() | there
        if name not in made or not (MAN / name).is_file() or (MAN / name).read_text() != made[name]
    )


def main() -> None:
    if "--check" in sys.argv[1:]:
        if wrong := stale():
            raise SystemExit(f"not up to date, run `make man`: {', '.join(wrong)}")
        return
    MAN.mkdir(exist_ok=True)
    made = pages()
    for name in stale():
        if name in made:
            (MAN / name).write_text(made[name])
        else:
            (MAN / name).unlink()


if __name__ == "__main__":
    main()
