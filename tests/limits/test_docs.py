"""docs/limits.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from runs.limits.kinds import SETTABLE, TABLE, LimitScope, says
from runs.limits.units import Unit, shown

DOCS = Path(__file__).resolve().parents[2] / "docs" / "limits.md"
UNITS = {Unit.COUNT: "number", Unit.TOKENS: "tokens", Unit.MONEY: "US dollars", Unit.DURATION: "time"}


def kinds() -> str:
    """The table of kinds as the document has it."""
    lines = ["| Kind | Unit | Of whom | One admin alone up to | Least |", "|---|---|---|---|---|"]
    for kind in SETTABLE:
        one = TABLE[kind]
        missing = [scope.value for scope in LimitScope if scope not in one.scopes]
        scopes = f"all but {', '.join(missing)}" if len(missing) <= 3 else ", ".join(one.scopes)
        amounts = ", ".join(
            f"{shown(one.unit, amount)} {says(kind, window).removeprefix(one.words).strip()}".strip()
            for window, amount in one.alone.items()
        )
        lines.append(f"| {one.words} | {UNITS[one.unit]} | {scopes} | {amounts} | {one.least} |")
    return "\n".join(lines)


def test_the_table_of_kinds_is_the_one_in_the_code() -> None:
    found = re.search(r"<!-- kinds -->\n(.*?)\n<!-- /kinds -->", DOCS.read_text(), re.DOTALL)
    assert found is not None
    assert found[1] == kinds()
