"""Each misbehaviour through the real engine: what catches it, and what it comes to where nothing stands in its way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import transaction

from runs import bodies, registry
from runs.agents import misbehaviour
from runs.agents.door import Message, ModelReply, ModelRequest
from runs.agents.misbehaviour import Misbehaviour, Ordered, invention, misbehaving, parse
from runs.agents.simulated import ask, says
from runs.definitions import Ask, End, ErrorPolicy, Fallback, Retry
from runs.engine import starts
from runs.engine.advance import advance
from runs.engine.worker.runtime import Runtime
from runs.errors import DataError, RecoverableError
from runs.models import Call, Question, Run
from runs.testing import Trial, approve, calls, reject, run_workflow
from runs.testing import says as replies
from runs.testing.said import give
from tests.kit import flows

CLAIM = {"text": "a lamp", "amount": 10}
database = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(settings: Any) -> Iterator[None]:
    settings.SIMULATED_SECONDS = 0.0
    yield
    misbehaviour.by_setting({})


def tried(who: str, kind: Misbehaviour, seed: int = 0, **more: Any) -> Trial:
    """The paying workflow with one agent that misbehaves; people refuse whatever they are asked."""
    return run_workflow(
        flows.paying(),
        CLAIM,
        misbehave={who: kind},
        seed=seed,
        answers=lambda asked: reject("no"),
        **more,
    )


def test_every_misbehaviour_has_a_sentence() -> None:
    assert all(kind.sentence.endswith(".") for kind in Misbehaviour)


# caught


@database
def test_asking_for_the_same_call_for_ever_ends_before_the_third_is_sent() -> None:
    trial = tried("kit_payer", Misbehaviour.PING_PONG)
    trial.expect(state="ended", caught_by=("loop", "escalation: error"))
    assert [one.arguments for one in trial.tools] == [trial.tools[0].arguments] * 2


@database
def test_two_agents_that_send_each_other_round_end_at_the_bound_of_an_edge() -> None:
    trial = run_workflow(
        flows.reviewing(), {"name": "rain"}, misbehave={"kit_reviewer": Misbehaviour.PING_PONG}
    )
    trial.expect(state="waiting", path=("write", "review") * 3, caught_by=("bound of an edge",))


@database
def test_an_invented_tool_is_refused_and_a_person_asked() -> None:
    trial = tried("kit_payer", Misbehaviour.INVENTED_TOOL)
    trial.expect(state="ended", caught_by=("unknown tool", "escalation: error"), tools=(), spoilt=1)
    trial = tried("kit_proposer", Misbehaviour.INVENTED_TOOL)  # one that has no tools at all
    trial.expect(state="ended", caught_by=("unknown tool", "escalation: error"))


@database
def test_an_argument_that_breaks_the_tools_contract_reaches_no_tool() -> None:
    for seed in (0, 2, 4, 6):
        trial = tried("kit_payer", Misbehaviour.WRONG_ARGUMENT, seed)
        assert trial.caught_by[0] == "argument contract", trial.told()
        assert flows.SPENT == []


@database
def test_an_argument_that_is_wrong_and_keeps_the_contract_is_caught_by_an_approval_that_compares() -> None:
    for seed in (1, 3, 5):
        trial = tried("kit_payer", Misbehaviour.WRONG_ARGUMENT, seed)
        trial.expect(caught_by=("approval",), tools=())
        assert trial.escalations[0].failed == ("Spends what was proposed",)


@database
def test_a_broken_output_is_sent_back_and_then_shown_to_a_person() -> None:
    for seed in range(6):
        trial = tried("kit_proposer", Misbehaviour.BROKEN_OUTPUT, seed)
        trial.expect(state="ended", caught_by=("contract", "repair", "escalation: contract"))


@database
def test_a_plausible_wrong_answer_is_caught_by_an_accept_check() -> None:
    workflow = flows.paying(accept=flows.exactly, errors=ErrorPolicy(data=End()))
    trial = run_workflow(workflow, CLAIM, misbehave={"kit_proposer": Misbehaviour.PLAUSIBLE_WRONG})
    trial.expect(state="failed", caught_by=("accept check", "policy ended it"))


@database
def test_a_provider_that_is_away_is_tried_again_within_the_retry_policy() -> None:
    trial = tried("kit_proposer", Misbehaviour.UNAVAILABLE)
    trial.expect(state="ended", caught_by=("retry policy", "escalation: error"))
    assert [one.error for one in trial.calls] == ["503 Service Unavailable (simulated)"] * 3


@database
def test_a_busy_provider_is_not_asked_before_the_time_it_named() -> None:
    trial = tried("kit_proposer", Misbehaviour.RATE_LIMITED)
    trial.expect(caught_by=("retry policy", "escalation: error"))
    assert trial.calls[0].error.startswith("429 Too Many Requests")
    with pytest.raises(RecoverableError) as raised:
        _bent(Misbehaviour.RATE_LIMITED, 3)
    assert raised.value.retry_after is not None
    assert 1 <= raised.value.retry_after <= 20


@database
def test_another_model_answers_when_the_first_ones_provider_is_away() -> None:
    chain = ErrorPolicy(recoverable=Fallback(models=("simulated/spare-1",)))
    trial = run_workflow(
        flows.paying(errors=chain),
        CLAIM,
        misbehave={"kit_proposer@simulated/kit_proposer-1": Misbehaviour.UNAVAILABLE},
    )
    trial.expect(state="done", caught_by=("fallback model",))


@database
def test_a_call_that_never_returns_is_given_up_and_tried_again() -> None:
    trial = tried("kit_proposer", Misbehaviour.NEVER_RETURNS)
    trial.expect(state="ended", caught_by=("call time limit", "retry policy", "escalation: error"))
    assert trial.calls[0].error.startswith("no answer within 120 s")


@database
def test_outside_a_trial_a_call_that_never_returns_is_cut_by_the_engines_own_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runs.engine.models_asked.CALL_SECONDS", 0.3)
    workflow = registry.register(flows.paying(errors=ErrorPolicy(recoverable=Ask())))
    runtime = Runtime("kit", "agents")
    try:
        with misbehaving({"kit_proposer": Misbehaviour.NEVER_RETURNS}):
            with transaction.atomic():
                run = starts.start("kit_paying", CLAIM, start_key="k", by="test").run
            advance(run.pk, runtime)
        assert Run.objects.get(pk=run.pk).state == "waiting"
        assert Call.objects.get(run=run).error_class == "recoverable"
    finally:
        runtime.stop()
        registry.forget(workflow)


# what it comes to without a guard for it


@database
def test_without_a_limit_of_context_one_that_grows_is_paid_for_and_goes_on() -> None:
    good = run_workflow(flows.paying(), CLAIM)
    trial = tried("kit_proposer", Misbehaviour.GROWING_CONTEXT)
    trial.expect(state="done", caught_by=())
    assert trial.tokens > 5 * good.tokens


@database
def test_without_an_accept_check_a_plausible_wrong_answer_is_believed() -> None:
    trial = tried("kit_proposer", Misbehaviour.PLAUSIBLE_WRONG)
    trial.expect(state="done", caught_by=())
    assert trial.step("propose").output["amount"] != 10


@database
def test_without_a_step_that_verifies_two_agents_agree_on_an_invented_fact() -> None:
    both = {"kit_proposer": Misbehaviour.AGREED_INVENTION, "kit_payer": Misbehaviour.AGREED_INVENTION}
    trial = run_workflow(flows.paying(), CLAIM, misbehave=both, seed=4)
    trial.expect(state="done", caught_by=())
    assert invention(4) in trial.step("propose").output["reason"]
    assert invention(4) in trial.step("pay").output["note"]
    assert invention(4) != invention(5)


@database
def test_without_a_limit_of_time_a_late_answer_is_taken() -> None:
    tried("kit_proposer", Misbehaviour.SLOW).expect(state="done", caught_by=())


# asked for in four ways


@database
def test_an_agents_own_parameters_ask_for_it() -> None:
    rogue = flows.agent("kit_proposer", parameters={"misbehave": "broken_output", "seed": 3})
    trial = run_workflow(flows.paying(work=rogue), CLAIM)
    trial.expect(state="waiting", caught_by=("contract", "repair", "escalation: contract"))


@database
def test_a_parameter_that_names_nothing_is_said() -> None:
    rogue = flows.agent("kit_proposer", parameters={"misbehave": "brokn"})
    trial = run_workflow(flows.paying(work=rogue), CLAIM)
    assert trial.escalations[0].title.startswith(
        "propose: Parameters of kit_proposer: 'brokn' is no misbehaviour; there are: ping_pong, "
    )


@database
def test_the_setting_asks_for_it() -> None:
    misbehaviour.by_setting(parse("nobody=slow, kit_proposer=unavailable:3"))
    run_workflow(flows.paying(), CLAIM).expect(caught_by=("retry policy", "escalation: error"))


@database
def test_a_scripted_agent_misbehaves_too() -> None:
    trial = run_workflow(
        flows.paying(),
        CLAIM,
        agents={"kit_payer": [calls("purse.spend", {"amount": 10, "purpose": "x"}), replies({"paid": True})]},
        misbehave={"kit_payer": Misbehaviour.PING_PONG},
    )
    trial.expect(caught_by=("loop", "escalation: error"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("broken_output", "'broken_output' is not of the form AGENT=MISBEHAVIOUR:SEED."),
        ("=slow", "'=slow' is not of the form AGENT=MISBEHAVIOUR:SEED."),
        ("writer=slow:often", "'writer=slow:often' is not of the form AGENT=MISBEHAVIOUR:SEED."),
        ("writer=sloww", "'sloww' is no misbehaviour; there are: ping_pong, growing_context,"),
    ],
)
def test_a_bad_setting_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as raised:
        parse(text)
    assert str(raised.value).startswith(sentence)


def test_a_setting_may_name_several_with_and_without_a_seed() -> None:
    assert parse(" a=slow , b.c=broken_output:3,") == {
        "a": Ordered(kind=Misbehaviour.SLOW),
        "b.c": Ordered(kind=Misbehaviour.BROKEN_OUTPUT, seed=3),
    }


def test_a_setting_that_names_no_agent_is_a_warning(settings: Any) -> None:
    settings.SIMULATED_MISBEHAVIOUR = (
        "kit_writr=slow, kit_writer=slow, simulated/x=slow, kit_writer@simulated/x=slow"
    )
    found = [one.msg for one in run_checks(tags=["workflows"]) if one.id == "runs.W001"]
    assert found == [
        "OPSCONSOLE_SIMULATED_MISBEHAVIOUR names 'kit_writr', and no simulated agent has this name."
    ]


# deterministic, scoped, and never a second time otherwise


def _request(contract: Any = flows.Review, agent: str = "kit_reviewer", **more: Any) -> ModelRequest:
    return ModelRequest(
        model="simulated/kit-1",
        agent=agent,
        prompt="p",
        prompt_version="1",
        messages=(Message(role="user", text='{"text":"It rains."}'),),
        output_schema=contract.model_json_schema(),
        **more,
    )


def _bent(kind: Misbehaviour, seed: int, output: Any = None, contract: Any = flows.Review) -> ModelReply:
    request = _request(contract)
    value = output or {"verdict": "good", "remark": "Fine."}
    order = Ordered(kind=kind, seed=seed)
    return asyncio.run(misbehaviour.bent(order, request, lambda: says(request, value)))


@pytest.mark.parametrize(
    "kind",
    [
        Misbehaviour.PING_PONG,
        Misbehaviour.GROWING_CONTEXT,
        Misbehaviour.INVENTED_TOOL,
        Misbehaviour.BROKEN_OUTPUT,
        Misbehaviour.PLAUSIBLE_WRONG,
        Misbehaviour.AGREED_INVENTION,
    ],
)
def test_the_same_seed_and_request_give_the_same_reply(kind: Misbehaviour) -> None:
    assert [_bent(kind, seed) for seed in range(20)] == [_bent(kind, seed) for seed in range(20)]
    assert _bent(kind, 1) != says(_request(), {"verdict": "good", "remark": "Fine."})


def test_other_seeds_go_wrong_otherwise() -> None:
    for kind in (Misbehaviour.INVENTED_TOOL, Misbehaviour.BROKEN_OUTPUT, Misbehaviour.AGREED_INVENTION):
        assert len({repr(_bent(kind, seed)) for seed in range(20)}) > 1


def test_what_is_left_of_the_time_changes_nothing() -> None:
    reply = {"verdict": "good", "remark": "Fine."}
    order = Ordered(kind=Misbehaviour.BROKEN_OUTPUT, seed=1)
    bent = [
        asyncio.run(
            misbehaviour.bent(order, _request(seconds_left=left), lambda: says(_request(), reply))
        ).output
        for left in (1.0, 99.0)
    ]
    assert bent[0] == bent[1]


def test_what_is_said_more_is_paid_for() -> None:
    good = says(_request(), {"verdict": "good", "remark": "Fine."})
    assert _bent(Misbehaviour.GROWING_CONTEXT, 0).usage.tokens_out > 1000 > good.usage.tokens_out


def test_a_scope_ends_and_the_inner_one_counts() -> None:
    request = _request()
    assert misbehaviour.asked(request) is None
    with misbehaving({"kit_reviewer": "slow"}, seed=1):
        with misbehaving({"kit_reviewer": Misbehaviour.BROKEN_OUTPUT}, seed=2):
            found = misbehaviour.asked(request)
            assert found is not None
            assert (found.kind, found.seed) == (Misbehaviour.BROKEN_OUTPUT, 2)
        found = misbehaviour.asked(request)
        assert found is not None
        assert found.kind == Misbehaviour.SLOW
    assert misbehaviour.asked(request) is None


def test_a_scope_is_seen_by_every_thread_and_may_end_in_any_order() -> None:
    first, second = misbehaving({"kit_reviewer": "slow"}), misbehaving({"kit_writer": "slow"})
    first.__enter__()
    second.__enter__()
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(misbehaviour.asked(_request())))
    thread.start()
    thread.join()
    first.__exit__(None, None, None)
    assert seen[0].kind == Misbehaviour.SLOW
    assert misbehaviour.asked(_request()) is None
    assert misbehaviour.asked(_request(agent="kit_writer")) is not None
    second.__exit__(None, None, None)
    assert misbehaviour.asked(_request(agent="kit_writer")) is None


def test_an_unknown_misbehaviour_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="'lazy' is no misbehaviour"), misbehaving({"writer": "lazy"}):
        pass


@database
def test_a_call_on_record_stays_what_it_was_when_the_misbehaviour_ends() -> None:
    workflow = registry.register(flows.paying())
    runtime = Runtime("kit", "agents")
    try:
        with transaction.atomic():
            run = starts.start("kit_paying", CLAIM, start_key="k", by="test").run
        with misbehaving({"kit_payer": Misbehaviour.WRONG_ARGUMENT}, seed=1):
            advance(run.pk, runtime)
        (question,) = Question.objects.filter(run=run)
        wrong = question.action["arguments"]["amount"]
        assert wrong != 10
        give(question.pk, approve())
        advance(run.pk, runtime)
        assert Run.objects.get(pk=run.pk).state == "done"
        asked = Call.objects.filter(run=run, name="kit_payer").order_by("pk")
        assert [call.send for call in asked] == [1, 1]  # the first was replayed, not sent again
        assert bodies.load(asked[0].response)["tool_calls"][0]["arguments"]["amount"] == wrong  # type: ignore[arg-type]
        assert flows.SPENT[0][1] == wrong
    finally:
        runtime.stop()
        registry.forget(workflow)


def test_an_agent_without_a_rule_is_said_before_any_misbehaviour() -> None:
    with pytest.raises(DataError, match="No rule for the simulated agent 'nobody'"):
        asyncio.run(ask(_request(agent="nobody")))


@database
def test_what_cannot_be_spoilt_is_counted_as_not_spoilt() -> None:
    tried("kit_proposer", Misbehaviour.WRONG_ARGUMENT).expect(state="done", spoilt=0, caught_by=())
    assert tried("kit_proposer", Misbehaviour.GROWING_CONTEXT).spoilt == 1


@database
def test_a_misbehaviour_at_both_levels_of_delegation_is_caught() -> None:
    trial = run_workflow(
        flows.advised(),
        {"amount": 5, "reason": "a pen"},
        agents={
            "kit_asker": [calls("ask_adviser", {"text": "May I?"}), replies({"text": "I may."})],
            "kit_adviser": [replies({"text": "Yes."})],
        },
        misbehave={"kit_adviser": Misbehaviour.INVENTED_TOOL},
    )
    trial.expect(caught_by=("unknown tool", "escalation: error"))


@database
def test_a_retry_budget_ends_a_patient_policy() -> None:
    patient = ErrorPolicy(recoverable=Retry(times=10**6, base_seconds=600.0, then=End()))
    trial = run_workflow(
        flows.paying(errors=patient), CLAIM, misbehave={"kit_proposer": Misbehaviour.UNAVAILABLE}
    )
    trial.expect(state="failed", caught_by=("retry policy", "policy ended it"))
    assert trial.step("propose").attempts == 11  # retry_budget is 10
