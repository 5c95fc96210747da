# SPDX-License-Identifier: BSD-3-Clause
"""reader -- a policy file becomes a Policy, or a list of what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mosbox.hints import did_you_mean
from mosbox.policy import sets
from mosbox.policy.document import Document, Node, PolicyError
from mosbox.policy.rules import APPS, CONDITIONS, SETS, Condition, Policy, Rule

__all__ = ["read_policy"]

DECISIONS = ("accept", "drop", "reject")
ACTIONS = (*DECISIONS, "log")
TOP = ("default", "groups", "rules")
RULE = ("name", "action", *CONDITIONS)

# Kind of words -> (what to expect, how one is read)
_WORDS: dict[str, tuple[str, Callable[[str], list[Any]]]] = {
    "address": ("an address or network", sets.parse_address),
    "port": ("a port or a range of ports", sets.parse_port),
    "protocol": ("an IP protocol", sets.parse_protocol),
    "name": ("a host name", sets.parse_name),
    "text": ("a text", sets.parse_text),
}
_GROUPS = {"addresses": "address", "ports": "port", "names": "name"}
_GROUP_OF = {kind: name for name, kind in _GROUPS.items()}


def read_policy(path: str | Path) -> Policy:
    """The policy in a file. PolicyError has all its mistakes."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PolicyError([f"{path}:1:1: not text in UTF-8: {error.reason}"]) from None
    except OSError as error:
        raise PolicyError([f"{path}: {error.strerror}"]) from None
    return parse_policy(text, str(path))


def parse_policy(text: str, path: str = "policy") -> Policy:
    """The policy in a text; `path` is for messages."""
    document = Document(text, path)
    policy = _Reader(document).policy()
    document.check()
    policy.warnings = document.warnings
    return policy


class _Reader:
    """Walks through one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.groups: dict[str, dict[str, list[Any]]] = {kind: {} for kind in _WORDS}

    def policy(self) -> Policy:
        policy, document = Policy(), self.document
        if document.root is None:
            raise PolicyError([f"{document.path}:1:1: the file is empty, expected rules"])
        # groups first, wherever they stand: rules use them
        parts = {key: value for key, _, value in document.items(document.root, "a policy", TOP)}
        if "groups" in parts:
            self._groups(parts["groups"])
        if "default" in parts:
            action = self._one_of(parts["default"], DECISIONS, "what to do with the rest")
            policy.default = Rule(0, action, "default", (), parts["default"].start_mark.line + 1)
        if "rules" in parts:
            for node in document.sequence(parts["rules"], "a list of rules"):
                self._rule(node, policy)
        elif "default" not in parts:
            document.mistake(document.root, "expected rules, or a default")
        return policy

    # -- groups

    def _groups(self, node: Node) -> None:
        for key, _, groups in self.document.items(node, "groups", _GROUPS):
            kind = _GROUPS[key]
            for name, _, words in self.document.items(groups, f"groups of {key}"):
                values = self._values(words, kind, in_group=True)
                self.groups[kind][name] = [part for _, part in values]

    # -- rules

    def _rule(self, node: Node, policy: Policy) -> None:
        document = self.document
        number = len(policy.rules) + 1
        name, action, conditions = "", None, []
        found = list(document.items(node, "a rule", RULE))
        for key, _, value in found:
            if key == "name":
                name = self._name(value, policy)
            elif key == "action":
                action = self._one_of(value, ACTIONS, "an action")
            elif key == "header":
                conditions += self._headers(value)
            else:
                conditions.append(Condition(key, self._choice(value, CONDITIONS[key].values)))
        if action is None and not any(key == "action" for key, _, _ in found):
            document.mistake(node, f"the rule has no action: {', '.join(ACTIONS)}")
        last = next((r for r in policy.rules if not r.conditions and r.action != "log"), None)
        if last is not None:
            document.warning(node, f"never reached: the rule in line {last.line} applies to all")
        rule = Rule(number, action or "accept", name, tuple(conditions), node.start_mark.line + 1)
        self._possible(node, rule)
        policy.rules.append(rule)

    def _name(self, node: Node, policy: Policy) -> str:
        name = self.document.word(node, "a name") or ""
        same = next((r for r in policy.rules if r.name == name), None)
        if name and same is not None:
            self.document.mistake(node, f"the rule in line {same.line} is called {name!r} too")
        return name

    def _one_of(self, node: Node, words: tuple[str, ...], what: str) -> Any:
        word = self.document.word(node, what)
        if word is not None and word not in words:
            near = did_you_mean(word, words) or f"; there are {', '.join(words)}"
            self.document.mistake(node, f"{word!r} is not {what}{near}")
        return word if word in words else words[0]

    def _possible(self, node: Node, rule: Rule) -> None:
        """A rule about messages of two protocols never applies."""
        about = sorted({c.app for c in rule.conditions if c.app})
        if len(about) > 1:
            self.document.mistake(
                node, f"no flow is both {' and '.join(about)}, which the rule asks for"
            )
        for condition in rule.conditions:
            if condition.fact == "app" and about and not condition.values.has(about[0]):
                self.document.mistake(
                    node, f"the rule looks into {about[0]}, which its `app` leaves out"
                )

    def _headers(self, node: Node) -> list[Condition]:
        found = list(self.document.items(node, "header names and what is in them"))
        if not found and not self.document.mistakes:
            self.document.mistake(node, "expected header names and what is in them")
        return [
            Condition(f"header:{name.lower()}", self._choice(value, "text"))
            for name, _, value in found
        ]

    # -- values

    def _choice(self, node: Node, kind: str) -> Any:
        if kind == "app":
            return self._apps(node)
        values = self._values(node, kind)
        made = SETS[kind]
        some = [part for wanted, part in values if wanted]
        but = [part for wanted, part in values if not wanted]
        return sets.Choice(made(some) if some else None, made(but) if but else None)

    def _apps(self, node: Node) -> Any:
        some: list[tuple[str, str]] = []
        but: list[tuple[str, str]] = []
        for word, at in self.document.words(node, "an application protocol"):
            name = word.removeprefix("!")
            if name not in APPS:
                near = did_you_mean(name, APPS) or f"; there are {', '.join(APPS)}"
                self.document.mistake(at, f"{name!r} is not an application protocol{near}")
            (but if word.startswith("!") else some).append(("is", name))
        return sets.Choice(sets.Texts(some) if some else None, sets.Texts(but) if but else None)

    def _values(self, node: Node, kind: str, in_group: bool = False) -> list[tuple[bool, Any]]:
        """Parts of a set, each wanted or not."""
        what, parse = _WORDS[kind]
        parts: list[tuple[bool, Any]] = []
        for word, at in self.document.words(node, what):
            wanted = not word.startswith("!")
            if in_group and not wanted:
                self.document.mistake(at, "a group has no !: take out where the group is used")
            word = word.removeprefix("!").strip()
            if word.startswith("$") and kind in _GROUP_OF:
                parts += [(wanted, part) for part in self._group(at, word[1:], kind)]
                continue
            try:
                parts += [(wanted, part) for part in parse(word)]
            except ValueError as error:
                self.document.mistake(at, str(error))
        return parts

    def _group(self, node: Node, name: str, kind: str) -> list[Any]:
        groups = self.groups[kind]
        if name in groups:
            return groups[name]
        hint = did_you_mean(name, groups) or (f"; there are {', '.join(groups)}" if groups else "")
        self.document.mistake(node, f"no group of {_GROUP_OF[kind]} named {name!r} above{hint}")
        return []
