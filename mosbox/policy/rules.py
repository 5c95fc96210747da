# SPDX-License-Identifier: BSD-3-Clause
"""rules -- a policy that has been read, and how it judges what is known of a flow.

A condition answers yes (True), no (False) or not yet (None): its fact has not
been seen and may still come. A rule is its conditions joined by "and", so one
no is enough; else one not yet leaves it open. Judging goes through the rules in
order and ends at the first that is not no:

    no, no, no, yes       that rule decides
    no, no, not yet       undecided; asked again when more is known

`log` rules are passed by: they decide nothing and keep nobody waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from mosbox.policy.sets import Choice, Names, Ranges, Texts

__all__ = ["APPS", "CONDITIONS", "Action", "Condition", "Facts", "Policy", "Rule", "Verdict"]

Action = Literal["accept", "drop", "reject", "log"]
Message = Mapping[str, Sequence[str]]
Answer = bool | None

APPS = ("http", "tls", "dns", "ssh", "none")
TCP, UDP, SCTP = 6, 17, 132
_WITH_PORTS = (TCP, UDP, SCTP)
_POSSIBLE = {TCP: frozenset(APPS), UDP: frozenset(("dns", "none"))}
_JUST = {app: frozenset((app,)) for app in APPS}


@dataclass
class Facts:
    """What is known of a flow now."""

    client: int  # addresses as numbers, see sets.address_number()
    server: int
    client_port: int
    server_port: int
    proto: int
    app: str | None = None  # None: the search is not over
    message: Message | None = None  # the message being judged; None: of the flow as such
    over: bool = False  # the flow has ended: no message is to come

    def may_be(self) -> frozenset[str]:
        """The application protocols that it may turn out to be."""
        if self.app is not None:
            return _JUST.get(self.app) or frozenset((self.app,))
        return _JUST["none"] if self.over else _POSSIBLE.get(self.proto, _JUST["none"])


class Kind(NamedTuple):
    """What a condition looks at."""

    values: str  # how its words are read: address, port, protocol, text, name, app or header
    app: str  # the application protocol whose messages have it; "": known from the first packet


CONDITIONS = {
    "client": Kind("address", ""),
    "server": Kind("address", ""),
    "client_port": Kind("port", ""),
    "server_port": Kind("port", ""),
    "proto": Kind("protocol", ""),
    "app": Kind("app", ""),
    "method": Kind("text", "http"),
    "host": Kind("name", "http"),
    "path": Kind("text", "http"),
    "target": Kind("text", "http"),
    "header": Kind("header", "http"),
    "sni": Kind("name", "tls"),
    "alpn": Kind("text", "tls"),
    "dns": Kind("name", "dns"),
}


@dataclass(frozen=True)
class Condition:
    """One line of a rule: `fact` is in `values`."""

    fact: str  # a key of CONDITIONS; of a header "header:" and its name in lower case
    values: Choice[Any]

    @cached_property
    def app(self) -> str:
        """The application protocol that it is about, "" if about any."""
        return CONDITIONS[self.fact.partition(":")[0]].app

    def answer(self, facts: Facts) -> Answer:
        if self.app:
            return self._of_message(facts)
        if self.fact == "app":
            return self._of_app(facts)
        if self.fact.endswith("_port") and facts.proto not in _WITH_PORTS:
            return False
        return self.values.has(getattr(facts, self.fact))

    def _of_app(self, facts: Facts) -> Answer:
        if facts.app is not None:
            return self.values.has(facts.app)
        said = {self.values.has(app) for app in facts.may_be()}
        return None if len(said) > 1 else said.pop()

    def _of_message(self, facts: Facts) -> Answer:
        if self.app not in facts.may_be():
            return False
        if facts.message is None:
            return False if facts.over else None
        return self.values.has_any(facts.message.get(self.fact, ()))


@dataclass(frozen=True, eq=False)
class Rule:
    """One rule; rule 0 is the policy's default."""

    number: int
    action: Action
    name: str = ""
    conditions: tuple[Condition, ...] = ()
    line: int = 0

    @cached_property
    def of_message(self) -> bool:
        """Whether it looks into messages, so that each may be answered differently."""
        return any(condition.app for condition in self.conditions)

    def answer(self, facts: Facts) -> Answer:
        waiting = False
        for condition in self.conditions:
            said = condition.answer(facts)
            if said is False:
                return False
            waiting = waiting or said is None
        return None if waiting else True

    def __str__(self) -> str:
        return self.name or (f"rule {self.number}" if self.number else "default")


class Verdict(NamedTuple):
    """What a policy says about a flow, as far as it is known."""

    rule: Rule | None  # the one that decides; None: undecided
    log: tuple[Rule, ...]  # log rules that were met on the way
    waiting: bool  # a log rule on the way may still be met


@dataclass
class Policy:
    """Rules in order, and what happens when none applies."""

    rules: list[Rule] = field(default_factory=list)
    default: Rule = field(default_factory=lambda: Rule(0, "accept", "default"))
    warnings: list[str] = field(default_factory=list)

    @property
    def headers(self) -> frozenset[str]:
        """Names of the HTTP headers that rules look at, lower case."""
        facts = {condition.fact for rule in self.rules for condition in rule.conditions}
        return frozenset(f.removeprefix("header:") for f in facts if f.startswith("header:"))

    def judge(self, facts: Facts) -> Verdict:
        """The first rule that applies, if that is known already."""
        log: list[Rule] = []
        waiting = False
        for rule in self.rules:
            answer = rule.answer(facts)
            if answer is False:
                continue
            if rule.action != "log":
                return Verdict(rule if answer else None, tuple(log), waiting)
            if answer:
                log.append(rule)
            waiting = waiting or answer is None
        return Verdict(self.default, tuple(log), waiting)


# what the words of each kind of condition become
SETS = {"address": Ranges, "port": Ranges, "protocol": Ranges, "name": Names, "text": Texts}
