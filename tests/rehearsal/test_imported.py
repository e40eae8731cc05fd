"""Imported traces: kept by the command line, chosen beside the form, reckoned apart from the console's runs."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from escalations import imports, rehearsals
from escalations.expected import IllegalMove, Invalid
from escalations.models import Imported, ImportedRun, Rehearsal
from escalations.roles import System
from runs.recorded.trace import as_line, read
from tests import factories
from tests.limits.conftest import signed_in
from tests.recorded import traces
from tests.rehearsal.imported import one
from tests.screens.reading import read as page_of

pytestmark = pytest.mark.django_db(transaction=True)
DRAFT = {"what": "turns/run", "scope_kind": "organisation", "scope": "", "value": "2", "mode": "enforce"}
COMMAND = System(name="command line")


@pytest.fixture
def ines(transactional_db: None) -> User:
    return factories.person("ines", "admin", full_name="Ines Okafor")


@pytest.fixture
def theirs(transactional_db: None) -> Imported:
    """Four turns that succeeded, three that did not, two."""
    runs = [one("a", 4, True), one("b", 3, False), one("c", 2, True)]
    return imports.keep(actor=COMMAND, name="Their shop", runs=runs)


def told(*words: str) -> str:
    out = StringIO()
    call_command("rehearse", *words, stdout=out, stderr=out)
    return out.getvalue()


def test_a_draft_over_imported_traces_is_exact_and_apart_from_the_consoles_own(
    ines: User, theirs: Imported
) -> None:
    own = factories.advanced(factories.started("writing"))
    assert own.state == "done"
    found = rehearsals.ask(actor=ines, given=DRAFT | {"traces": str(theirs.pk)})
    totals = found.totals
    (apart,) = totals["imported"]
    assert (totals["runs"], totals["stopped"]) == (1, 0)
    assert (apart["name"], apart["kept"], apart["runs"], apart["stopped"]) == ("Their shop", 3, 3, 2)
    assert (apart["successes"], apart["successes_lost"]) == (2, 1)
    # Two turns and two looks of the first, one and one of the second.
    assert apart["saved"] == {"calls": 4 + 2, "cost_micros": 0, "tokens_in": 300, "tokens_out": 30}
    assert [row.told["imported"] for row in found.runs.all()] == ["Their shop", "Their shop"]
    assert found.runs.first().told["run"] == "a", "lost successes first"  # type: ignore[union-attr]


def test_without_a_choice_they_count_for_nothing(ines: User, theirs: Imported) -> None:
    assert rehearsals.ask(actor=ines, given=DRAFT).totals["imported"] == []


def test_a_draft_that_counts_over_many_runs_is_tried_on_them_as_well(ines: User, theirs: Imported) -> None:
    found = rehearsals.ask(actor=ines, given=DRAFT | {"what": "tokens/day", "traces": str(theirs.pk)})
    (apart,) = found.totals["imported"]
    assert apart["stopped"] == 0
    assert apart["not_told"][0]["runs"] == 3, "they have no moments: said, not guessed"


def test_an_admin_chooses_them_beside_the_form_and_reads_both_counts(ines: User, theirs: Imported) -> None:
    client = signed_in(ines)
    assert "Their shop 3 runs" in page_of(client.get("/limits/new")).text
    answer = client.post("/limits/rehearse", DRAFT | {"days": "7", "traces": [str(theirs.pk)]})
    answered = client.get(answer["Location"])
    page = page_of(answered)
    for words in ("0 of the console's own runs, and 3 of 3 imported as Their shop", "Imported: Their shop"):
        assert words in page.text
    assert "Stopped at step 5: turns a run 3 of 2" in page.text
    box = re.search(r'<input[^>]*name="traces"[^>]*>', answered.content.decode())
    assert box
    assert "checked" in box[0], "the box stays as it was"
    client.post("/limits/set", page.forms["/limits/set"] | DRAFT)
    (entry,) = factories.journal(act="set limit")
    kept = json.loads(entry.body)["details"]["rehearsal"]["figures"]
    assert [one["name"] for one in kept["imported"]] == ["Their shop"]


def test_what_was_forgotten_meanwhile_is_said_and_nothing_is_rehearsed(ines: User, theirs: Imported) -> None:
    number = str(theirs.pk)
    imports.forget(actor=ines, name="Their shop")
    assert not ImportedRun.objects.exists()
    with pytest.raises(Invalid, match="kept no more"):
        rehearsals.ask(actor=ines, given=DRAFT | {"traces": number})
    assert not Rehearsal.objects.exists()


def test_the_command_keeps_a_file_line_by_line_lists_and_forgets_it(tmp_path: Path) -> None:
    good = [as_line(one(name, 2).trace) for name in ("a", "b")]
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join([good[0], "{no json", '{"schema": "trace/2"}', good[1]]))
    said = told("--import", str(file), "--name", "Their shop")
    assert "runs.jsonl, line 2: not JSON" in said
    assert "runs.jsonl, line 3: schema is" in said
    assert "Kept 2 runs as Their shop" in said
    assert "Their shop: 2 runs, kept by command line" in told("--kept")
    with pytest.raises(CommandError, match="kept already"):
        told("--import", str(file), "--name", "Their shop")
    assert "Forgot 2 runs" in told("--forget", "Their shop")
    assert "No traces are kept" in told("--kept")
    assert [entry.act for entry in factories.journal(outcome="done")] == ["keep traces", "forget traces"]


def test_how_it_went_is_believed_only_where_somebody_asks_for_it(tmp_path: Path) -> None:
    line = traces.trace(traces.thought("Done."), run_id="a") | {"outcome": {"success": True}}
    file = traces.written(tmp_path, line)
    told("--import", str(file), "--name", "unasked")
    told("--import", str(file), "--name", "asked", "--outcomes")
    assert dict(ImportedRun.objects.values_list("imported__name", "succeeded")) == {
        "unasked": None,
        "asked": True,
    }


def test_the_toolsets_beside_the_file_are_kept_with_it(tmp_path: Path) -> None:
    (tmp_path / "toolsets.json").write_text(json.dumps(traces.TOOLSETS))
    file = traces.written(tmp_path, traces.trace(traces.thought("Done."), run_id="a"))
    told("--import", str(file), "--name", "shop")
    assert Imported.objects.get().toolsets == traces.TOOLSETS


def test_a_file_of_nothing_and_two_runs_of_one_name_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "empty.jsonl"
    file.write_text("\n")
    with pytest.raises(CommandError, match="no recorded run that can be read"):
        told("--import", str(file))
    with pytest.raises(Invalid, match="Two of its runs are called 'a'"):
        imports.keep(actor=COMMAND, name="twice", runs=[one("a"), one("a")])
    imports.keep(actor=COMMAND, name="x", runs=[one("a")])
    with pytest.raises(IllegalMove):
        imports.keep(actor=COMMAND, name=" x ", runs=[one("b")])
    assert [kept.name for kept in Imported.objects.all()] == ["x"]


def test_a_line_that_was_kept_is_the_same_run_again() -> None:
    full = read(
        traces.trace(
            traces.message("Cancel 7."),
            traces.thought("", context_tokens=900, latency_s=1.5, ts="2026-11-02T09:00:00+00:00"),
            traces.called("cancel_order", {"order_id": 7}, None, error="no", error_kind="tool"),
            goal="Cancel order 7.",
            toolset="shop-orders",
        )
    )
    again = read(json.loads(as_line(full)))
    assert (again, again.digest) == (full, full.digest)
