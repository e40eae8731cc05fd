"""The kit itself: what it runs, what it reads, and what it says when a trial is written wrongly."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from runs import registry
from runs.agents.door import ModelRequest
from runs.agents.simulated import given
from runs.definitions import (
    Another,
    Ask,
    End,
    ErrorPolicy,
    Fallback,
    Node,
    Pipeline,
    Retry,
    Verify,
    Workflow,
)
from runs.engine import edits, holds
from runs.errors import RecoverableError
from runs.models import Run
from runs.testing import (
    AnswerLeftOver,
    BadInput,
    CannotAnswer,
    CannotWork,
    Misbehaviour,
    NeverSettled,
    NoTransactions,
    NotScripted,
    Reply,
    ScriptRanDry,
    Trial,
    TrialEscalation,
    TrialFault,
    approve,
    calls,
    edit,
    expire,
    fails,
    look,
    reject,
    respond,
    run_workflow,
    says,
)
from runs.testing.amounts import same
from tests import patience
from tests.kit import flows

pytestmark = pytest.mark.django_db(transaction=True)
CLAIM = {"text": "a lamp", "amount": 10}
LARGE = {"text": "a desk", "amount": 500}


def test_a_pipeline_runs_to_the_end_with_its_simulated_agents() -> None:
    trial = run_workflow(flows.paying(), CLAIM)
    trial.expect(state="done", path=("propose", "pay"), escalations=(), caught_by=())
    assert trial.output["paid"] is True
    assert [(one.name, one.arguments["amount"], one.acts) for one in trial.tools] == [
        ("purse.spend", 10, True)
    ]
    assert [one.name for one in trial.calls] == ["kit_proposer", "kit_payer", "purse.spend", "kit_payer"]
    assert trial.cost_micros == sum(one.cost_micros for one in trial.calls) > 0
    assert trial.tokens > 0
    assert flows.SPENT[0][1] == 10


def test_scripts_are_given_in_order_and_people_answer_in_order() -> None:
    trial = run_workflow(
        flows.paying(),
        CLAIM,
        agents={
            "kit_proposer": [says({"amount": 300, "reason": "a chair"})],
            "kit_payer": [
                calls("purse.spend", {"amount": 300, "purpose": "a chair"}, text="I insist."),
                says({"paid": True, "note": "done"}),
            ],
        },
        answers=[approve()],
    )
    trial.expect(state="done", output={"paid": True, "note": "done"}, caught_by=("approval",))
    (asked,) = trial.escalations
    assert (asked.kind, asked.title, asked.tool, asked.place, asked.answer) == (
        "approval",
        "Spend 300",
        "purse.spend",
        "pay",
        "approve",
    )
    assert flows.SPENT[0][1] == 300


def test_an_edited_action_is_done_as_edited() -> None:
    trial = run_workflow(flows.paying(), LARGE, answers=[edit({"amount": 7})])
    assert trial.tools[0].arguments["amount"] == 7
    assert flows.SPENT[0][1] == 7


@pytest.mark.parametrize(
    ("answer", "word"),
    [(reject("too dear"), "denied"), (respond("ask again next year"), "answer"), (expire(), "denied")],
)
def test_what_is_not_approved_is_not_done_and_the_agent_hears_it(answer: Any, word: str) -> None:
    trial = run_workflow(flows.paying(), LARGE, answers=[answer])
    trial.expect(state="done", tools=())
    assert trial.output["paid"] is False
    assert word in trial.output["note"]
    assert flows.SPENT == []


def test_without_an_answer_the_run_waits_and_the_test_can_look() -> None:
    trial = run_workflow(flows.paying(), LARGE)
    trial.expect(state="waiting", tools=())
    assert trial.escalations[-1].answer == ""


def test_answers_may_be_a_function_of_what_is_asked() -> None:
    seen: list[TrialEscalation] = []

    def answer(asked: TrialEscalation) -> Any:
        seen.append(asked)
        return approve()

    assert run_workflow(flows.paying(), LARGE, answers=answer).state == "done"
    assert [(one.tool, one.place) for one in seen] == [("purse.spend", "pay")]


def test_back_off_passes_without_sleeping() -> None:
    trial = run_workflow(
        flows.paying(),
        CLAIM,
        agents={
            "kit_proposer": [
                fails(RecoverableError("503", retry_after=1800)),
                fails(RecoverableError("503", retry_after=1800)),
                says({"amount": 1, "reason": "at last"}),
            ]
        },
    )
    trial.expect(state="done", caught_by=("retry policy",))
    assert trial.step("propose").attempts == 3


def test_a_broken_output_is_shown_to_the_agent_again_and_then_to_a_person() -> None:
    script = [says({"amount": "lots"}), says({"amount": "lots"})]
    trial = run_workflow(flows.paying(), CLAIM, agents={"kit_proposer": script})
    trial.expect(state="waiting", caught_by=("contract", "repair", "escalation: contract"))


def test_a_person_mends_a_broken_output() -> None:
    script = [says({"amount": "lots"}), says({"amount": "lots"})]
    mended = edit({"amount": 3, "reason": "three"})
    trial = run_workflow(flows.paying(), CLAIM, agents={"kit_proposer": script}, answers=[mended])
    trial.expect(state="done")
    assert trial.step("propose").output == {"amount": 3, "reason": "three"}


def test_a_broken_output_cannot_be_approved_as_it_is() -> None:
    script = [says({"amount": "lots"}), says({"amount": "lots"})]
    with pytest.raises(edits.Broken, match="amount: "):
        run_workflow(flows.paying(), CLAIM, agents={"kit_proposer": script}, answers=[approve()])


def test_what_an_accept_check_refused_may_be_approved_as_it_is() -> None:
    workflow = flows.paying(accept=flows.not_more, errors=ErrorPolicy(data=Ask()))
    script = {"kit_proposer": [says({"amount": 99, "reason": "more"})]}
    trial = run_workflow(workflow, CLAIM, agents=script, answers=[approve()])
    trial.expect(state="done")
    assert trial.step("propose").output["amount"] == 99


def test_what_a_person_changes_is_held_to_the_accept_check() -> None:
    workflow = flows.paying(accept=flows.not_more, errors=ErrorPolicy(data=Ask()))
    script = {"kit_proposer": [says({"amount": 99, "reason": "more"})]}
    with pytest.raises(edits.Broken, match="98 is more than the 10 claimed"):
        run_workflow(workflow, CLAIM, agents=script, answers=[edit({"amount": 98})])
    run_workflow(workflow, CLAIM, agents=script, answers=[edit({"amount": 9})]).expect(state="done")


def test_a_rejected_task_ends_alone_and_a_response_is_told_to_the_agent() -> None:
    heard: list[str] = []

    def writer(request: ModelRequest) -> Reply:
        heard.extend(message.text for message in request.messages[1:])
        return says({"text": "fine"}) if "be brief" in heard else fails(ValueError("odd"))

    trial = run_workflow(
        flows.surveying(need=1),
        {"names": ["rain", "snow"]},
        agents={"kit_writer": writer},
        answers=[reject("never mind"), respond("be brief")],
    )
    trial.expect(state="done", output={"lines": ["ended", "fine"]})


def test_a_question_about_the_run_itself_is_not_edited_and_not_responded_to() -> None:
    again = [says({"verdict": "again", "remark": "wind"})] * 3
    for answer, sentence in (
        (edit({"verdict": "good"}), "This question cannot be edited; answer approve or reject"),
        (respond("go on"), "This question is about the run itself; answer approve or reject"),
    ):
        with pytest.raises(CannotAnswer, match=sentence):
            run_workflow(
                flows.reviewing(), {"name": "rain"}, agents={"kit_reviewer": again}, answers=[answer]
            )


def test_a_question_about_an_error_is_not_edited() -> None:
    script = {"kit_proposer": [fails(ValueError("odd"))]}
    with pytest.raises(CannotAnswer, match="answer approve, reject or respond"):
        run_workflow(flows.paying(), CLAIM, agents=script, answers=[edit({"amount": 1})])


def test_only_what_a_tool_can_look_at_is_looked_at_again() -> None:
    script = {"kit_proposer": [fails(ValueError("odd"))]}
    with pytest.raises(CannotAnswer, match="nothing here that a tool could look at"):
        run_workflow(flows.paying(), CLAIM, agents=script, answers=[look()])


def test_an_input_that_breaks_its_contract_is_refused() -> None:
    with pytest.raises(BadInput, match="The input of kit_paying is wrong: amount"):
        run_workflow(flows.paying(), {"text": "x", "amount": "lots"})


def test_a_name_instead_of_a_workflow_is_one_sentence() -> None:
    with pytest.raises(
        CannotWork, match=r"takes a Workflow, not 'kit_paying': import the definition, or give "
    ):
        run_workflow("kit_paying", CLAIM)  # type: ignore[arg-type]


def test_a_wrong_expectation_is_one_sentence() -> None:
    trial = run_workflow(flows.paying(), CLAIM)
    with pytest.raises(TrialFault, match=r"A trial has no patth; expect takes: .*path, "):
        trial.expect(patth=())


def test_a_decimal_is_expected_by_its_amount() -> None:
    assert same({"a": [Decimal("4")], "b": 1}, {"a": ["4.00"], "b": 1})
    assert not same({"a": [Decimal("4")]}, {"a": ["4.01"]})
    assert not same({"a": Decimal("4")}, {"a": "four"})
    assert not same({"a": "4.0"}, {"a": "4.00"})


def test_a_run_that_a_control_holds_is_not_looked_at_for_ever() -> None:
    with transaction.atomic():
        holds.engage("pause", "workflow", "kit_paying", by="Ines")
    with pytest.raises(NeverSettled, match=r"is held \(pause\): release the control first"):
        run_workflow(flows.paying(), CLAIM)


def test_what_the_accept_check_refuses_is_told_apart_from_a_broken_contract() -> None:
    workflow = flows.paying(accept=flows.not_more, errors=ErrorPolicy(data=Ask()))
    trial = run_workflow(workflow, CLAIM, agents={"kit_proposer": [says({"amount": 99, "reason": "more"})]})
    assert trial.caught_by[0] == "accept check"


def test_fallback_another_agent_and_verifier_are_seen() -> None:
    other = flows.agent("kit_other")
    down = RecoverableError("503")
    chain = ErrorPolicy(recoverable=Fallback(models=("openai/gpt-x",), then=Another(agent=other)))
    trial = run_workflow(
        flows.paying(errors=chain),
        CLAIM,
        agents={
            "kit_proposer": [fails(down), fails(down)],
            "kit_other": [says({"amount": 2, "reason": "other"})],
        },
    )
    trial.expect(state="done", caught_by=("fallback model", "another agent"))
    verified = ErrorPolicy(data=Verify(by=other))
    trial = run_workflow(
        flows.paying(errors=verified),
        CLAIM,
        agents={"kit_proposer": [says({})], "kit_other": [says({"amount": 2, "reason": "seen"})]},
    )
    trial.expect(state="done", caught_by=("contract", "verifier"))


def test_an_orchestrated_run_goes_round_as_often_as_its_edge_allows() -> None:
    again, good = (says({"verdict": word, "remark": "wind"}) for word in ("again", "good"))
    trial = run_workflow(flows.reviewing(), {"name": "rain"}, agents={"kit_reviewer": [again, good]})
    trial.expect(state="done", path=("write", "review", "write", "review"))
    assert trial.step("write").output == {"text": "About wind"}
    trial = run_workflow(flows.reviewing(), {"name": "rain"}, agents={"kit_reviewer": [again] * 3})
    trial.expect(state="waiting", path=("write", "review") * 3, caught_by=("bound of an edge",))
    assert "no edge out of review" in trial.escalations[0].title


def test_a_supervised_run_names_its_tasks_and_takes_scripts_in_their_order() -> None:
    script = [says({"text": text}) for text in ("wet", "white", "hard")]
    trial = run_workflow(
        flows.surveying(), {"names": ["rain", "snow", "hail"]}, agents={"kit_writer": script}
    )
    trial.expect(
        state="done",
        path=("plan", "remark[0]", "remark[1]", "remark[2]", "report"),
        output={"lines": ["wet", "white", "hard"]},
    )
    assert trial.step("remark[1]").output == {"text": "white"}


def test_tasks_may_be_performed_side_by_side() -> None:
    trial = run_workflow(flows.surveying(), {"names": ["rain", "snow", "hail"]}, side_by_side=True)
    trial.expect(state="done", output={"lines": ["About rain", "About snow", "About hail"]})


def test_a_failed_task_is_seen_and_the_quorum_holds() -> None:
    def script(request: ModelRequest) -> Reply:
        if given(request)["name"] == "snow":
            return fails(RecoverableError("503"))
        return says({"text": "fine"})

    trial = run_workflow(
        flows.surveying(need=2, recoverable=End()),
        {"names": ["rain", "snow", "hail"]},
        agents={"kit_writer": script},
    )
    trial.expect(state="done", caught_by=("policy ended it",))
    assert trial.step("remark[1]").state == "failed"


def test_a_join_that_cannot_be_met_is_named() -> None:
    trial = run_workflow(
        flows.surveying(recoverable=End()),
        {"names": ["rain", "snow"]},
        agents={"kit_writer": [says({"text": "wet"}), fails(RecoverableError("503"))]},
    )
    trial.expect(state="failed", caught_by=("policy ended it", "join"))


def test_a_delegate_is_scripted_like_any_agent_and_inherits_the_gate() -> None:
    trial = run_workflow(
        flows.advised(),
        {"amount": 5, "reason": "a pen"},
        agents={
            "kit_asker": [calls("ask_adviser", {"text": "May I?"}), says({"text": "I may."})],
            "kit_adviser": [calls("purse.spend", {"amount": 400, "purpose": "me"}), says({"text": "Yes."})],
        },
        answers=[reject("no")],
    )
    trial.expect(state="done", output={"text": "I may."}, tools=())
    assert flows.SPENT == []


def test_what_one_agent_asks_another_is_taken_as_it_is_too() -> None:
    trial = run_workflow(
        flows.advised(),
        {"amount": 5, "reason": "a pen"},
        agents={"kit_asker": [calls("ask_adviser", {"text": "May I?", "times": "1"})] * 9},
    )
    assert trial.state != "done"
    assert "kit_adviser" not in {one.name for one in trial.calls}
    assert "times" in str(trial.escalations)


def test_tools_can_answer_without_being_performed() -> None:
    trial = run_workflow(flows.paying(), CLAIM, tools={"purse.spend": [{"spent": 3, "by": "a script"}]})
    assert trial.tools[0].answer == {"spent": 3, "by": "a script"}
    assert flows.SPENT == []
    trial = run_workflow(flows.paying(), CLAIM, act=False)
    assert trial.tools[0].answer == {"spent": 10}
    assert flows.SPENT == []


def test_a_recorded_run_is_given_again() -> None:
    workflow = flows.paying()
    first = run_workflow(
        workflow,
        CLAIM,
        agents={"kit_proposer": [fails(RecoverableError("503")), says({"amount": 8, "reason": "r"})]},
    )
    flows.SPENT.clear()
    again = run_workflow(workflow, CLAIM, recorded=first.run_id)
    again.expect(state="done", path=first.path, output=first.output, tokens=first.tokens, unused={})
    assert [one.answer for one in again.calls] == [one.answer for one in first.calls]
    assert flows.SPENT == []


def test_the_deadline_of_a_run_is_named() -> None:
    slow = replace(flows.paying(work=tardy), deadline_seconds=0.5)
    run_workflow(slow, CLAIM).expect(state="failed", caught_by=("deadline",))


def tardy(claim: flows.Claim) -> flows.Proposal:
    time.sleep(0.6)  # longer than its run's deadline
    return flows.Proposal(amount=1, reason="late")


def test_a_script_that_runs_dry_says_who_was_asked_what() -> None:
    with pytest.raises(ScriptRanDry, match="kit_payer was asked for reply 2, and its script has 1"):
        run_workflow(
            flows.paying(),
            CLAIM,
            agents={"kit_payer": [calls("purse.spend", {"amount": 10, "purpose": "x"})]},
        )


def test_a_script_that_runs_dry_under_a_supervisor_names_the_task() -> None:
    with pytest.raises(ScriptRanDry, match=r"(?s)At remark\[1\]: kit_writer was .*a function of the request"):
        run_workflow(
            flows.surveying(), {"names": ["rain", "snow"]}, agents={"kit_writer": [says({"text": "wet"})]}
        )


def test_an_answer_that_nobody_asked_for_is_an_error_with_the_story() -> None:
    with pytest.raises(AnswerLeftOver, match=r"1 of 1 answers were not asked for\.\nrun \d+ is done"):
        run_workflow(flows.paying(), CLAIM, answers=[approve()])


def test_replies_that_nobody_asked_for_are_counted() -> None:
    script = [says({"amount": 1, "reason": "one"}), says({"amount": 2, "reason": "two"})]
    assert run_workflow(flows.paying(), CLAIM, agents={"kit_proposer": script}).unused == {"kit_proposer": 1}


def test_an_agent_that_is_not_there_cannot_be_scripted() -> None:
    with pytest.raises(NotScripted, match="kit_paying has no agent kit_payr; it has kit_proposer, kit_payer"):
        run_workflow(flows.paying(), CLAIM, agents={"kit_payr": []})


def test_no_real_model_is_asked() -> None:
    workflow = flows.paying(work=flows.agent("kit_stranger", model="openai/gpt-x"))
    with pytest.raises(NotScripted, match="kit_stranger asks openai/gpt-x, and a trial asks no real model"):
        run_workflow(workflow, CLAIM)
    script = [says({"amount": 1, "reason": "scripted"})]
    assert run_workflow(workflow, CLAIM, agents={"kit_stranger": script}).state == "done"
    ruled = flows.paying(work=flows.agent("kit_proposer", model="openai/gpt-x"))
    assert run_workflow(ruled, CLAIM).state == "done"


def test_a_definition_that_cannot_work_is_refused_with_every_reason() -> None:
    workflow = replace(flows.paying(), version=0, deadline_seconds=0)
    with pytest.raises(CannotWork, match=r"(?s)version 0 .*deadline"):
        run_workflow(workflow, CLAIM)


def test_a_run_that_never_settles_ends_the_trial_with_a_sentence() -> None:
    enough = threading.Event()

    def forever(claim: flows.Claim) -> flows.Proposal:
        enough.wait(patience.SECONDS)
        return flows.Proposal(amount=1, reason="late")

    with pytest.raises(NeverSettled, match="was not over after 1 s"):
        run_workflow(flows.paying(work=forever), CLAIM, seconds=1)
    enough.set()
    for thread in threading.enumerate():
        if thread.name == "trial":  # what it still writes must not meet the emptying of the tables
            thread.join(patience.SECONDS)
            assert not thread.is_alive()


def circling() -> Workflow:
    free = ErrorPolicy(recoverable=Retry(times=10**6, base_seconds=600.0))
    return replace(flows.paying(errors=free), retry_budget=10**6)


def test_a_run_that_goes_on_for_ever_ends_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.testing.running.MOST_LOOKS", 20)
    with pytest.raises(NeverSettled, match="was looked at 20 times"):
        run_workflow(circling(), CLAIM, misbehave={"kit_proposer": Misbehaviour.UNAVAILABLE})


def test_the_registry_is_as_before_whatever_happened() -> None:
    known = registry.register(flows.paying())
    newer = registry.register(replace(flows.paying(), version=7))
    try:
        run_workflow(known, CLAIM)
        with pytest.raises(NotScripted):
            run_workflow(known, CLAIM, agents={"nobody": []})
        assert registry.workflow("kit_paying", 1) is known
        assert registry.newest("kit_paying") is newer
    finally:
        registry.forget(known)
        registry.forget(newer)
    assert run_workflow(flows.paying(), CLAIM).state == "done"
    assert registry.newest("kit_paying") is None


def test_expectations_fail_with_the_whole_story() -> None:
    trial: Trial = run_workflow(flows.paying(), CLAIM)
    with pytest.raises(AssertionError, match=r"(?s)path: expected \('pay',\), got .*pay: step done"):
        trial.expect(state="done", path=("pay",))
    with pytest.raises(LookupError, match="never came to 'review'; it went propose -> pay"):
        trial.step("review")


def test_runs_of_trials_are_left_to_their_trial() -> None:
    before = Run.objects.count()
    run_workflow(flows.paying(), CLAIM)
    assert Run.objects.count() == before + 1
    assert Run.objects.get().due_at is None


@pytest.mark.django_db(transaction=False)
def test_a_test_inside_a_transaction_is_told_how_to_be_marked() -> None:
    with pytest.raises(NoTransactions, match="transaction=True"):
        run_workflow(flows.paying(), CLAIM)


def test_one_node_workflows_of_functions_need_no_agents() -> None:
    def double(claim: flows.Claim) -> flows.Claim:
        return flows.Claim(text=claim.text, amount=claim.amount * 2)

    workflow = Workflow(
        name="kit_doubling",
        version=1,
        team="Testers",
        goal=lambda claim: claim.text,
        pattern=Pipeline(nodes=(Node(name="double", work=double, takes=flows.Claim, gives=flows.Claim),)),
    )
    assert run_workflow(workflow, flows.Claim(text="x", amount=2)).output["amount"] == 4
