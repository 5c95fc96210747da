# SPDX-License-Identifier: BSD-3-Clause
"""config -- a YAML file and `--set KEY=VALUE` become options and settings of the core.

    checksums: verify
    output: [eve:eve.json]
    timeouts: {tcp: 1h, udp: 30s}
    limits: {flows: 200k, stream_bytes: 4MiB}
    hosts: {linux: [10.0.0.0/8], windows: [192.0.2.7]}   # whose overlaps are theirs
    hops: {2: [10.0.0.0/8], 5: [192.0.2.0/24]}           # routers on the way to them
    portwatch:                  # the options of an app, under its name
      limit: 50

A key nobody knows is an error that names file, line and the nearest key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from mosbox._core import ffi, lib
from mosbox.hints import did_you_mean
from mosbox.options import COMMON, Option, parse_duration, parse_size

__all__ = ["Config", "core_keys", "read_config"]

TUNNELS = {
    "ipip": lib.MB_TUNNEL_IPIP,
    "gre": lib.MB_TUNNEL_GRE,
    "vxlan": lib.MB_TUNNEL_VXLAN,
    "geneve": lib.MB_TUNNEL_GENEVE,
    "gtpu": lib.MB_TUNNEL_GTPU,
    "teredo": lib.MB_TUNNEL_TEREDO,
    "erspan": lib.MB_TUNNEL_ERSPAN,
    "ayiya": lib.MB_TUNNEL_AYIYA,
}
_TUNNEL_SETS = {"all": sum(TUNNELS.values()), "none": 0, "default": lib.MB_TUNNEL_DEFAULT}
PROGRAM = 64_000_000  # bytes that the program itself takes, Python included
MAX_TIMEOUT = (1 << 62) - 1  # ns, the longest that the core takes
MAX_HOPS = 255
_NOT_IN_FILES = {"config", "set"}


@dataclass
class Config:
    """What was chosen: options every app has, the app's own, fields of struct mb_config
    and, under "hosts" and "hops", the overlap policies and distances of hosts."""

    common: dict[str, Any] = field(default_factory=dict)
    app: dict[str, Any] = field(default_factory=dict)
    core: dict[str, Any] = field(default_factory=dict)
    unknown: list[tuple[str, str, str]] = field(default_factory=list)  # key, value, complaint

    def settle(self, take: Callable[[str, str], bool]) -> None:
        """Offers each `--set` nobody knew to the app, and complains of what it does not take."""
        for key, value, complaint in self.unknown:
            if not take(key, value):
                raise ValueError(complaint)


OVERLAPS = {
    ffi.string(lib.mb_overlap_name(policy)).decode(): policy
    for policy in range(lib.MB_OVERLAP_COUNT)
}


CHECKSUMS = {"ignore": lib.MB_CHECKSUMS_IGNORE, "verify": lib.MB_CHECKSUMS_VERIFY}
URGENT = {"inline": lib.MB_URGENT_INLINE, "oob": lib.MB_URGENT_OOB}
TABLE_FULL = {"evict": lib.MB_FULL_EVICT, "open": lib.MB_FULL_OPEN, "close": lib.MB_FULL_CLOSE}


def parse_decap(text: str) -> int:
    """Bits of enum mb_tunnel for "gre,vxlan", "all", "none"."""
    bits = 0
    for word in str(text).split(","):
        name = word.strip().lower()
        known = TUNNELS | _TUNNEL_SETS
        if name not in known:
            raise ValueError(f"no tunnel {name!r}{did_you_mean(name, known)}")
        bits |= known[name]
    return bits


def _nanoseconds(text: Any) -> int:
    return round(parse_duration(text) * 1e9)


def _at_most(largest: int, read: Callable[[Any], int]) -> Callable[[Any], int]:
    """Reads a number that fits into its field."""

    def parse(text: Any) -> int:
        try:
            number = read(text)
        except OverflowError:
            number = largest + 1
        if number > largest:
            raise ValueError(f"{text} is too large")
        return number

    return parse


def _program_memory(text: Any) -> int:
    """What the program may take in all, as what is left for the traffic."""
    size = parse_size(text)
    if size < PROGRAM * 5 // 4:
        raise ValueError(f"{text} is too small: mosbox itself takes up to {PROGRAM // 10**6}MB")
    return _at_most((1 << 64) - 1, int)(size - PROGRAM)


def _flag(text: Any) -> int:
    return int(Option(False, "", type=bool, name="value").value(text))


def _word(choices: dict[str, int]) -> Callable[[Any], int]:
    def parse(text: Any) -> int:
        if not isinstance(text, str) or text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return choices[text]

    return parse


def _host_value(section: str, word: str) -> int | None:
    """What a key says of hosts: `hosts.linux` their overlap policy, `hops.3` how far they are."""
    if section == "hosts":
        return OVERLAPS.get(word)
    return int(word) if section == "hops" and word.isdecimal() and int(word) <= MAX_HOPS else None


def take_hosts(key: str, value: Any, core: dict[str, Any]) -> bool:
    """Adds the prefixes of `hosts.linux: [10.0.0.0/8, 192.0.2.7]` or `hops.3: ...`, given as
    a list or as text with commas, to core["hosts"] or core["hops"]. Whether it is such a key."""
    from ipaddress import ip_network

    section, _, word = key.partition(".")
    number = _host_value(section, word)
    if number is None:
        return False
    prefixes = value if isinstance(value, list) else str(value).split(",")
    networks = [ip_network(str(prefix).strip(), strict=False) for prefix in prefixes]
    found = core.setdefault(section, [])
    found += [(str(n.network_address), n.prefixlen, number) for n in networks]
    return True


_WORDS: dict[str, Callable[[Any], int]] = {
    "checksums": _word(CHECKSUMS),
    "overlap": _word(OVERLAPS),
    "urgent": _word(URGENT),
    "table_full": _word(TABLE_FULL),
    "decap": parse_decap,
}
_RENAMED = {"key_vlan": "vlan_key", "key_tunnel": "tunnel_key"}


def core_keys() -> dict[str, tuple[str, Callable[[Any], int]]]:
    """Configuration key -> field of struct mb_config and how its value is read.

    Fields timeout_X are timeouts.X, max_X are limits.X; the header is the only list.
    The key max_memory is limits.memory with what the program itself takes.
    """
    keys: dict[str, tuple[str, Callable[[Any], int]]] = {}
    time = _at_most(MAX_TIMEOUT, _nanoseconds)
    size = {f"uint{n}_t": _at_most((1 << n) - 1, parse_size) for n in (32, 64)}
    for name, part in ffi.typeof("struct mb_config").fields:
        if name.startswith("spare"):
            continue
        if name.startswith("timeout_"):
            keys["timeouts." + name.removeprefix("timeout_")] = (name, time)
        elif name.startswith("max_"):
            keys["limits." + name.removeprefix("max_")] = (name, size[part.type.cname])
        else:
            plain = size.get(part.type.cname, _flag)
            keys[_RENAMED.get(name, name)] = (name, _WORDS.get(name, plain))
    keys["max_memory"] = ("max_memory", _program_memory)
    return keys


class _Keys:
    """Takes keys one by one, in the order of the file, and knows whose they are."""

    def __init__(self, config: Config, app: str, options: dict[str, Option], apps: Iterable[str]):
        self.config = config
        self.app = app
        self.options = options
        self.apps = set(apps)
        self.core = core_keys()
        self.common = {o.name: o for o in COMMON if o.name not in _NOT_IN_FILES}

    def take(self, key: str, value: Any) -> bool:
        """Whether the key is known; its value is put where it belongs."""
        key = key.replace("-", "_")
        section, _, rest = key.partition(".")
        if section.replace("_", "-") == self.app and rest in self.options:
            self.config.app[rest] = self.options[rest].value(value)
        elif key in self.core:
            name, read = self.core[key]
            try:
                self.config.core[name] = read(value)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
        elif self._take_hosts(key, value):
            return True
        elif key in self.common:
            self.config.common[key] = self.common[key].value(value)
        else:
            return False
        return True

    def _take_hosts(self, key: str, value: Any) -> bool:
        try:
            return take_hosts(key, value, self.config.core)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None

    def hint(self, key: str) -> str:
        mine = [f"{self.app}.{name}" for name in self.options]
        return did_you_mean(key, [*self.core, *self.common, *mine])

    def foreign(self, section: str) -> bool:
        """Whether a section belongs to another app: one file may serve several."""
        section = section.replace("_", "-")
        return section in self.apps and section != self.app


def read_config(
    path: str | None,
    settings: Iterable[str],
    *,
    app: str,
    options: dict[str, Option],
    apps: Iterable[str] = (),
) -> Config:
    """The file, then each `KEY=VALUE` on top."""
    config = Config()
    keys = _Keys(config, app, options, apps)
    if path is not None:
        _read_file(path, keys)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting}: it is KEY=VALUE")
        key, value = key.strip(), value.strip()
        if not keys.take(key, value):
            complaint = f"--set {setting}: no key {key!r}{keys.hint(key)}"
            config.unknown.append((key, value, complaint))
    return config


def _read_file(path: str, keys: _Keys) -> None:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            root = yaml.compose(file, yaml.SafeLoader)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ValueError(f"{path}:{line}: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply") from None
    if root is None or root.value == "":
        return  # nothing, or a lone `---`
    _walk(path, root, "", keys, yaml)


def _plain(node: Any, key: str, yaml: Any) -> Any:
    """The value that a node stands for."""
    try:
        return yaml.SafeLoader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ValueError(error.problem) from None
    except (AttributeError, KeyError):  # how yaml says it of "!!bool maybe"
        raise ValueError(f"{node.value!r} does not fit its tag {node.tag}") from None
    except ValueError:  # Python's limit of an int() of text
        raise ValueError(f"{key}: a number with too many digits") from None


def _walk(path: str, node: Any, prefix: str, keys: _Keys, yaml: Any) -> None:
    if not isinstance(node, yaml.MappingNode):
        what = f"{prefix[:-1]} holds" if prefix else "the file holds"
        raise ValueError(f"{path}:{node.start_mark.line + 1}: {what} no keys")
    for key_node, value_node in node.value:
        key = prefix + str(key_node.value)
        line = key_node.start_mark.line + 1
        if not prefix and keys.foreign(key):
            continue
        if isinstance(value_node, yaml.MappingNode) and not prefix:
            _walk(path, value_node, key + ".", keys, yaml)
            continue
        try:
            known = keys.take(key, _plain(value_node, key, yaml))
        except ValueError as error:
            raise ValueError(f"{path}:{line}: {error}") from None
        if not known:
            raise ValueError(f"{path}:{line}: no key {key!r}{keys.hint(key)}")
