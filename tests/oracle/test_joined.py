# SPDX-License-Identifier: BSD-3-Clause
"""What the oracle excuses is narrow: by what Linux does with segments that wait behind a hole."""

from __future__ import annotations

import pytest
from joined import Waiting, is_unsure

Extent = tuple[int, int]


@pytest.mark.parametrize(
    ("others", "fresh", "unsure"),
    [
        (
            [(10, 20)],
            (20, 31),
            True,
        ),  # joined to what is in front, the first is read; else the longer
        ([(10, 20)], (15, 35), True),
        ([(10, 20)], (25, 35), False),  # the first begins before it, joined or not
        ([(10, 20)], (5, 35), False),  # and here it never does
        ([(5, 10), (10, 20)], (5, 35), True),
        ([(30, 40)], (20, 35), True),  # joined to what is behind, all of it is there already
        ([(30, 40)], (20, 45), False),
        ([(10, 20), (30, 40)], (20, 30), False),  # all of it is there
        ([(10, 19)], (20, 31), False),  # nothing touches
    ],
)
def test_of_two_segments_that_share_bytes(
    others: list[Extent], fresh: Extent, unsure: bool
) -> None:
    old = Waiting(20, 30, bytes(10))
    waiting = [*(Waiting(*extent, bytes(extent[1] - extent[0])) for extent in others), old]
    assert is_unsure(waiting, old, Waiting(*fresh, bytes(fresh[1] - fresh[0]))) is unsure
