# SPDX-License-Identifier: BSD-3-Clause
"""ids: alert on what rules describe."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mosbox import App, option
from mosbox.rules.config import Classification, Settings, read_thresholds
from mosbox.rules.detection import Detection
from mosbox.rules.errors import Problem
from mosbox.rules.loader import Loaded, Loader

DATA = Path(__file__).parent.parent / "data"
STARTER = DATA / "starter.rules"
CLASSES = DATA / "classification.config"
SHOWN = 20  # problems of a kind that are told one by one


class Ids(App):
    """Alert on what rules in Suricata's language describe.

    Rules look at packets, at the bytes of reassembled streams, and at parts of HTTP, TLS,
    DNS and SSH messages. Without --rules a small set that comes with mosbox is used. A
    keyword that is not known is told once, with its place, and its rules are left out;
    --strict makes it an error.

    Bytes are looked at when the receiver has acknowledged them, and connections whose
    start was not seen are left alone, as Suricata does: `--set stream.inline=true` and
    `--set stream.midstream=true` change that, and so does a suricata.yaml.

    Several workers (--workers) can share all rules but those that act on what other flows
    did: rate filters and host bits need one worker.

    Which rules can be used is in mosbox-rules(5). They are read at the start only: SIGHUP
    opens the output files anew, and says that the rules are the old ones.

        mosbox ids -r day.pcap --rules suricata.rules -o eve:eve.json
        mosbox ids -i eth0 --var HOME_NET=192.0.2.0/24 --fast-log fast.log
    """

    rules: list[Path] = option([], help="file of rules; may be repeated", metavar="FILE")
    classification: Path | None = option(None, help="priorities of rule classes", metavar="FILE")
    threshold_file: Path | None = option(
        None, help="suppressions, thresholds and rate filters", metavar="FILE"
    )
    suricata_yaml: Path | None = option(
        None, help="take variables and stream settings over from there", metavar="FILE"
    )
    var: list[str] = option([], help="define an address or port variable", metavar="NAME=VALUE")
    simulate_inline: bool = option(
        False,
        help="carry out drop, reject and pass as if inline; "
        "what comes behind a FIN or a reset is dropped",
    )
    strict: bool = option(
        False, help="rules that cannot be used and files that are not there are errors"
    )
    fast_log: str | None = option(None, help="write a line an alert to this file", metavar="FILE")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.config = Settings()
        if self.suricata_yaml is not None:
            self.config.read_yaml(self.suricata_yaml)
        self.config.set(f"vars.address-groups.{pair}" for pair in self.var)

    def setting(self, key: str, value: str) -> bool:
        return self.config.take(key, value)

    def settings(self) -> dict[str, Any]:
        return self.config.core()

    def writes(self) -> list[str]:
        return [] if self.fast_log is None else [self.fast_log]

    def start(self) -> None:
        loaded = self.load()
        if self.workers > 1 and loaded.across_flows:
            raise ValueError(
                f"ids needs one worker: {len(loaded.across_flows)} of the rules, "
                f"{loaded.across_flows[0]} the first, act on what other flows did "
                "(rate_filter, hostbits, xbits)"
            )
        self.detection = Detection(loaded, self.config, inline=self.simulate_inline)
        files = self._run.plan.read
        self.detection.attach(self.engine, self.outputs, self.fast_log, files)

    def reload(self) -> None:
        raise ValueError("ids reads its rules only at the start")

    def merge(self, other: Ids) -> None:
        """Alerts are written, and counted by the core."""

    def load(self) -> Loaded:
        """The rules, after telling what is wrong with them."""
        classes = Classification()
        problems = classes.read(self.classification or CLASSES)
        thresholds = self.threshold_file or self.config.path("threshold-file")
        if self.strict and self.config.missing:
            raise ValueError(self.config.missing[0])
        self.tell(self.config.missing)
        adjustments, more = ([], []) if thresholds is None else read_thresholds(thresholds)
        loader = Loader(self.config.variables(), classes, adjustments, self.config.action_order())
        loaded = loader.load(self.rules or [STARTER])
        self.tell(problems + more + loaded.errors)
        self.tell(loaded.unsupported)
        if self.strict and loaded.skipped:
            raise ValueError(f"{loaded.skipped} rules cannot be used")
        if loaded.skipped:
            self.log(f"{loaded.count} rules loaded, {loaded.skipped} left out")
        return loaded

    def tell(self, problems: Iterable[Problem | str]) -> None:
        """Says what is wrong, the first of many."""
        listed = list(problems)
        for problem in listed[:SHOWN]:
            self.outputs.say(str(problem))
        if len(listed) > SHOWN:
            self.outputs.say(f"... and {len(listed) - SHOWN} more")

    def finish(self) -> None:
        stats = self.detection.stats()
        self.alerts += stats.pop("alerts")
        self.counters.update(stats)
