"""The dependency review through the real engine, of what is really installed and of packages made for it."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from opsconsole.shipped.dependency_review import acting, books, installed
from opsconsole.shipped.dependency_review.contracts import WriteReport
from runs import registry
from runs.agents.misbehaviour import misbehaving
from runs.checks import problems
from runs.definitions import NotKnown
from runs.engine import answers, edits, starts
from runs.engine.worker.runtime import Runtime
from runs.models import Question, Run, Step

from .desk import advanced, held, output_of
from .packages import made

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_pauses(settings: Any) -> None:
    settings.SIMULATED_SECONDS = 0.0


@pytest.fixture
def shelf(settings: Any, tmp_path: Path) -> Path:
    """A folder of packages: one clear, one not allowed, two whose licence nobody states."""
    folder = tmp_path / "site"
    settings.DEPENDENCY_FOLDERS = [folder]
    made(folder, "clear", licence="MIT")
    made(folder, "copyleft", licence="GPL-3.0-or-later")
    made(folder, "silent", text="mit")
    made(folder, "two-minded", classifiers=("BSD License", "Apache Software License"))
    return folder


def started(**given: Any) -> Run:
    with transaction.atomic():
        return starts.start("dependency_review", given, start_key=json.dumps(given), by="test").run


def open_questions(run: Run) -> dict[str, Question]:
    """By package."""
    found = Question.objects.select_related("run", "step").filter(run=run, state="open")
    return {one.action["arguments"]["name"]: one for one in found}


def answer(question: Question, verb: str, *, text: str = "", given: Any = None) -> None:
    with transaction.atomic():
        value = given or (question.action if verb == "approve" else None)
        answers.answer(answers.lock(question.pk), verb=verb, answer=value, text=text, by="Ines")


def report_of(run: Run) -> str:
    return (books.reports() / str(output_of(run)["file"])).read_text()


def test_the_definition_has_no_problems() -> None:
    workflow = registry.newest("dependency_review")
    assert workflow is not None
    assert list(problems(workflow)) == []
    assert workflow.simulated


def test_what_is_really_installed_is_reviewed_and_reported(runtime: Runtime) -> None:
    run = advanced(started(name_starts="dj"), runtime)
    assert run.state == "done", held(run)
    text = report_of(run)
    names = [name for name, _ in installed.packages(books.where()) if name.lower().startswith("dj")]
    assert output_of(run)["totals"]["reviewed"] == len(names)
    for name in names:
        assert f"| {name} | {installed.facts(name, books.where()).version} |" in text


def test_open_licences_go_to_a_person_and_the_others_go_on(runtime: Runtime, shelf: Path) -> None:
    run = advanced(started(quorum_percent=100), runtime)
    assert run.state == "waiting"
    assert set(open_questions(run)) == {"silent", "two-minded"}
    states = dict(Step.objects.filter(run=run, parent__isnull=False).values_list("place", "state"))
    assert states == {0: "done", 1: "done", 2: "waiting", 3: "waiting"}
    assert books.licences().entries() == ()


def test_a_person_accepts_one_and_corrects_the_other_and_the_report_says_so(
    runtime: Runtime, shelf: Path
) -> None:
    run = advanced(started(), runtime)
    asked = open_questions(run)
    assert asked["silent"].action["arguments"]["licence"] == "MIT"
    answer(asked["silent"], "approve")
    corrected = {**asked["two-minded"].action["arguments"], "licence": "BSD-3-Clause"}
    answer(asked["two-minded"], "approve", given=edits.check(asked["two-minded"], corrected))
    run = advanced(run, runtime)
    assert run.state == "done", held(run)
    entered = {entry.content.name: entry.content.licence for entry in books.licences().entries()}
    assert entered == {"silent": "MIT", "two-minded": "BSD-3-Clause"}
    totals = output_of(run)["totals"]
    assert (totals["reviewed"], totals["allowed"], totals["not_allowed"], totals["open"]) == (4, 3, 1, 0)
    assert "## Licences that are not allowed\n\n- copyleft 1.0: GPL-3.0-or-later" in report_of(run)


def test_an_accepted_licence_is_not_asked_for_again_until_the_version_changes(
    runtime: Runtime, shelf: Path
) -> None:
    run = advanced(started(name_starts="silent"), runtime)
    answer(open_questions(run)["silent"], "approve")
    assert advanced(run, runtime).state == "done"
    assert advanced(started(name_starts="sil"), runtime).state == "done"
    made(shelf, "silent", version="2.0", text="mit")
    assert open_questions(advanced(started(name_starts="sile"), runtime)).keys() == {"silent"}


@pytest.mark.parametrize(("verb", "verdict"), [("reject", "refused"), ("respond", "unclear")])
def test_a_licence_that_is_denied_or_answered_stays_open_in_the_report(
    runtime: Runtime, shelf: Path, verb: str, verdict: str
) -> None:
    run = advanced(started(name_starts="silent"), runtime)
    answer(open_questions(run)["silent"], verb, text="Ask the author first")
    run = advanced(run, runtime)
    assert output_of(run)["totals"]["open"] == 1
    assert f"- silent 1.0: {verdict} – Ask the author first" in report_of(run)
    assert books.licences().entries() == ()


def test_a_changed_file_is_found(runtime: Runtime, shelf: Path) -> None:
    (shelf / "clear" / "__init__.py").write_text("evil = True\n")
    run = advanced(started(name_starts="clear"), runtime)
    assert output_of(run)["totals"]["damaged"] == 1
    assert "- clear: clear/\\_\\_init\\_\\_.py" in report_of(run)


def test_a_review_without_any_package_reviewed_fails(runtime: Runtime, shelf: Path) -> None:
    with misbehaving({"dependency_reviewer": "broken_output"}):
        run = advanced(started(name_starts="copy"), runtime)
    answer(Question.objects.get(run=run, state="open"), "reject", text="no")
    assert advanced(run, runtime).state == "failed"


def test_the_quorum_of_the_run_is_above_the_one_of_the_pattern(runtime: Runtime, shelf: Path) -> None:
    run = advanced(started(quorum_percent=100), runtime)
    asked = open_questions(run)
    made(shelf, "silent", version="1.1", text="mit")  # replaced between plan and review
    for question in asked.values():
        answer(question, "approve")
    run = advanced(run, runtime)
    question = Question.objects.get(run=run, state="open")
    assert question.kind in ("contract", "error")
    answer(question, "reject", text="gone")
    run = advanced(run, runtime)
    (left,) = Question.objects.filter(run=run, state="open")
    assert left.step is not None
    assert left.step.node == "gather"
    assert "3 of 4 packages were reviewed, 75 %; this review needs 100 %" in json.dumps(left.action)


def test_no_such_name_asks_a_person_at_once(runtime: Runtime, shelf: Path) -> None:
    run = advanced(started(name_starts="zzz"), runtime)
    assert "No installed package has a name that begins with “zzz”." in json.dumps(
        Question.objects.get(run=run).action, ensure_ascii=False
    )


def test_what_agents_agree_on_does_not_get_into_the_report(runtime: Runtime, shelf: Path) -> None:
    with misbehaving(dict.fromkeys(("dependency_reviewer", "dependency_clerk"), "agreed_invention")):
        run = advanced(started(name_starts="clear"), runtime)
    question = Question.objects.get(run=run, state="open")
    assert "A note is for a licence that stays open" in json.dumps(question.action)


@pytest.mark.parametrize("seed", range(3))
def test_what_the_reviewer_makes_up_is_held_against_what_is_installed(
    runtime: Runtime, shelf: Path, seed: int
) -> None:
    with misbehaving({"dependency_reviewer": "plausible_wrong"}, seed=seed):
        run = advanced(started(name_starts="clear"), runtime)
    if run.state == "done":
        assert "| clear | 1.0 | MIT | allowed |" in report_of(run)
    else:
        assert Question.objects.get(run=run, state="open").kind == "contract"


def test_the_same_report_is_written_once(settings: Any, tmp_path: Path) -> None:
    handed: list[int] = []

    def hand_over(send: Any) -> None:
        handed.append(1)
        send(0.25)

    first = books.write_report("one", key="k", hand_over=hand_over)
    again = books.write_report("two", key="k", hand_over=hand_over)
    assert (first, first.read_text(), len(handed)) == (again, "one", 2)
    assert [path.name for path in books.reports().iterdir()] == [first.name]


def test_a_look_for_the_report_knows_what_it_said(settings: Any, tmp_path: Path) -> None:
    settings.DEPENDENCY_REPORTS = tmp_path
    report = WriteReport(text="All is well.")
    assert acting.look_for_report(report, "k") is None
    path = books.write_report(report.text, key="k", hand_over=lambda send: send(1.0))
    seen = acting.look_for_report(report, "k")
    assert seen == {"file": path.name, "sha256": books.report_digest(path.name)}
    assert isinstance(acting.look_for_report(WriteReport(text="All is lost."), "k"), NotKnown)
