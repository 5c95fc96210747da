# SPDX-License-Identifier: BSD-3-Clause
"""options -- what a user may choose: declared once, asked for on the command line and in files.

An `option()` of an app and the options that every app has are the same kind of
thing, so the command line, the configuration file, `--set` and the manual all
read this one description.
"""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, overload

__all__ = ["COMMON", "REQUIRED", "Option", "argument", "option", "parse_duration", "parse_size"]

T = TypeVar("T")
REQUIRED: Any = ...


@dataclass
class Option:
    """One option; `name` and `type` come from the attribute it is assigned to."""

    default: Any
    help: str
    short: str = ""
    metavar: str = ""
    min: float | None = None
    max: float | None = None
    positional: bool = False
    section: str = ""
    name: str = ""
    type: Any = str

    @property
    def flag(self) -> str:
        """As it is spelt on the command line, "--top"."""
        return "--" + self.name.replace("_", "-")

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    @property
    def element(self) -> Any:
        """The type of one value: of list[X] and X | None it is X."""
        kind = self.type
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(a for a in get_args(kind) if a is not type(None))
        return get_args(kind)[0] if get_origin(kind) is list else kind

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is list

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of a Literal type."""
        return get_args(self.element) if get_origin(self.element) is Literal else ()

    def value(self, given: Any) -> Any:
        """A value from a file or from Python as the option's type, or ValueError."""
        if self.is_list:
            several = given if isinstance(given, list | tuple) else [given]
            return [self._one(v) for v in several]
        if given is None and self.default is None:
            return None
        return self._one(given)

    def _one(self, given: Any) -> Any:
        kind = self.element
        if self.choices:
            if given not in self.choices:
                raise ValueError(f"{self.name}: {given!r} is none of {', '.join(self.choices)}")
            return given
        try:
            made = _convert(kind, given)
        except (TypeError, ValueError):
            wanted = _KINDS.get(kind, getattr(kind, "__name__", str(kind)))
            raise ValueError(f"{self.name}: {given!r} is not {wanted}") from None
        if isinstance(made, int | float) and not isinstance(made, bool):
            if self.min is not None and made < self.min:
                raise ValueError(f"{self.name}: {given} is less than {self.min}")
            if self.max is not None and made > self.max:
                raise ValueError(f"{self.name}: {given} is more than {self.max}")
        return made


_KINDS = {int: "a whole number", float: "a number", bool: "yes or no", str: "text", Path: "a path"}
_TRUE = {"yes", "true", "on", "1"}
_FALSE = {"no", "false", "off", "0"}


def _convert(kind: Any, given: Any) -> Any:
    if kind is bool:
        word = str(given).lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(given)
        return word in _TRUE
    if isinstance(given, bool) or given is None or isinstance(given, dict | list):
        raise ValueError(given)
    if kind is int and isinstance(given, float):
        raise ValueError(given)
    return kind(given)


@overload
def option(
    default: None = None,
    *,
    help: str,
    short: str = "",
    metavar: str = "",
    min: float | None = None,
    max: float | None = None,
) -> Any: ...
@overload
def option(
    default: T,
    *,
    help: str,
    short: str = "",
    metavar: str = "",
    min: float | None = None,
    max: float | None = None,
) -> T: ...
def option(
    default: Any = REQUIRED,
    *,
    help: str,
    short: str = "",
    metavar: str = "",
    min: float | None = None,
    max: float | None = None,
) -> Any:
    """An option of an app: `limit: int = option(100, help="ports before a client is reported")`.

    The annotation is its type: int, float, str, bool, pathlib.Path, a Literal
    of words, `list[...]` of these (given several times), `... | None` with the
    default None. Without a default it has to be given. `short` is one letter
    with its dash, "-n".
    """
    if short and not re.fullmatch(r"-[A-Za-z0-9]", short):
        raise ValueError(f"short option {short!r} is not a dash and a letter")
    return Option(default, help, short, metavar, min, max)


def argument(default: Any = REQUIRED, *, help: str, metavar: str = "") -> Any:
    """A word after the options, of a command that reads no packets."""
    return Option(default, help, metavar=metavar, positional=True)


# ---- numbers with units

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|min|h|d)?")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)B?")
_POWER = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_duration(text: object) -> float:
    """Seconds of "90", "1.5s", "250ms", "5m", "1h"."""
    match = _DURATION.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"{text!r} is not a time such as 30s, 5m, 1h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def parse_size(text: object) -> int:
    """A number such as "4096", "64k" (64,000), "64KiB" (65,536), "1M"."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"{text!r} is not a number such as 4096, 64k, 16MiB")
    unit = (1024 if match[3] else 1000) ** _POWER[match[2]]
    return int(match[1]) * unit if match[1].isdecimal() else int(float(match[1]) * unit)


# ---- what every app has


def _common(section: str, name: str, type: Any, default: Any, help: str, **more: Any) -> Option:
    return Option(default, help, section=section, name=name, type=type, **more)


_IO = "Packets and records"
_STACK = "How packets are read"
_RUN = "The run"

COMMON: tuple[Option, ...] = (
    _common(
        _IO,
        "interface",
        str | None,
        None,
        "read live from this interface",
        short="-i",
        metavar="IF",
    ),
    _common(
        _IO,
        "read",
        list[str],
        [],
        "read this capture, - for standard input; several in order",
        short="-r",
        metavar="FILE",
    ),
    _common(
        _IO,
        "write",
        str | None,
        None,
        "write the packets kept to this file, - for standard output",
        short="-w",
        metavar="FILE",
    ),
    _common(
        _IO,
        "output",
        list[str],
        [],
        "where records go: table, json[:F], eve[:F], csv[:F], zeek:DIR; may be repeated",
        short="-o",
        metavar="OUT",
    ),
    _common(
        _IO,
        "filter_file",
        str | None,
        None,
        "read the BPF filter from this file",
        short="-F",
        metavar="FILE",
    ),
    _common(
        _STACK,
        "decap",
        str | None,
        None,
        "tunnels to take off: ipip,gre,vxlan,geneve,gtpu,teredo,erspan,ayiya, all or none",
        metavar="LIST",
    ),
    _common(
        _STACK,
        "checksums",
        Literal["ignore", "verify"] | None,
        None,
        "verify: packets with a wrong checksum belong to no flow",
    ),
    _common(_STACK, "vlan_key", bool, False, "flows in different VLANs are different flows"),
    _common(_STACK, "tunnel_key", bool, False, "flows in different tunnels are different flows"),
    _common(
        _RUN,
        "config",
        str | None,
        None,
        "take options from this YAML file",
        short="-c",
        metavar="FILE",
    ),
    _common(
        _RUN,
        "set",
        list[str],
        [],
        "set one key of the configuration: timeouts.udp=30s",
        metavar="KEY=VALUE",
    ),
    _common(
        _RUN,
        "max_memory",
        str | None,
        None,
        "stay under this, 256MB say, whatever comes: the oldest makes room (rules not counted)",
        metavar="SIZE",
    ),
    _common(
        _RUN,
        "seed",
        int | None,
        None,
        "seed of the hashes, for runs that are alike in every way",
        min=0,
    ),
    _common(
        _RUN,
        "workers",
        str | None,
        None,
        "share the flows of captures among so many processes; auto: one a processor",
        metavar="N",
    ),
    _common(
        _RUN,
        "on_error",
        Literal["stop", "continue"] | None,
        None,
        "what to do when the app fails at an event",
    ),
    _common(_RUN, "quiet", bool, False, "say nothing but errors", short="-q"),
    _common(
        _RUN,
        "verbose",
        bool,
        False,
        "say more: counters at the end, where an error came from",
        short="-v",
    ),
)
