# SPDX-License-Identifier: BSD-3-Clause
"""streams -- where two of them part, and how to say so."""

from __future__ import annotations


def parting(one: bytes, other: bytes) -> int:
    """How many bytes of two streams are the same."""
    if other.startswith(one) or one.startswith(other):
        return min(len(one), len(other))
    return next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)


def difference(judge: str, got: bytes, shown: bytes) -> str:
    """Two streams that are not the same, in words."""
    at = parting(got, shown)
    return (
        f"{len(got)} bytes by {judge}, {len(shown)} by mosbox, different from {at} on:\n"
        f"        {judge:8}{got[at : at + 24].hex(' ') or 'nothing'}\n"
        f"        mosbox  {shown[at : at + 24].hex(' ') or 'nothing'}"
    )
