"""A verify step in the real engine: what does not stand goes to a person and never reaches the next step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runs.agents.door import ModelRequest
from runs.agents.misbehaviour import Misbehaviour
from runs.claims import Statement
from runs.definitions import (
    ErrorPolicy,
    Node,
    Plan,
    Repair,
    Results,
    Supervised,
    Task,
    ToVerify,
    Verdict,
    Verdicts,
    Workflow,
    a_person,
)
from runs.errors import RecoverableError
from runs.models import Attempt, Question, QuestionKind
from runs.testing import (
    Answer,
    Reply,
    Trial,
    calls,
    confirm,
    drop,
    edit,
    expire,
    fails,
    reject,
    respond,
    run_workflow,
    says,
)
from runs.testing.checking import check
from runs.testing.replies import Script
from tests.verify import flows
from tests.verify.flows import INVENTED, OPENED, SPAN, desk

pytestmark = pytest.mark.django_db(transaction=True)

READING = calls("paper.read", {"name": "bridge"})
TOPIC = {"name": "bridge"}


def _claiming(*claims: object, before: tuple[Reply, ...] = (READING,)) -> dict[str, Script]:
    return {"verify_researcher": [*before, says({"claims": list(claims)})]}


def _texts(trial: Trial) -> list[str]:
    return list(trial.output["lines"])


def _says(trial: Trial) -> list[str]:
    return [str(one.data["says"]) for one in trial.events if one.kind == "guard"]


def test_claims_whose_quotations_occur_go_on_and_nobody_is_asked() -> None:
    trial = run_workflow(desk(), TOPIC)
    trial.expect(state="done", path=("research", "verify", "write"), caught_by=())
    assert _texts(trial) == [OPENED["text"], SPAN["text"]]


def test_a_claim_with_an_invented_quotation_never_reaches_the_next_step() -> None:
    trial = run_workflow(desk(), TOPIC, agents=_claiming(OPENED, INVENTED))
    trial.expect(state="waiting", path=("research", "verify"), caught_by=("escalation: claims",))
    question = Question.objects.get(run=trial.run_id)
    assert question.kind == QuestionKind.CLAIMS
    assert [one["text"] for one in question.action["open"]] == [INVENTED["text"]]
    assert question.action["open"][0]["lacks"][0] == {
        "source": "paper.read",
        "quote": "was painted green in 1949",
        "why": "It does not stand there.",
    }


def test_each_finding_is_an_event_of_the_verify_guard_with_its_figures() -> None:
    trial = run_workflow(desk(), TOPIC, agents=_claiming(OPENED, INVENTED, {"text": "It is old."}))
    found = [one for one in trial.events if one.kind == "guard"]
    assert [one.data["guard"] for one in found] == ["verify", "verify"]
    assert {one.place for one in found} == {"verify"}
    assert all(one.data["mode"] == "enforce" and one.data["value"] == 2 for one in found)
    assert "It does not stand there." in _says(trial)[0]
    assert "It names no evidence." in _says(trial)[1]


def test_a_person_drops_a_claim_and_the_run_goes_on_with_the_others() -> None:
    trial = run_workflow(desk(), TOPIC, agents=_claiming(OPENED, INVENTED), answers=[drop()])
    trial.expect(state="done")
    assert _texts(trial) == [OPENED["text"]]
    assert Attempt.objects.get(step__run=trial.run_id, step__node="verify").state == "done"


def test_a_person_confirms_a_claim_and_it_goes_on_as_it_is() -> None:
    trial = run_workflow(
        desk(), TOPIC, agents=_claiming(OPENED, INVENTED), answers=[confirm("I have seen it.")]
    )
    trial.expect(state="done")
    assert _texts(trial) == [OPENED["text"], INVENTED["text"]]


def test_a_person_edits_a_claim_so_that_it_stands() -> None:
    trial = run_workflow(
        desk(), TOPIC, agents=_claiming(OPENED, INVENTED), answers=[edit({"claims": [OPENED, SPAN]})]
    )
    trial.expect(state="done")
    assert _texts(trial) == [OPENED["text"], SPAN["text"]]


@pytest.mark.parametrize("answer", [reject("It is made up."), expire()])
def test_denied_claims_end_the_run_and_nothing_is_written(answer: Answer) -> None:
    flows.WRITTEN.clear()
    trial = run_workflow(desk(), TOPIC, agents=_claiming(INVENTED), answers=[answer])
    trial.expect(state="ended")
    assert flows.WRITTEN == []


def test_two_agents_that_agree_on_an_invented_fact_do_not_ground_it() -> None:
    agreed = {
        "text": "It was painted green in 1949.",
        "quotes": [{"source": "input", "text": "painted green in 1949"}],
    }
    trial = run_workflow(
        desk(nodes=(flows.agreeing(),)),
        TOPIC,
        agents={**_claiming(INVENTED), "verify_second": [says({"claims": [INVENTED, agreed]})]},
    )
    trial.expect(state="waiting", path=("research", "agree", "verify"))
    assert len(_says(trial)) == 2


def test_what_an_agent_has_put_into_a_call_is_not_vouched_for_by_its_result() -> None:
    fact = "It was painted green in 1949."
    kept = {"text": fact, "quotes": [{"source": "note.keep", "text": fact}]}
    trial = run_workflow(
        desk(), TOPIC, agents=_claiming(kept, before=(READING, calls("note.keep", {"text": fact})))
    )
    trial.expect(state="waiting")
    assert "only because an agent had written it there" in _says(trial)[0]


def test_the_input_of_the_first_agent_is_evidence() -> None:
    told = {"text": "The pier is closed.", "quotes": [{"source": "input", "text": "the pier is closed"}]}
    trial = run_workflow(
        desk(), {"name": "bridge", "told": "Mind: the pier is closed."}, agents=_claiming(told)
    )
    trial.expect(state="done")


def test_a_figure_that_no_quotation_holds_is_found() -> None:
    off = {**SPAN, "text": "It spans 530 m."}
    trial = run_workflow(desk(), TOPIC, agents=_claiming(OPENED, off))
    trial.expect(state="waiting")
    assert "“530”" in _says(trial)[0]


@pytest.mark.parametrize("work", [flows.CHECKER, flows.all_hold])
@pytest.mark.parametrize("kind", [Misbehaviour.AGREED_INVENTION, Misbehaviour.INVENTED_EVIDENCE])
def test_simulated_inventions_of_agents_that_agree_are_caught(work: object, kind: Misbehaviour) -> None:
    flow = desk(work, nodes=(flows.agreeing(),))
    trial = run_workflow(flow, TOPIC, misbehave={"verify_researcher": kind, "verify_second": kind}, seed=3)
    assert trial.spoilt
    trial.expect(state="waiting", caught_by=("escalation: claims",))


def test_a_verifier_on_another_model_may_see_what_grounding_does_not() -> None:
    stretched = {**SPAN, "text": "It spans 503 m, the longest of all."}
    against = says(
        {"verdicts": [{"number": 0, "holds": False, "why": "Nothing says that it is the longest."}]}
    )
    trial = run_workflow(
        desk(flows.CHECKER), TOPIC, agents={**_claiming(stretched), "verify_checker": [against]}
    )
    trial.expect(state="waiting", caught_by=("escalation: claims",))
    assert "Nothing says that it is the longest." in _says(trial)[0]


def test_a_verifier_is_given_only_what_stands_with_the_passages_round_it() -> None:
    seen: list[Statement] = []

    def look(asked: ToVerify) -> Verdicts:
        seen.extend(asked.statements)
        return flows.all_hold(asked)

    run_workflow(desk(look), TOPIC, agents=_claiming(INVENTED, SPAN))
    (one,) = seen
    assert (one.number, one.text) == (1, SPAN["text"])
    assert one.passages[0].text == flows.PAPERS["bridge"]


def test_a_verifier_that_leaves_a_claim_out_is_asked_again_where_the_definition_says_so() -> None:
    both = {"verdicts": [{"number": 0, "holds": True}, {"number": 1, "holds": True}]}
    none: dict[str, list[object]] = {"verdicts": []}
    flow = desk(flows.CHECKER, errors=ErrorPolicy(data=Repair()))
    trial = run_workflow(flow, TOPIC, agents={"verify_checker": [says(none), says(both)]})
    trial.expect(state="done")
    trial = run_workflow(flow, TOPIC, agents={"verify_checker": [says(none)] * 2})
    trial.expect(state="waiting")
    assert trial.escalations[-1].kind == "error", "nobody may write the verifier's answer in its place"


def test_verdicts_about_other_claims_are_no_verdicts() -> None:
    def broken(asked: ToVerify) -> Verdicts:
        return Verdicts(verdicts=(Verdict(number=7, holds=True),))

    trial = run_workflow(desk(broken), TOPIC)
    trial.expect(state="waiting")
    assert trial.escalations[-1].kind == "error"


def test_a_person_as_verifier_is_shown_every_claim() -> None:
    trial = run_workflow(desk(a_person), TOPIC)
    trial.expect(state="waiting")
    question = Question.objects.get(run=trial.run_id)
    assert [one["number"] for one in question.action["open"]] == [0, 1]
    assert "must be verified by a person" in question.title
    trial = run_workflow(desk(a_person), TOPIC, answers=[confirm("I have read both.")])
    assert _texts(trial) == [OPENED["text"], SPAN["text"]]


def test_claims_go_back_to_another_agent_only_where_the_definition_says_so() -> None:
    with pytest.raises(Exception, match="Answer drop, confirm, edit or reject"):
        run_workflow(desk(), TOPIC, agents=_claiming(INVENTED), answers=[respond("Read it again.")])
    flow = desk(verifies={"back_to": flows.OTHER})
    trial = run_workflow(flow, TOPIC, agents=_claiming(INVENTED), answers=[respond("Read it again.")])
    trial.expect(state="done", path=("research", "verify", "write"))
    assert _texts(trial) == [OPENED["text"]]
    first, second = Attempt.objects.filter(step__run=trial.run_id, step__node="verify").order_by("number")
    assert (first.state, second.state, second.agent, second.note) == (
        "failed",
        "done",
        "verify_other",
        "Read it again.",
    )


def test_what_comes_back_is_verified_again_by_us_and_by_the_verifier() -> None:
    flow = desk(flows.CHECKER, verifies={"back_to": flows.OTHER})
    again = [READING, says({"claims": [INVENTED]}), READING, says({"claims": [OPENED]})]
    trial = run_workflow(
        flow,
        TOPIC,
        agents={**_claiming(INVENTED), "verify_other": again},
        answers=[respond("Read it again."), respond("And again.")],
    )
    trial.expect(state="done")
    asked = [call.name for call in trial.calls if call.kind == "model" and call.place == "verify"]
    assert asked == ["verify_other"] * 4 + ["verify_checker"], (
        "an invented claim was not even shown to the verifier"
    )


def test_what_was_sent_back_is_told_with_what_was_missing() -> None:
    told: list[str] = []

    def again(request: ModelRequest) -> Reply:
        told.extend(message.text for message in request.messages)
        return says({"claims": []})

    flow = desk(verifies={"back_to": flows.OTHER})
    run_workflow(
        flow,
        TOPIC,
        agents={**_claiming(INVENTED), "verify_other": again},
        answers=[respond("Read it again.")],
    )
    assert "It does not stand there." in told[0]
    assert "Read it again." in told


def test_what_is_sent_back_twice_is_told_as_it_was_the_second_time() -> None:
    told: list[str] = []
    red = {**INVENTED, "text": "It was painted red."}

    def again(request: ModelRequest) -> Reply:
        told.append(request.messages[0].text)
        return says({"claims": [red] if len(told) == 1 else []})

    flow = desk(verifies={"back_to": flows.OTHER})
    agents = {**_claiming(INVENTED), "verify_other": again}
    run_workflow(flow, TOPIC, agents=agents, answers=[respond("Again."), respond("And again.")])
    assert [str(red["text"]) in one for one in told] == [False, True]


def test_a_source_that_only_hands_on_what_agents_said_vouches_for_nothing() -> None:
    """A function node named as a source: its own figures count, the agent's words in it do not."""

    class Filed(flows.Found):
        file: int

    def file(found: flows.Found) -> Filed:
        return Filed(claims=found.claims, file=4711)

    own = {"text": "It is file 4711.", "quotes": [{"source": "file", "text": "4711"}]}
    echoed = {"text": "It was painted green.", "quotes": [{"source": "file", "text": "was painted green"}]}
    nodes = (
        Node(name="file", work=file, takes=flows.Found, gives=Filed),
        Node(name="agree", work=flows.SECOND, takes=Filed, gives=flows.Found),
    )
    flow = desk(nodes=nodes, verifies={"sources": ("file",)})
    second = {"verify_second": [says({"claims": [own, echoed]})]}
    trial = run_workflow(flow, TOPIC, agents={**_claiming(INVENTED), **second})
    trial.expect(state="waiting")
    assert [one.partition(",")[0] for one in _says(trial)] == ["Claim 2"]


def test_check_workflow_says_that_invented_facts_are_caught_by_the_verify_step() -> None:
    kinds = [Misbehaviour.AGREED_INVENTION, Misbehaviour.INVENTED_EVIDENCE]
    rows = list(check(desk(flows.CHECKER), [TOPIC], only=kinds, at=["verify_researcher"]))
    assert {(row.misbehaviour, row.caught, row.what) for row in rows} == {
        ("agreed_invention", True, "escalation: claims"),
        ("invented_evidence", True, "escalation: claims"),
    }


def test_a_verifier_that_cannot_answer_now_is_asked_again_and_nothing_goes_on_meanwhile() -> None:
    flow = desk(flows.CHECKER)
    failing = [fails(RecoverableError("503")), says({"verdicts": [{"number": 0, "holds": True}]})]
    trial = run_workflow(flow, TOPIC, agents={**_claiming(OPENED), "verify_checker": failing})
    trial.expect(state="done", caught_by=("retry policy",))
    assert [step.attempts for step in trial.steps if step.place == "verify"] == [2]


def _gather(found: Results) -> flows.Found:
    claims = [claim for task in found.results for claim in (task.output or {}).get("claims", ())]
    return flows.Found.model_validate({"claims": claims})


def _plan(topic: flows.Topic) -> Plan:
    return Plan(tasks=tuple(Task(worker="research", input={"name": name}) for name in ("bridge", "ferry")))


def _team() -> Workflow:
    """The same desk under a supervisor: two researchers side by side, their claims gathered and verified."""
    research, verify, write = desk().nodes
    pattern = Supervised(
        supervisor=Node(name="plan", work=_plan, takes=flows.Topic, gives=Plan),
        workers=(research,),
        then=(Node(name="gather", work=_gather, takes=Results, gives=flows.Found), verify, write),
    )
    return replace(desk(), pattern=pattern)


def test_claims_of_tasks_are_held_against_what_the_tasks_have_read() -> None:
    left = {
        "text": "It left in June 1932.",
        "quotes": [{"source": "paper.read", "text": "left service in June 1932"}],
    }
    ferry = calls("paper.read", {"name": "ferry"})
    good = {"verify_researcher": [READING, says({"claims": [OPENED]}), ferry, says({"claims": [left]})]}
    trial = run_workflow(_team(), TOPIC, agents=good)
    trial.expect(state="done", output={"lines": [OPENED["text"], left["text"]]})
    bad = {
        "verify_researcher": [READING, says({"claims": [OPENED]}), ferry, says({"claims": [left, INVENTED]})]
    }
    trial = run_workflow(_team(), TOPIC, agents=bad, answers=[drop()])
    trial.expect(
        state="done", output={"lines": [OPENED["text"], left["text"]]}, caught_by=("escalation: claims",)
    )


def test_what_an_agent_plans_is_no_evidence_for_the_tasks_that_it_planned() -> None:
    told = {"name": "bridge", "told": "It was painted green in 1949."}
    believed = {
        "text": "It was painted green in 1949.",
        "quotes": [{"source": "input", "text": "painted green in 1949"}],
    }
    team = _team()
    assert isinstance(team.pattern, Supervised)
    plan = Plan(tasks=(Task(worker="research", input=told),)).model_dump(mode="json")
    by_function = run_workflow(team, told, agents={"verify_researcher": [says({"claims": [believed]})] * 2})
    assert by_function.state == "waiting", "the planner gave its tasks nothing of that"
    planner = Node(name="plan", work=flows.SECOND, takes=flows.Topic, gives=Plan)
    by_agent = replace(team, pattern=replace(team.pattern, supervisor=planner))
    trial = run_workflow(
        by_agent,
        TOPIC,
        agents={"verify_second": [says(plan)], "verify_researcher": [says({"claims": [believed]})]},
    )
    trial.expect(state="waiting", caught_by=("escalation: claims",))
    assert "There is no such source" in _says(trial)[0]
