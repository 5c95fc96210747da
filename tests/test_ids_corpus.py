# SPDX-License-Identifier: BSD-3-Clause
"""`mosbox ids` on captures whose alerts are known, and on a large set of rules.

MOSBOX_CORPUS names the folder they are in. Without it there is nothing to do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program import MOSBOX, environment

from mosbox.rules.config import DEFAULT_VARIABLES, Classification
from mosbox.rules.loader import Loader

CORPUS = Path(os.environ.get("MOSBOX_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
GRADE = CORPUS / "suricata-verify" / "grade.py"
RULES = CORPUS / "rules" / "et-open.rules"

WANTED = 203  # cases; what is missing is HTTP/2 and what alerts tell of a gap
LOADED = 0.985  # of the rules


@pytest.mark.skipif(not GRADE.exists(), reason="the corpus folder is not here")
def test_alerts_are_those_that_suricata_gave() -> None:
    done = subprocess.run(
        [sys.executable, GRADE, "--mosbox", " ".join(MOSBOX)],
        capture_output=True,
        text=True,
        timeout=900,
        env=environment(),
    )
    found = re.search(r"(\d+) passed, (\d+) failed", done.stdout)
    assert found, done.stdout + done.stderr
    assert int(found[1]) >= WANTED, done.stdout


@pytest.mark.skipif(not RULES.exists(), reason="the corpus folder is not here")
def test_a_large_set_of_rules_loads() -> None:
    before = time.process_time()
    loaded = Loader(DEFAULT_VARIABLES, Classification()).load([RULES])
    seconds = time.process_time() - before
    assert loaded.count >= LOADED * (loaded.count + loaded.skipped)
    assert seconds < 60
