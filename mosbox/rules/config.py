# SPDX-License-Identifier: BSD-3-Clause
"""Files beside the rules: classification.config, threshold.config, and what is
taken over from a suricata.yaml or from --set KEY=VALUE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosbox.rules.errors import Problem, RuleError

DEFAULT_VARIABLES = {
    "HOME_NET": "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]",
    "EXTERNAL_NET": "!$HOME_NET",
    "HTTP_SERVERS": "$HOME_NET",
    "SMTP_SERVERS": "$HOME_NET",
    "SQL_SERVERS": "$HOME_NET",
    "DNS_SERVERS": "$HOME_NET",
    "TELNET_SERVERS": "$HOME_NET",
    "AIM_SERVERS": "$EXTERNAL_NET",
    "DC_SERVERS": "$HOME_NET",
    "DNP3_SERVER": "$HOME_NET",
    "DNP3_CLIENT": "$HOME_NET",
    "MODBUS_CLIENT": "$HOME_NET",
    "MODBUS_SERVER": "$HOME_NET",
    "ENIP_CLIENT": "$HOME_NET",
    "ENIP_SERVER": "$HOME_NET",
    "HTTP_PORTS": "80",
    "SHELLCODE_PORTS": "!80",
    "ORACLE_PORTS": "1521",
    "SSH_PORTS": "22",
    "DNP3_PORTS": "20000",
    "MODBUS_PORTS": "502",
    "FILE_DATA_PORTS": "[$HTTP_PORTS,110,143]",
    "FTP_PORTS": "21",
    "GENEVE_PORTS": "6081",
    "VXLAN_PORTS": "4789",
    "TEREDO_PORTS": "3544",
    "SIP_PORTS": "[5060,5061]",
}
# Names of host-os-policy, and what overlaps come to on these systems.
_OS_POLICIES = {
    "first": "first",
    "last": "last",
    "bsd": "bsd",
    "bsd-right": "bsd_right",
    "old-linux": "old_linux",
    "linux": "linux",
    "old-solaris": "solaris",
    "solaris": "solaris",
    "hpux10": "bsd",
    "hpux11": "hpux",
    "irix": "bsd",
    "macos": "macos",
    "windows": "windows",
    "vista": "first",
    "windows2k3": "windows2003",
}
_URGENT = "stream.reassembly.urgent.policy"
DEFAULT_PRIORITY = 3
MAX_INCLUDES = 16

# Sections of a suricata.yaml: --set takes any key in them, most mean nothing here.
_SECTIONS = frozenset(
    """action-order af-packet app-layer asn1-max-frames autofp-scheduler capture classification-file
    decoder default-packet-size default-rule-path defrag detect detect-engine engine-analysis
    exception-policy flow flow-timeouts host host-os-policy livedev logging max-pending-packets
    mpm-algo multi-detect nfq outputs packet-alert-max pcap pcap-file pcre profiling rule-files
    runmode security spm-algo stats stream threading threshold-file unix-command vars
    vlan""".split()
)
_CLASS = re.compile(r"config\s+classification\s*:\s*([^,]+),\s*(.*),\s*(\d+)\s*$")


@dataclass
class Classification:
    """Classes of rules: their priority and description."""

    classes: dict[str, tuple[int, str]] = field(default_factory=dict)

    def look_up(self, name: str) -> tuple[int, str]:
        """Priority and description of a class."""
        if not name:
            return DEFAULT_PRIORITY, ""
        return self.classes.get(name, (DEFAULT_PRIORITY, ""))

    def read(self, path: Path) -> list[Problem]:
        """Adds the classes of a file; what was wrong in it."""
        problems = []
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            found = _CLASS.match(line)
            if found is None:
                text = "a line is: config classification: name,description,priority"
                problems.append(Problem(str(path), number, 1, text))
                continue
            priority = min(max(int(found[3]), 1), 255)
            self.classes[found[1].strip().lower()] = priority, found[2].strip()
        return problems


@dataclass(frozen=True)
class Adjustment:
    """A line of a threshold file: suppress, threshold or rate_filter."""

    kind: str
    arguments: Mapping[str, str]
    file: str
    line: int

    def applies_to(self, gid: int, sid: int) -> bool:
        """Whether it speaks of a rule; number 0 speaks of all."""
        wanted_gid, wanted_sid = int(self.arguments["gen_id"]), int(self.arguments["sig_id"])
        return wanted_gid in (0, gid) and wanted_sid in (0, sid)


_KINDS = ("suppress", "threshold", "event_filter", "rate_filter")
_PAIR = re.compile(r"(\w+)\s+((?:!?\s*\[[^\]]*\])|[^,\s]+)")


def read_thresholds(path: Path) -> tuple[list[Adjustment], list[Problem]]:
    """The lines of a threshold file."""
    adjustments, problems = [], []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        kind, _, rest = line.partition(" ")
        arguments = dict(_PAIR.findall(rest))
        ids = arguments.get("gen_id", ""), arguments.get("sig_id", "")
        if kind not in _KINDS or not all(word.isdigit() for word in ids):
            text = "a line is: suppress|threshold|rate_filter gen_id N, sig_id N, ..."
            problems.append(Problem(str(path), number, 1, text))
            continue
        adjustments.append(Adjustment(kind, arguments, str(path), number))
    return adjustments, problems


@dataclass
class Settings:
    """Configuration by dotted keys, as ``stream.midstream`` = ``true``."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Path] = field(default_factory=dict)
    """The YAML file that a key is from."""
    missing: list[str] = field(default_factory=list)
    """Complaints about files that are named and not there."""

    def read_yaml(self, path: Path, depth: int = 0) -> None:
        """Takes the keys of a YAML file over, includes first."""
        import yaml

        if depth > MAX_INCLUDES:
            raise RuleError(f"{path}: too many includes in includes")
        try:
            with path.open(encoding="utf-8") as file:
                tree = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise RuleError(f"{path}: {error}") from None
        if tree is None:
            return
        if not isinstance(tree, dict):
            raise RuleError(f"{path}: a mapping of keys to values is expected")
        include = tree.pop("include", [])
        for name in include if isinstance(include, list) else [include]:
            other = self._find("include", str(name), path)
            if other is not None:
                self.read_yaml(other, depth + 1)
        self._add("", tree, path)

    def _add(self, prefix: str, tree: Mapping[Any, Any], path: Path) -> None:
        for key, value in tree.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict):
                self._add(name + ".", value, path)
            else:
                self.values[name] = value
                self.origins[name] = path

    def _find(self, key: str, name: str, origin: Path | None) -> Path | None:
        """A file that a key names: beside the YAML file the key is in, or from here."""
        for found in ([origin.parent / name] if origin else []) + [Path(name)]:
            if found.is_file():
                return found
        self.missing.append(f"{origin or '--set'}: {key} {name}: no such file")
        return None

    def set(self, pairs: Iterable[str]) -> None:
        """Takes ``KEY=VALUE`` texts over."""
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not equals or not key.strip():
                raise RuleError(f"--set takes KEY=VALUE, not '{pair}'")
            self.values[key.strip()] = value.strip()
            self.origins.pop(key.strip(), None)

    def take(self, key: str, value: str) -> bool:
        """Takes one ``--set`` over if its key is in one of Suricata's sections."""
        known = key.partition(".")[0] in _SECTIONS
        if known:
            self.values[key] = value
            self.origins.pop(key, None)
        return known

    def core(self) -> dict[str, Any]:
        """Settings of the core that follow from Suricata's keys, with Suricata's defaults."""
        return {
            "midstream": self.flag("stream.midstream"),
            "async_oneside": self.flag("stream.async-oneside"),
            "vlan_key": self.flag("vlan.use-for-tracking", True),
            "overlap": "bsd",
            "urgent": "oob" if self.text(_URGENT) == "oob" else "inline",
            "icmp_joins": True,
            **self.host_policies(),
        }

    def host_policies(self) -> dict[str, list[str]]:
        """Addresses of host-os-policy by our names of the policies."""
        found: dict[str, list[str]] = {}
        for name, policy in _OS_POLICIES.items():
            prefixes = self.values.get(f"host-os-policy.{name}") or []
            if isinstance(prefixes, str):
                prefixes = prefixes.strip("[] ").split(",")
            if prefixes:
                found.setdefault(f"hosts.{policy}", []).extend(map(str, prefixes))
        return found

    def path(self, key: str) -> Path | None:
        """A file, if one is named and there."""
        name = self.text(key)
        return self._find(key, name, self.origins.get(key)) if name else None

    def flag(self, key: str, default: bool = False) -> bool:
        """A yes or no."""
        value = self.values.get(key, default)
        return (
            value if isinstance(value, bool) else str(value).lower() in ("yes", "true", "1", "on")
        )

    def number(self, key: str, default: int) -> int:
        """A number, with kb, mb or gb if it has one of them."""
        found = re.fullmatch(r"(\d+)\s*([kmg]?)i?b?", str(self.values.get(key, default)).lower())
        if found is None:
            return default
        return int(found[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[found[2]]

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        value = self.values.get(key)
        return default if value is None else str(value)

    def variables(self) -> dict[str, str]:
        """Address and port variables."""
        out = dict(DEFAULT_VARIABLES)
        for key, value in self.values.items():
            for prefix in ("vars.address-groups.", "vars.port-groups."):
                if key.startswith(prefix) and value is not None:
                    out[key.removeprefix(prefix)] = str(value)
        return out

    def alert_options(self) -> dict[str, bool]:
        """What the yaml's eve-log output wants in alerts."""
        options: dict[str, bool] = {}
        for output in self.values.get("outputs") or []:
            eve = output.get("eve-log") if isinstance(output, dict) else None
            if not isinstance(eve, dict):
                continue
            for name in ("ethernet", "pcap-file"):
                options[name] = Settings(eve).flag(name)
            for kind in eve.get("types") or []:
                if isinstance(kind, dict) and isinstance(kind.get("alert"), dict):
                    alert = Settings(kind["alert"])
                    for name in ("payload", "payload-printable", "packet", "verdict"):
                        options[name] = alert.flag(name)
        return options

    def wants_record(self, name: str) -> bool:
        """Whether the yaml's eve-log output names a type of record; without a list: yes."""
        lists = [
            output["eve-log"].get("types")
            for output in self.values.get("outputs") or []
            if isinstance(output, dict) and isinstance(output.get("eve-log"), dict)
        ]
        kinds = [kind for types in lists if types for kind in types]
        return not kinds or any(
            name in kind if isinstance(kind, dict) else name == kind for kind in kinds
        )

    def action_order(self) -> list[str]:
        """Actions, the first to be looked at first."""
        default = ["pass", "drop", "reject", "alert"]
        order = self.values.get("action-order")
        if not isinstance(order, list):
            return default
        given = [str(word).lower() for word in order if str(word).lower() in default]
        return given + [word for word in default if word not in given]
