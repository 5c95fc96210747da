# SPDX-License-Identifier: BSD-3-Clause
"""Scenario 117, end to end: a little of what tests/oracle judges at length."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "oracle"))

from network import why_not
from test_follow_tshark import differences, in_disorder, with_a_hole
from test_kernel_tcp import CLIMATES, SEED
from test_kernel_tcp import test_117_sockets_agree as sockets_agree
from wire import write_pcap

FEW = 12  # connections


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_117_streams_are_those_of_another_program(tmp_path: Path) -> None:
    for frames in (in_disorder, with_a_hole):
        assert differences(write_pcap(tmp_path / "x.pcap", frames())) == []


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_117_streams_and_states_are_those_of_the_sockets(tmp_path: Path) -> None:
    sockets_agree(CLIMATES[0], SEED, FEW, tmp_path)
