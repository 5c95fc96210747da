# SPDX-License-Identifier: BSD-3-Clause
"""l7fw: accept, drop or log flows by what is in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosbox import App, Dns, Flow, Http, TlsHello, option
from mosbox.policy import Facts, Policy, Rule, address_number, read_policy
from mosbox.policy.message import dns_message, hello_message, request_message

Row = dict[str, Any]


@dataclass
class Case:
    """What the firewall knows of a flow, and what it has said so far."""

    facts: Facts
    decided: Rule | None = None
    final: bool = False  # no later message can change it
    logged: set[Rule] = field(default_factory=set)


class L7fw(App):
    """Accept, drop or log flows by address, port, protocol, HTTP request, TLS and DNS names.

    The policy is a file of ordered rules, see mosbox-policy(5). The application
    protocol is found in the bytes, whatever the port. A flow is decided as soon as
    the facts that its rules ask for are known, each HTTP request and DNS message
    anew; with -w, a packet that is dropped and all that follow of its flow are left
    out. Packets passed on before the decision are past recall. On captures and live
    copies `reject` does what `drop` does: no reset is sent.

        mosbox l7fw -r day.pcap -P policy.yaml
        mosbox l7fw -r day.pcap -P policy.yaml -w - | mosbox stats -r -
    """

    policy: Path = option(help="the rules, see mosbox-policy(5)", short="-P", metavar="FILE")

    def start(self) -> None:
        self.tallies: defaultdict[tuple[Rule, str], Counter[str]] = defaultdict(Counter)
        self.reload()

    def reload(self) -> None:
        self.rules: Policy = read_policy(self.policy)
        for warning in self.rules.warnings:
            self.log(f"warning: {warning}")

    def on_flow_start(self, flow: Flow) -> None:
        client, server = flow.client, flow.server
        ends = address_number(client.ip), address_number(server.ip)
        flow.data = Case(Facts(*ends, client.port, server.port, flow.ip_proto))
        self.judge(flow, "start")

    def on_protocol(self, flow: Flow) -> None:
        flow.data.facts.app = flow.app_proto or "none"
        self.judge(flow, "protocol")

    def on_http_request(self, flow: Flow, http: Http) -> None:
        seen = {"hostname": http.host, "url": http.target, "http_method": http.method}
        self.message(flow, request_message(http, self.rules.headers), http=seen)

    def on_tls_hello(self, flow: Flow, hello: TlsHello) -> None:
        if hello.side == "client":
            seen = {"sni": hello.sni, "client_alpns": hello.alpn}
            self.message(flow, hello_message(hello), tls=seen)

    def on_dns(self, flow: Flow, dns: Dns) -> None:
        seen = {"type": "answer" if dns.response else "query", "rrname": dns.name}
        self.message(flow, dns_message(dns), dns=seen)

    def on_flow_end(self, flow: Flow) -> None:
        case: Case = flow.data
        if case.decided is None:
            case.facts.over = True
            self.judge(flow, "end")
        for rule in case.logged:
            self.tally(flow, rule, "log")
        self.tally(flow, case.decided or self.rules.default, effect(flow))

    # -- judging

    def message(self, flow: Flow, message: dict[str, list[str]], **seen: Row) -> None:
        """Judges the flow with a message, then goes on without it."""
        facts: Facts = flow.data.facts
        facts.message = message
        self.judge(flow, "message", **seen)
        facts.message = None

    def judge(self, flow: Flow, when: str, **seen: Row) -> None:
        """Asks the policy again now that more is known, and does what it says."""
        case: Case = flow.data
        of_flow = case.facts.message is None
        verdict = self.rules.judge(case.facts)
        for rule in verdict.log:
            if rule.of_message or rule not in case.logged:
                case.logged.add(rule)
                self.record("log", flow, rule, when, seen)
        if verdict.rule is None:
            return
        if not case.final:
            case.decided, case.final = verdict.rule, of_flow
            if verdict.rule.action != "accept" and not flow.ending:
                flow.drop()
            self.record(effect(flow), flow, verdict.rule, when, seen)
        if flow.dropped or (case.final and of_flow and not verdict.waiting):
            flow.ignore()  # nothing that comes can change it

    # -- telling

    def record(self, event_type: str, flow: Flow, rule: Rule, when: str, seen: Row) -> None:
        if flow.app_proto:
            seen = {"app_proto": flow.app_proto, **seen}
        mine = {"app": self.name, "rule": rule.number, "name": rule.name}
        self.emit(event_type, flow, **seen, mosbox={**mine, "action": rule.action, "when": when})

    def tally(self, flow: Flow, rule: Rule, effect: str) -> None:
        counts = self.tallies[rule, effect]
        counts += Counter(flows=1, packets=flow.packets, bytes=flow.bytes)

    def merge(self, other: L7fw) -> None:
        rules = {rule.number: rule for rule in (*self.rules.rules, self.rules.default)}
        for (rule, effect), counts in other.tallies.items():
            self.tallies[rules.get(rule.number, rule), effect] += counts

    def table(self) -> list[Row]:
        rows = sorted(
            self.tallies.items(), key=lambda item: (item[0][0].number or 1 << 30, item[0][1])
        )
        return [
            {
                "rule": rule.number,
                "name": rule.name,
                "action": rule.action,
                "effect": effect,
                **counts,
            }
            for (rule, effect), counts in rows
        ]


def effect(flow: Flow) -> str:
    """What became of the flow, whatever the rule wanted: a decision may come too late."""
    return "drop" if flow.dropped else "accept"
