# SPDX-License-Identifier: BSD-3-Clause
"""Small readers for the values of options."""

from __future__ import annotations

import re

from mosbox.rules.errors import RuleError

INT_MAX = 0x7FFFFFFF
_RANGE = re.compile(r"(\d+)\s*(?:<>|-)\s*(\d+)")
_COMPARE = re.compile(r"(<=|>=|<|>|=|!)?\s*(\d+)")
_QUOTED = re.compile(r'(!)?\s*"(.*)"', re.DOTALL)
_HEX = re.compile(rb"\|([^|]*)\|")
_UNESCAPE = re.compile(rb'\\([\\";:|])')


def number(text: str, low: int, high: int) -> int:
    """A decimal or 0x number within bounds."""
    try:
        value = int(text, 16 if text.lower().lstrip("+-").startswith("0x") else 10)
    except ValueError:
        raise RuleError(f"'{text}' is not a number") from None
    if not low <= value <= high:
        raise RuleError(f"{text} is not between {low} and {high}")
    return value


def number_range(text: str, top: int = INT_MAX) -> tuple[int, int, bool]:
    """``5``, ``<5``, ``>=5``, ``5<>9`` (between, ends excluded), ``!5``: low, high, negated."""
    text = text.strip()
    if found := _RANGE.fullmatch(text):
        low, high = number(found[1], 0, top) + 1, number(found[2], 0, top) - 1
        if "-" in text:
            low, high = low - 1, high + 1
        if low > high:
            raise RuleError(f"nothing lies in '{text}'")
        return low, high, False
    found = _COMPARE.fullmatch(text)
    if found is None:
        raise RuleError(f"'{text}' is not a number, <n, >n or low<>high")
    value = number(found[2], 0, top)
    match found[1]:
        case "<":
            return (0, value - 1, False) if value else (1, 0, False)
        case "<=":
            return 0, value, False
        case ">":
            return value + 1, top, False
        case ">=":
            return value, top, False
        case "!":
            return value, value, True
    return value, value, False


def quoted(text: str) -> tuple[str, bool]:
    """``"text"`` or ``!"text"``: the text between the quotes, negated."""
    found = _QUOTED.fullmatch(text.strip())
    if found is None:
        raise RuleError("a value in double quotes is expected")
    return found[2], bool(found[1])


def pattern(text: str) -> bytes:
    """The bytes of a content: ``abc|0d 0a|``, with backslash escapes."""
    raw = text.encode("latin-1", "replace")
    if raw.count(b"|") == 0 and b"\\" not in raw:
        return raw
    out: list[bytes] = []
    for index, part in enumerate(_split_bars(raw)):
        if index % 2 == 0:
            out.append(_UNESCAPE.sub(rb"\1", part))
            continue
        try:
            out.append(bytes.fromhex("".join(part.decode("ascii").split())))
        except ValueError:
            raise RuleError(f"'|{part.decode('latin-1')}|' is not bytes in hex") from None
    return b"".join(out)


def _split_bars(raw: bytes) -> list[bytes]:
    """Parts between unescaped bars: text, hex, text, ..."""
    if b"\\|" in raw:
        parts = re.split(rb"(?<!\\)\|", raw)
    else:
        parts = raw.split(b"|")
    if len(parts) % 2 == 0:
        raise RuleError("a closing '|' is missing")
    return parts


def words(text: str) -> list[str]:
    """Words between commas."""
    return [word.strip() for word in text.split(",")]
