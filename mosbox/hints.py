# SPDX-License-Identifier: BSD-3-Clause
"""hints -- "did you mean": the nearest of the names there are."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" if a known name is near, else ""."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
