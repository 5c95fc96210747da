# SPDX-License-Identifier: BSD-3-Clause
"""document -- a YAML file as keys and words that know their line and column.

Mistakes are gathered, not raised one by one: whoever mends a file sees all of
them at once, each as FILE:LINE:COLUMN and what was expected there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from mosbox.hints import did_you_mean

__all__ = ["Document", "Node", "PolicyError"]

Node = Any  # yaml.Node: a mapping, a sequence or a scalar, with the mark where it begins

QUOTE = "a word that begins with ! or * is written in quotes"
MAX_MISTAKES = 20


class PolicyError(ValueError):
    """A policy with mistakes; its text has a line for each."""

    def __init__(self, mistakes: list[str]) -> None:
        shown = mistakes[:MAX_MISTAKES]
        if len(mistakes) > len(shown):
            shown.append(f"and {len(mistakes) - len(shown)} more")
        super().__init__("\n".join(shown))
        self.mistakes = mistakes


class Document:
    """One file: its nodes, and what is wrong with them."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self.root = self._compose(text)

    def _compose(self, text: str) -> Node:
        try:
            return yaml.compose(text, yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            hint = f"; {QUOTE}" if "alias" in str(error) or "tag" in str(error) else ""
            mark = error.problem_mark or error.context_mark
            where = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
            mistake = f"{self.path}:{where}: {error.problem or error.context}{hint}"
        except yaml.YAMLError as error:
            mistake = f"{self.path}:1:1: {' '.join(str(error).split())}"
        except RecursionError:
            mistake = f"{self.path}:1:1: nested too deeply"
        raise PolicyError([mistake])

    # -- telling

    def place(self, node: Node) -> str:
        return f"{self.path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def mistake(self, node: Node, sentence: str) -> None:
        self.mistakes.append(f"{self.place(node)}: {sentence}")

    def warning(self, node: Node, sentence: str) -> None:
        self.warnings.append(f"{self.place(node)}: {sentence}")

    def check(self) -> None:
        """Raises if there was a mistake."""
        if self.mistakes:
            raise PolicyError(self.mistakes)

    # -- reading

    def items(
        self, node: Node, what: str, known: Iterable[str] | None = None
    ) -> Iterator[tuple[str, Node, Node]]:
        """Key, its node and its value's node, of keys that are known and not there twice."""
        if not isinstance(node, yaml.MappingNode):
            self.mistake(node, f"expected {what}")
            return
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            key = self.word(key_node, f"a key of {what}")
            if key is None:
                continue
            line = key_node.start_mark.line + 1
            if known is not None and key not in known:
                near = did_you_mean(key, known) or f"; there are {', '.join(known)}"
                self.mistake(key_node, f"no key {key!r} in {what}{near}")
            elif key in seen:
                self.mistake(key_node, f"{key!r} is there twice, first in line {seen[key]}")
            else:
                seen[key] = line
                yield key, key_node, value

    def sequence(self, node: Node, what: str) -> list[Node]:
        """The nodes of a list."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.mistake(node, f"expected {what}")
        return []

    def words(self, node: Node, what: str) -> list[tuple[str, Node]]:
        """One word or a list of words."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not nodes:
            self.mistake(node, f"the list is empty, expected {what}")
        found = ((self.word(n, what), n) for n in nodes)
        return [(word, n) for word, n in found if word is not None]

    def word(self, node: Node, what: str) -> str | None:
        """A scalar as it is written."""
        if node.tag.startswith("!"):
            self.mistake(node, f"{node.tag!r} is a YAML tag, expected {what}: {QUOTE}")
        elif not isinstance(node, yaml.ScalarNode):
            self.mistake(node, f"expected {what}, not a list or keys")
        elif node.tag == "tag:yaml.org,2002:null":
            self.mistake(node, f"nothing is here, expected {what}")
        else:
            return str(node.value)
        return None
