"""The page of a run: what guards said, what it waits for, where its time went, what binds it; and what that costs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from escalations import controls
from runs.models import Account, Attempt, Call, Event, Run, Step, TopUp
from runs.shown import history, limited
from tests import factories
from tests.latency import speaking
from tests.limits import setting
from tests.screens import patterns
from tests.screens.reading import Page, read
from tests.size import grown

pytestmark = pytest.mark.django_db(transaction=True)


def page(client: Client, run: Run, part: str = "") -> Page:
    return read(client.get(f"/runs/{run.pk}{part}"))


def paid() -> tuple[Run, Step]:
    """A run whose second step made model and tool calls."""
    run = factories.advanced(factories.started("paying", amount=50))
    return run, run.steps.get(node="pay")


def test_a_refusal_names_guard_scope_figure_and_the_limit_it_goes_by(operator: Client, ines: User) -> None:
    run, step = paid()
    number = setting.made(ines)
    speaking.told(run, step, limit=number)
    shown = page(operator, run)
    assert "Turns refused 13 of 12 agent writer The writer asked for a thirteenth turn." in shown.text
    assert f"/limits/{number}#limit" in shown.links()
    assert shown.text.index("tool cashbox.pay") < shown.text.index("Turns refused")


def test_a_warning_and_an_observation_are_quieter_than_a_refusal(operator: Client) -> None:
    run, step = paid()
    for mode in ("enforce", "warn", "observe"):
        speaking.told(run, step, mode=mode)
    tones = [
        given["data-s"] for _, given in page(operator, run).tags if "remark" in given.get("class", "").split()
    ]
    assert tones == ["care", "idle", "idle"]


def test_money_and_time_are_said_in_their_units_and_trust_has_its_own_tone(operator: Client) -> None:
    run, step = paid()
    speaking.told(run, step, guard="cost", cap=400_000, value=410_000)
    speaking.told(run, step, guard="taint", cap=None, value=None, says="The account came out of a letter.")
    shown = page(operator, run)
    assert "Budget refused $0.41 of $0.40" in shown.text
    tones = [given["data-s"] for _, given in shown.tags if "remark" in given.get("class", "").split()]
    assert tones == ["care", "doubt"]


def test_what_a_guard_says_is_outside_text(operator: Client) -> None:
    run, step = paid()
    speaking.told(run, step, scope="<b>x</b>", says="<script>alert(1)</script>\u202e")
    content = operator.get(f"/runs/{run.pk}").content.decode()
    assert "<script>alert(1)" not in content
    assert "<b>x</b>" not in content
    assert "RLO" in content


def test_many_remarks_about_one_step_are_a_few_rows_and_a_number(operator: Client) -> None:
    run, step = paid()
    speaking.told(run, step, says="the one refusal")
    for _ in range(20):
        speaking.told(run, step, mode="observe")
    shown = page(operator, run)
    assert len([one for one in shown.ids() if one.startswith("remark-")]) == 6
    assert "the one refusal" in shown.text
    assert "… and 15 more remarks of guards, in the events" in shown.text


def test_a_run_that_waits_for_a_rate_says_until_when_and_why_at_its_head_and_in_the_list(
    operator: Client,
) -> None:
    run = factories.started("plain")
    factories.advanced(run)
    step = run.steps.order_by("seq").last()
    assert step is not None
    until = timezone.now() + timedelta(minutes=3)
    speaking.waits(run, step, until)
    for where in (f"/runs/{run.pk}", f"/runs/{run.pk}/moving", "/runs/", "/runs/list"):
        text = read(operator.get(where)).text
        assert "waits for a rate until" in text, where
        assert f"{until:%H:%M:%S}" in text, where  # with its day, at midnight
    assert "60 of 60 requests a minute are used by team Testers." in page(operator, run).text
    speaking.looks_again(run, step)
    assert "waits for a rate until" in read(operator.get("/runs/")).text
    assert "Waits for a rate until" in page(operator, run).text
    speaking.goes_on(run, step)
    for where in (f"/runs/{run.pk}", "/runs/"):
        assert "waits for a rate until" not in read(operator.get(where)).text
    assert "Waited for a rate" in page(operator, run).text  # its row stays in the timeline


def test_another_steps_event_does_not_end_a_wait(operator: Client) -> None:
    run, step = paid()
    other = run.steps.get(node="draft")
    speaking.waits(run, step, timezone.now() + timedelta(minutes=3))
    speaking.goes_on(run, other)
    speaking.told(run, step, mode="observe")
    assert "waits for a rate until" in read(operator.get("/runs/")).text


def test_the_critical_path_of_a_run_adds_up_to_its_wall_time(operator: Client) -> None:
    run, step = paid()
    run.refresh_from_db()
    past = history.history(run)
    assert run.finished_at is not None
    path = past.spans.path(run.finished_at)
    assert path.length == past.spans.ms(run.finished_at)
    assert set(path.steps) == set(run.steps.values_list("pk", flat=True))
    calls = Call.objects.filter(step=step)
    assert {one.kind for one in calls} == {"model", "tool"}
    shown = page(operator, run)
    assert "Critical path" in shown.text
    assert f"went to {run.steps.count()} steps after each other" in shown.text
    places = [f"/runs/{run.pk}?until={one.seq + 1}#row-step-{one.pk}" for one in run.steps.all()]
    linked = {link for link in shown.links() if "?until=" in link}
    assert linked <= set(
        places
    )  # those that took longest; on a quick machine a step may take less than a millisecond
    marked = [
        given["aria-label"]
        for _, given in shown.tags
        if "on the critical path" in given.get("aria-label", "")
    ]
    assert len(marked) == run.steps.count()


def test_time_that_a_person_took_is_on_the_path(operator: Client) -> None:
    run = factories.approval().run
    Event.objects.filter(run=run).update(at=timezone.now() - timedelta(hours=1))
    began = timezone.now() - timedelta(hours=1)
    Run.objects.filter(pk=run.pk).update(created_at=began)
    Step.objects.filter(run=run).update(started_at=began)
    Attempt.objects.filter(step__run=run).update(started_at=began)
    run.questions.update(asked_at=began + timedelta(minutes=12))
    found = Run.objects.select_related("team").get(pk=run.pk)
    drawn = limited.limited(history.history(found), timezone.now()).chain
    assert drawn.causes[0].words == "waiting for people"
    assert 2879 <= drawn.causes[0].seconds <= 2940
    assert "waiting for people" in page(operator, run).text


def test_a_bound_shows_what_is_used_of_it_who_set_it_and_warns_near_its_end(
    operator: Client, ines: User
) -> None:
    run, _ = paid()
    turns = Call.objects.filter(run=run, kind="model", state="done").count()
    assert turns == 2
    wide = setting.made(ines, scope_kind="organisation", scope="", value="50")
    near = setting.made(ines, scope="paying", value="2")
    shown = page(operator, run)
    assert "Turns 2 of 2 reached" in shown.text
    assert "workflow paying" in shown.text
    assert f"/limits/{near}#limit" in shown.links()
    assert f"/limits/{wide}#limit" not in shown.links()
    assert "1 near or reached" in shown.text
    assert "Retries 0 of 10" in shown.text  # the definition's own
    assert "Wall time" in shown.text


def test_a_limit_of_an_agent_counts_the_turns_of_that_agent_alone(operator: Client, ines: User) -> None:
    run, _ = paid()
    setting.made(ines, scope_kind="agent", scope="payer", value="30")
    setting.made(ines, scope_kind="agent", scope="writer", value="3")
    text = page(operator, run).text
    assert "Turns 2 of 30" in text
    assert "of 3 " not in text.split("Limits here")[1].split("People")[0].replace("of 30", "")


def test_what_counts_over_many_runs_is_named_without_a_share(operator: Client, ines: User) -> None:
    run, _ = paid()
    number = setting.made(ines, what="cost/month", scope_kind="organisation", scope="", value="2000")
    shown = page(operator, run)
    assert "1 more covers it" in shown.text
    assert f"/limits/{number}#limit" in shown.links()


def test_a_step_slower_than_its_limit_is_marked_and_a_wait_is_none_of_it(
    operator: Client, ines: User
) -> None:
    run, step = paid()
    setting.made(ines, what="step_latency", scope_kind="organisation", scope="", value="20 s")
    assert "slow" not in page(operator, run).classes()
    began = step.started_at - timedelta(seconds=90)
    Step.objects.filter(pk=step.pk).update(started_at=began)
    step.attempts.update(started_at=began)
    slow = page(operator, run)
    assert "slow" in slow.classes()
    assert any(
        "slower than 20 s (the organisation, enforce)" in given.get("title", "") for _, given in slow.tags
    )
    speaking.waits(run, step, timezone.now())
    assert "slow" in page(operator, run).classes()
    Event.objects.filter(run=run, kind="waits").update(at=began)
    Call.objects.filter(step=step).update(permitted_at=began, finished_at=began)
    assert "slow" not in page(operator, run).classes()


def test_a_run_that_burns_says_with_which_call_it_will_cross(operator: Client, ines: User) -> None:
    escalation = factories.approval()
    setting.made(ines, scope="paying", value="3")
    Run.objects.filter(pk=escalation.run_id).update(state="ready", due_at=timezone.now())
    calls = Call.objects.filter(run=escalation.run_id, kind="model")
    assert calls.count() == 1
    assert "at this pace crossed by call 3 from now" in page(operator, escalation.run).text


def test_nothing_asks_more_of_the_database_than_before(operator: Client, ines: User) -> None:
    run, step = paid()
    setting.made(ines)
    for _ in range(30):
        speaking.told(run, step)
    speaking.waits(run, step, timezone.now() + timedelta(minutes=3))
    assert grown.cost(operator, f"/runs/{run.pk}").queries == 12
    assert grown.cost(operator, f"/runs/{run.pk}/moving").queries <= 9


def test_a_redrawn_run_brings_its_head_bounds_and_figures_with_it(operator: Client) -> None:
    run = factories.started("plain")
    redrawn = page(operator, run, "/moving")
    whole = page(operator, run)
    for part in ("run-moving", "run-head", "run-bounds", "run-figures"):
        assert redrawn.ids().count(part) == whole.ids().count(part) == 1
    assert "No time has passed yet." not in whole.text
    assert "our own overhead" in whole.text


def test_a_run_that_the_engine_lets_wait_for_a_rate_says_so_and_goes_on(operator: Client, ines: User) -> None:
    number = setting.made(ines, what="requests/minute", scope_kind="organisation", scope="", value="1")
    run = factories.advanced(factories.started("paying", amount=50))
    assert run.state == "sleeping"
    shown = page(operator, run)
    assert "waits for a rate until" in shown.text
    assert "requests a minute of the organisation: 1 of 1 are used" in shown.text
    assert f"/limits/{number}#limit" in shown.links()
    drawn = limited.limited(history.history(run), timezone.now()).chain
    assert "waiting for guards" in {part.words for part in drawn.causes}


def test_a_cap_that_is_reached_is_the_guards_own_figure(operator: Client, ines: User) -> None:
    setting.made(ines, scope="paying", value="1")
    run = factories.advanced(factories.started("paying", amount=50))
    assert run.state == "waiting"
    assert "Turns 1 of 1 reached" in page(operator, run).text
    account = Account.objects.get(run_id=run.pk, kind="turns")
    TopUp.objects.create(account=account, amount=2, made_by="Ines", reason="once more")
    assert "Turns 1 of 3" in page(operator, run).text
    assert "2 topped up" in page(operator, run).text


def test_a_budget_of_many_runs_is_shown_with_them_when_it_is_near(operator: Client, ines: User) -> None:
    setting.made(ines, what="tokens/day", scope_kind="organisation", scope="", value="100000")
    run = factories.advanced(factories.started("paying", amount=50))
    account = Account.objects.get(run_id=0, kind="tokens")
    assert account.spent + account.reserved > 0
    assert "1 more covers it" in page(operator, run).text
    Account.objects.filter(pk=account.pk).update(spent=90_000, reserved=0)
    text = page(operator, run).text
    assert "Tokens a day 90,000 of 100,000 near" in text
    assert "more covers it" not in text


def test_the_path_through_a_plan_goes_by_the_task_that_ended_last(operator: Client) -> None:
    run = factories.advanced(factories.started(patterns.FAN_ENDS.name, tasks=6))
    assert run.state == "done"
    run.refresh_from_db()
    past = history.history(run)
    assert run.finished_at is not None
    path = past.spans.path(run.finished_at)
    tasks = run.steps.filter(parent__isnull=False)
    last = tasks.order_by("-finished_at").first()
    assert last is not None
    plan, report = run.steps.get(node="plan"), run.steps.get(node="report")
    assert (path.steps[0], path.steps[-2:]) == (plan.pk, (last.pk, report.pk))
    assert sum(piece.length for piece in path.pieces) == past.spans.ms(run.finished_at)
    assert "steps that waited for one another" in page(operator, run).text


def test_a_hold_is_time_of_its_own(operator: Client, ines: User) -> None:
    run = factories.started("plain")
    held = timezone.now() - timedelta(hours=2)
    Run.objects.filter(pk=run.pk).update(created_at=held)
    controls.engage(actor=ines, kind="pause", scope_kind="run", scope=str(run.pk))
    Event.objects.filter(run=run, kind="held").update(at=held + timedelta(minutes=30))
    found = Run.objects.select_related("team").get(pk=run.pk)
    drawn = limited.limited(history.history(found), timezone.now())
    (most, *_) = drawn.chain.causes
    assert (most.words, round(most.seconds / 60)) == ("held", 90)
    clock = next(one for one in drawn.binding.bounds if one.row.kind == "wall_time")
    assert round(clock.used / 60_000) == 30
    assert clock.breach is None
