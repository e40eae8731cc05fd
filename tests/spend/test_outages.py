"""A provider that is away, through the engine: its breaker opens by itself, nobody asks meanwhile, no run is lost, and
where the definition names other models they go on, inside the run's retries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from runs.agents import simulated
from runs.agents.door import ModelReply, ModelRequest
from runs.agents.misbehaviour import Misbehaviour, misbehaving
from runs.definitions import Ask, Fallback, Retry
from runs.engine import breakers
from runs.engine.worker.runtime import Runtime
from runs.models import Breaker, BreakerChange, Call, Question, Run, Wait
from tests.runs import flows
from tests.runs.conftest import advanced, answered, question_of, start
from tests.spend.conftest import limit
from tests.spend.outages import FIRST, asked, passes, woken, writing

pytestmark = pytest.mark.django_db(transaction=True)
RUNS, THRESHOLD = 8, 5  # the threshold is the setting's own
SPARES = ("simulated/spare-1", "simulated/spare-2")


class Provider:
    """Back again: it answers when it is let."""

    def __init__(self) -> None:
        self.asked, self.may = threading.Event(), threading.Event()

    def answer(self, request: ModelRequest) -> ModelReply:
        self.asked.set()
        assert self.may.wait(60), "nobody let it answer"
        return flows.write(request)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    one = Provider()
    monkeypatch.setitem(simulated._rules, "writer", one.answer)
    yield one
    one.may.set()


@pytest.fixture
def falling_back() -> Iterator[str]:
    with writing(Fallback(models=SPARES, then=Ask())) as name:
        yield name


def held(*models: str, to: str = "open") -> None:
    for model in models:
        breakers.force("model", model, to, by="Ines", why="provider down")


def test_an_outage_opens_the_breaker_by_itself_and_every_run_it_blocks_is_done_after_one_good_probe(
    runtime: Runtime, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.engine.settle.random.random", lambda: 1.0)  # back-off: as long as it may be
    with writing(Retry(times=2, base_seconds=20.0, cap_seconds=20.0)) as name:
        runs = [start(name, text=f"order {n}") for n in range(RUNS)]
        with misbehaving({FIRST: Misbehaviour.UNAVAILABLE}):
            _looked_at(runs, runtime)
            passes(21)  # the back-off is over, the breaker's time is not
            _looked_at(runs, runtime)
        assert [run.state for run in Run.objects.all()] == ["sleeping"] * RUNS
        assert set(Wait.objects.values_list("run_id", "guard")) == {(run.pk, "breaker") for run in runs}
        assert len(asked(*runs)) == THRESHOLD  # nobody has asked since it opened

        passes(31)
        _probed_by(runs[0], provider, runtime, meanwhile=lambda: _looked_at(runs[1:], runtime))
        assert {advanced(run, runtime).state for run in runs} == {"done"}
    assert sorted(run.retries for run in Run.objects.all()) == [0] * (RUNS - THRESHOLD) + [1] * THRESHOLD
    assert len(asked(*runs)) == THRESHOLD + RUNS
    changes = BreakerChange.objects.filter(breaker__kind="model").order_by("pk")
    assert list(changes.values_list("state", "why")) == [
        ("open", f"{THRESHOLD} failures in a row (limit {THRESHOLD})"),
        ("closed", "its probe went well"),
    ]
    assert not Wait.objects.exists()
    assert not Question.objects.exists()


def _looked_at(runs: list[Run], runtime: Runtime) -> None:
    for run in runs:
        assert advanced(run, runtime, times=1).state == "sleeping"


def _probed_by(run: Run, provider: Provider, runtime: Runtime, *, meanwhile: Callable[[], None]) -> None:
    """One run asks; the others look while it has no answer yet, and nobody else may ask."""

    def work() -> None:
        advanced(run, runtime, times=1)
        connection.close()

    before = Call.objects.count()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert provider.asked.wait(60), "the probe was never sent"
    assert set(Breaker.objects.values_list("state", flat=True)) == {"half_open"}
    meanwhile()
    assert Call.objects.count() == before + 1
    provider.may.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_model_whose_breaker_opened_by_itself_is_gone_round_by_a_fallback_for_one_retry(
    runtime: Runtime, falling_back: str
) -> None:
    with misbehaving({FIRST: Misbehaviour.UNAVAILABLE}):
        runs = [advanced(start(falling_back, text=f"{n}"), runtime) for n in range(THRESHOLD)]
        assert Breaker.objects.get().why == f"{THRESHOLD} failures in a row (limit {THRESHOLD})"
        last = _onward(start(falling_back, text="last"), runtime)
    assert {run.state for run in (*runs, last)} == {"done"}
    assert asked(*runs) == [FIRST, SPARES[0]] * THRESHOLD
    assert asked(last) == [SPARES[0]]  # the first was not even tried
    assert [run.retries for run in (*runs, last)] == [1] * (THRESHOLD + 1)
    (said,) = last.events.filter(kind="guard").values_list("data", flat=True)
    assert said["guard"] == "breaker"
    assert said["says"].endswith(f"Another model goes on: model:{SPARES[0]}.")
    assert list(last.steps.get().attempts.order_by("number").values_list("state", "by")) == [
        ("failed", ""),
        ("done", f"model:{SPARES[0]}"),
    ]


def _onward(run: Run, runtime: Runtime) -> Run:
    """The run after two looks: at the first it is found out that the model is closed to it."""
    woken(run, runtime)
    return woken(run, runtime)


def test_many_that_fail_at_once_go_on_by_the_fallback_and_their_agent_is_not_blamed_for_the_provider(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.engine.settle.random.random", lambda: 1.0)
    policy = Retry(times=1, base_seconds=20.0, cap_seconds=20.0, then=Fallback(models=SPARES, then=Ask()))
    with writing(policy) as name, misbehaving({FIRST: Misbehaviour.UNAVAILABLE}):
        runs = [start(name, text=f"order {n}") for n in range(RUNS)]
        _looked_at(runs, runtime)
        assert list(Breaker.objects.values_list("kind", "state")) == [("model", "open")]
        assert {_onward(run, runtime).state for run in runs} == {"done"}
    assert asked(*runs) == [FIRST] * THRESHOLD + [SPARES[0]] * RUNS


def test_a_fallback_whose_breaker_is_open_too_is_passed_over(runtime: Runtime, falling_back: str) -> None:
    held(FIRST, SPARES[0])
    run = _onward(start(falling_back), runtime)
    assert (run.state, asked(run), run.retries) == ("done", [SPARES[1]], 1)


def test_when_all_are_open_it_waits_for_nothing_and_goes_on_once_one_is_not(
    runtime: Runtime, falling_back: str
) -> None:
    held(FIRST, *SPARES)
    run = _onward(start(falling_back), runtime)
    run = woken(run, runtime)
    assert (run.state, asked(run), run.retries) == ("sleeping", [], 0)
    assert Wait.objects.get(run=run).says.startswith(f"The breaker of model {FIRST} was opened by a person")
    held(SPARES[1], to="")
    woken(run, runtime)
    run = woken(run, runtime)
    assert (run.state, asked(run), run.retries) == ("done", [SPARES[1]], 1)
    assert not Wait.objects.exists()


def test_a_run_without_retries_waits_for_its_own_model_and_takes_no_fallback(runtime: Runtime) -> None:
    held(FIRST)
    with writing(Fallback(models=SPARES), retry_budget=0) as name:
        run = _onward(start(name), runtime)
        assert (run.state, asked(run), run.retries) == ("sleeping", [], 0)
        held(FIRST, to="")
        run = advanced(run, runtime)
    assert (run.state, asked(run), run.retries) == ("done", [FIRST], 0)


def test_people_who_allow_a_run_no_retries_allow_it_no_fallback_either(
    runtime: Runtime, falling_back: str
) -> None:
    limit("retries/run", 0)
    held(FIRST)
    run = _onward(start(falling_back), runtime)
    assert (run.state, asked(run), run.retries) == ("sleeping", [], 0)


def test_a_wait_that_would_outlast_the_time_that_people_give_a_run_is_a_persons(runtime: Runtime) -> None:
    limit("wall_time/run", 30_000)
    held(FIRST)
    with writing(Retry(times=2)) as name:
        run = advanced(start(name), runtime)
    assert question_of(run).reason == "write would have to wait for it beyond the run's deadline"
    assert not Wait.objects.exists()


def test_a_wait_that_would_outlast_the_runs_deadline_is_a_persons(runtime: Runtime) -> None:
    held(FIRST)
    with writing(Retry(times=2), deadline_seconds=30.0) as name:
        run = advanced(start(name), runtime)
        question = question_of(run)
        assert (run.state, question.kind, asked(run)) == ("waiting", "error", [])
        assert question.title == f"write: The breaker of model {FIRST} was opened by a person"
        assert question.reason == "write would have to wait for it beyond the run's deadline"
        assert not Wait.objects.exists()
        held(FIRST, to="")
        answered(run, "approve")
        run = advanced(run, runtime)
    assert (run.state, asked(run)) == ("done", [FIRST])
