# SPDX-License-Identifier: BSD-3-Clause
"""Every case of the files beside this one, as README.md describes them."""

import difflib
import re
from functools import partial
from pathlib import Path

import pytest
from case import Case, CaseError, read_cases
from event_lines import core_program, core_steps, steps

FILES = sorted(Path(__file__).parent.glob("*.case"))
CASES = [case for path in FILES for case in read_cases(path)]

# Who listens: an app, an app that listens to every packet too, and a program in C.
WAYS = {"events": steps, "packets": partial(steps, every_packet=True), "core": core_steps}

SCENARIOS = {*range(1, 85), *range(102, 105), *range(113, 121)}


def test_every_scenario_has_a_case() -> None:
    """A case file's case, or a test named for its scenario, test_66_..., here or beside the
    oracles."""
    told = {int(number) for case in CASES for number in case.title.split()[0].split(",")}
    for path in Path(__file__).parents[1].glob("*/test_*.py"):
        told |= {int(number) for number in re.findall(r"^def test_(\d+)_", path.read_text(), re.M)}
    assert told >= SCENARIOS


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case: Case, way: str) -> None:
    if way == "core" and core_program() is None:
        pytest.skip("play_case is not there: this core was not built in a folder with C tests")
    expected, got = "\n".join(case.text), case.play(WAYS[way])
    names = f"{case.path.name}: expected", f"{case.path.name}: raised"
    diff = difflib.unified_diff(expected.split("\n"), got.split("\n"), *names, n=4, lineterm="")
    assert expected == got, f"case {case.title}\n" + "\n".join(diff)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("> S\n", ":1: a file begins with a line"),
        ("case handshake\n> S\n", ":1: a case begins with its scenario's number"),
        ("case 1 x\n> S\n> Q\n", ":3: KeyError('Q')"),
        ("case 1 x\n> S <mms 5>\n", ":2: no TCP option is called 'mms'"),
        ("case 1 x\n\nsned > S\n", ":3: no step is called 'sned'"),
        ("case 1 x\n> S colour=red\n", ":2: 'colour' means nothing here"),
    ],
)
def test_mistakes_name_their_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "bad.case"
    path.write_text(text)
    with pytest.raises(CaseError) as raised:
        read_cases(path)
    assert f"{path}{complaint}" in str(raised.value)
