# SPDX-License-Identifier: BSD-3-Clause
"""Keywords that say what a rule is, and those that only inform."""

from __future__ import annotations

import re

from mosbox._core import lib
from mosbox.rules.draft import Draft, keyword
from mosbox.rules.errors import RuleError
from mosbox.rules.parser import Option
from mosbox.rules.words import number, quoted

_ESCAPE = re.compile(r'\\([\\";:])')


@keyword("msg")
def msg(draft: Draft, value: str, option: Option) -> None:
    """What the alert says."""
    text, _ = quoted(value) if value.startswith('"') else (value, False)
    if "\\" in text:
        text = _ESCAPE.sub(r"\1", text)
    if not text.isascii():
        text = text.encode("latin-1", "replace").decode("utf-8", "replace")
    draft.program.message = text


@keyword("sid")
def sid(draft: Draft, value: str, option: Option) -> None:
    """The rule's number."""
    draft.program.sid = number(value, 1, 0xFFFFFFFF)


@keyword("gid")
def gid(draft: Draft, value: str, option: Option) -> None:
    """The number of the group that the rule's number belongs to."""
    draft.program.gid = number(value, 0, 0xFFFFFFFF)


@keyword("rev")
def rev(draft: Draft, value: str, option: Option) -> None:
    """The rule's version."""
    draft.program.rev = number(value, 0, 0xFFFFFFFF)


@keyword("classtype")
def classtype(draft: Draft, value: str, option: Option) -> None:
    """The class of the attack; classification.config gives its priority."""
    draft.classtype = value.strip('" ').lower()


@keyword("priority")
def priority(draft: Draft, value: str, option: Option) -> None:
    """1 is the highest."""
    draft.priority = number(value, 1, 255)


@keyword("metadata")
def metadata(draft: Draft, value: str, option: Option) -> None:
    """Pairs of words that alerts repeat."""
    for pair in value.split(","):
        name, _, text = pair.strip().partition(" ")
        text = text.strip()
        if name and text:
            values = draft.metadata.setdefault(name, [])
            if text not in values:
                values.append(text)


@keyword("noalert")
def noalert(draft: Draft, value: str, option: Option) -> None:
    """The rule acts, but says nothing."""
    draft.program.flags |= lib.MB_RULE_NOALERT


@keyword("target")
def target(draft: Draft, value: str, option: Option) -> None:
    """Which side is the victim."""
    sides = {"src_ip": lib.MB_RULE_TARGET_SRC, "dest_ip": lib.MB_RULE_TARGET_DST}
    if value not in sides:
        raise RuleError("target is src_ip or dest_ip")
    draft.program.flags |= sides[value]


@keyword("reference", "prefilter", "requires", "tag")
def passed_over(draft: Draft, value: str, option: Option) -> None:
    """Informs people, or speaks to another program."""
