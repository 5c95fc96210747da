# SPDX-License-Identifier: BSD-3-Clause
"""What can be wrong with a rule or a file beside it, and where."""

from __future__ import annotations

from dataclasses import dataclass


class RuleError(ValueError):
    """A mistake in a rule. ``where`` is the offset in the rule's text, if known."""

    def __init__(self, message: str, where: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where


class UnsupportedError(RuleError):
    """A rule that may be right, but asks for something that is not known here."""

    def __init__(self, message: str, what: str, where: int | None = None) -> None:
        super().__init__(message, where)
        self.what = what


@dataclass(frozen=True)
class Problem:
    """A complaint about one place of one file; ``what`` is the unknown word, if it is one."""

    file: str
    line: int
    column: int
    message: str
    what: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"
