"""`check_workflow`: what it says of workflows that are guarded and of some that are not, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from opsconsole import throwaway
from opsconsole.environment import REPOSITORY, Refused
from runs import live, registry
from runs.agents.misbehaviour import Misbehaviour
from runs.definitions import Another, Ask, ErrorPolicy
from runs.errors import DataError
from runs.models import Run
from runs.testing import CannotWork, run_workflow
from runs.testing.amounts import leveled
from runs.testing.checking import Row, check
from tests.kit import flows

database = pytest.mark.django_db(transaction=True)
CLAIM = {"text": "a lamp", "amount": 10}


@pytest.fixture
def paying() -> Iterator[Any]:
    workflow = registry.register(flows.paying())
    yield workflow
    registry.forget(workflow)


def checked(
    workflow: Any, samples: list[dict[str, Any]] | None = None, **more: Any
) -> dict[tuple[str, str], Row]:
    rows = list(check(workflow, samples or list(workflow.samples()), **more))
    return {(row.misbehaviour, row.agent): row for row in rows}


@database
def test_each_misbehaviour_at_each_agent_has_a_row_that_says_what_caught_it() -> None:
    rows = checked(flows.paying())
    assert {
        kind: (row.caught, row.what, row.ended)
        for (kind, agent), row in rows.items()
        if agent == "kit_payer" and kind not in ("growing_context", "plausible_wrong")
    } == {
        "ping_pong": (
            False,
            "REACHED THE WORLD: 1 x purse.spend that the good run does not do; then loop -> escalation: error",
            "ended",
        ),
        "invented_tool": (True, "unknown tool -> escalation: error", "ended"),
        "wrong_argument (breaks its contract)": (
            True,
            "argument contract -> repair -> escalation: error",
            "ended",
        ),
        "wrong_argument (keeps it)": (True, "approval", "done"),
        "broken_output": (True, "contract -> repair -> escalation: contract", "ended"),
        "invented_evidence": (None, "nothing to spoil", "done"),
        "unavailable": (True, "retry policy -> escalation: error", "ended"),
        "rate_limited": (True, "retry policy -> escalation: error", "ended"),
        "slow": (False, "NOT CAUGHT: the late answer was taken", "done"),
        "never_returns": (True, "call time limit -> retry policy -> escalation: error", "ended"),
    }
    assert rows["wrong_argument (keeps it)", "kit_proposer"].what == "nothing to spoil"
    assert rows["growing_context", "kit_proposer"].caught is False
    agreed = rows["agreed_invention", "kit_proposer + kit_payer"]
    assert (agreed.caught, agreed.ended) == (False, "done")
    assert all(row.model_calls for row in rows.values())
    assert flows.SPENT == []  # nothing was performed


@database
def test_what_is_wrong_and_gets_through_is_said_to_have_reached_the_effect_and_the_output() -> None:
    row = checked(flows.paying(), [CLAIM], only=[Misbehaviour.PLAUSIBLE_WRONG], at=["kit_proposer"])
    (only,) = row.values()
    assert only.caught is False
    assert only.what == "NOT CAUGHT: reached 1 x purse.spend and the output"


@database
def test_what_is_caught_only_after_an_action_nobody_approved_is_not_caught() -> None:
    kept = ErrorPolicy(data=Ask())
    late = flows.paying(second={"accept": nothing_like_it, "errors": kept})
    (only,) = checked(late, [CLAIM], only=[Misbehaviour.PLAUSIBLE_WRONG], at=["kit_proposer"]).values()
    assert (only.caught, only.too_late) == (False, True)
    assert only.what == (
        "REACHED THE WORLD: 1 x purse.spend that the good run does not do; then accept check -> escalation: contract"
    )


def nothing_like_it(proposal: flows.Proposal, settled: flows.Settled) -> None:
    if proposal.amount != CLAIM["amount"]:
        raise DataError("this is not what was claimed")


@database
def test_an_action_that_a_person_approved_has_not_slipped_through() -> None:
    large = {"text": "a desk", "amount": 500}
    rows = checked(flows.paying(), [large], only=[Misbehaviour.PING_PONG], at=["kit_payer"])
    (only,) = rows.values()
    assert only.caught is True
    assert (
        only.what
        == "loop -> escalation: error, after 1 x purse.spend that people approved, for the cards look alike"
    )


@database
def test_without_a_good_run_that_ends_done_nothing_is_compared() -> None:
    asks = flows.paying(accept=nothing, errors=ErrorPolicy(data=Ask()))
    with pytest.raises(
        CannotWork, match=r"(?s)No run of kit_paying ends as done with its only input.*\(contract\): no"
    ):
        checked(asks, [CLAIM])


def nothing(claim: flows.Claim, proposal: flows.Proposal) -> None:
    raise DataError("not good enough")


@database
def test_an_agent_that_only_a_run_without_a_good_end_comes_to_is_said_so() -> None:
    def not_large(claim: flows.Claim, proposal: flows.Proposal) -> None:
        if proposal.amount > 100:
            raise DataError("too much")

    spare = ErrorPolicy(data=Another(agent=flows.agent("kit_spare")))
    given = [CLAIM, {"text": "a desk", "amount": 500}]
    rows = checked(
        flows.paying(accept=not_large, errors=spare), given, at=["kit_spare"], only=[Misbehaviour.SLOW]
    )
    assert rows["slow", "kit_spare"].what.startswith(
        "not tried: input 2 comes to it, but its run waits (error):"
    )


@database
def test_amounts_that_are_written_otherwise_are_the_same_amount() -> None:
    assert leveled({"a": "4.00", "b": ["1.50"]}) == leveled({"a": "4.0", "b": ["1.5"]})
    assert leveled("4.01") != leveled("4.0")
    assert leveled("A-4.0") == "A-4.0"


@database
def test_an_accept_check_makes_the_difference() -> None:
    guarded = flows.paying(accept=flows.exactly)
    (only,) = checked(guarded, [CLAIM], only=[Misbehaviour.PLAUSIBLE_WRONG], at=["kit_proposer"]).values()
    assert only.caught is True
    assert only.what.startswith("accept check -> repair")


@database
def test_a_card_on_which_nothing_is_marked_as_wrong_catches_nothing() -> None:
    large = {"text": "a desk", "amount": 500}  # is asked about in the good run too
    (only,) = checked(
        flows.paying(), [large], only=[Misbehaviour.PLAUSIBLE_WRONG], at=["kit_proposer"]
    ).values()
    assert only.what == (
        "NOT CAUGHT: reached 1 x purse.spend and the output; a person was shown it, with nothing marked as wrong"
    )


@database
def test_a_circle_is_caught_by_the_bound_of_its_edge() -> None:
    rows = checked(flows.reviewing(), only=[Misbehaviour.PING_PONG])
    assert rows["ping_pong", "kit_reviewer"].what == "bound of an edge"


@database
def test_an_agent_that_no_sample_comes_to_is_said_so() -> None:
    spare = ErrorPolicy(recoverable=Another(agent=flows.agent("kit_writer")))
    rows = checked(flows.paying(errors=spare), [CLAIM], only=[Misbehaviour.INVENTED_TOOL])
    assert rows["invented_tool", "kit_writer"].what == "not reached by the samples"


@database
def test_the_same_seed_gives_the_same_table() -> None:
    wanted = [Misbehaviour.PLAUSIBLE_WRONG, Misbehaviour.BROKEN_OUTPUT]
    tables = [checked(flows.paying(), [CLAIM], only=wanted, seed=5) for _ in range(2)]
    assert tables[0] == tables[1]


# the command


@database
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nosuch"], r"There is no workflow 'nosuch'\. Known: .* Is OPSCONSOLE_APPS set in this terminal\?"),
        (["kit_paying", "--input", "/no/such.json"], "Cannot read /no/such.json"),
        (["kit_paying", "--agent", "nobody"], "kit_paying has no agent 'nobody'; it has kit_proposer"),
        (["kit_paying", "--seed", "-1"], "--seed is 0 or more"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(paying: Any, arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("check_workflow", *arguments)


@database
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds something that is no JSON object"),
        ('{"text": "x", "amount": "lots"}', r"Input 1 of .*: amount: Input should be a valid integer"),
    ],
)
def test_an_input_that_the_workflow_does_not_take_is_said(
    paying: Any, tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / "input.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=sentence):
        call_command("check_workflow", "kit_paying", "--input", str(file))


@database
def test_a_workflow_without_samples_asks_for_an_input() -> None:
    workflow = registry.register(flows.advised())
    try:
        with pytest.raises(CommandError, match="kit_advised states no samples: give an input with --input"):
            call_command("check_workflow", "kit_advised")
    finally:
        registry.forget(workflow)


@database
@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (
            lambda: [{"text": "x", "amount": float("nan")}],
            "Input 1 of the samples is nothing that JSON can hold",
        ),
        (lambda: Path("/no/such").read_text(), "The samples of kit_odd cannot be had: .*No such file"),
    ],
)
def test_samples_that_are_none_are_one_sentence(samples: Any, sentence: str) -> None:
    workflow = registry.register(replace(flows.paying(), name="kit_odd", samples=samples))
    try:
        with pytest.raises(CommandError, match=sentence):
            call_command("check_workflow", "kit_odd")
    finally:
        registry.forget(workflow)


# the whole command, in a process of its own, on the servers of this session

APP = '''
"""Registers a workflow of the tests, as an app of a stranger would."""
from runs.registry import register
from tests.kit import flows

PAYING = register(flows.paying())
'''


@pytest.fixture
def stranger(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that knows the tests' workflow by OPSCONSOLE_APPS."""
    app = tmp_path / "kit_app"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "workflows.py").write_text(APP)
    return {**os.environ, "OPSCONSOLE_APPS": str(app), "PYTHONPATH": str(REPOSITORY)}


def command(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check_workflow", *arguments],
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )


def databases() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        return {row[0] for row in cursor.fetchall()}


@database
def test_the_command_prints_its_table_and_leaves_nothing_behind(stranger: dict[str, str]) -> None:
    before = databases()
    done = command(stranger, "kit_paying", "--only", "invented_tool", "--only", "plausible_wrong")
    assert done.returncode == 0, done.stderr
    assert "kit_paying v1, 2 inputs." in done.stdout
    assert "Tools that act are not performed, they only answer: purse.spend." in done.stdout
    assert "unknown tool -> escalation: error" in done.stdout
    assert "NOT CAUGHT: reached" in done.stdout
    assert done.stderr == ""
    assert databases() == before
    assert Run.objects.count() == 0


def test_what_can_be_refused_at_once_is_refused_before_servers_are_started(
    stranger: dict[str, str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    alone = {name: value for name, value in stranger.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    done = command({**alone, "DATA_DIR": str(data)}, "nosuch")
    assert done.returncode == 1
    assert "There is no workflow 'nosuch'" in done.stderr
    assert f"OPSCONSOLE_APPS is {stranger['OPSCONSOLE_APPS']}." in done.stderr
    assert not data.exists()


@database
def test_strict_fails_when_something_is_not_caught_and_json_is_one_object(stranger: dict[str, str]) -> None:
    at = ("kit_paying", "--agent", "kit_proposer", "--json", "--strict", "--only")
    caught = command(stranger, *at, "invented_tool")
    assert caught.returncode == 0, caught.stderr
    told = json.loads(caught.stdout)
    assert (told["workflow"], told["not_caught"], len(told["rows"])) == ("kit_paying", 0, 1)
    missed = command(stranger, *at, "growing_context")
    assert missed.returncode == 1
    assert json.loads(missed.stdout)["not_caught"] == 1


@database
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_told_to_end_drops_its_database(stranger: dict[str, str], sign: int) -> None:
    before = databases()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "check_workflow", "kit_paying"],
        cwd=REPOSITORY,
        env=stranger,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # whoever runs the tests may ignore it
    )
    with process:
        assert process.stdout is not None
        while "ping_pong" not in process.stdout.readline():  # the first row: it is well under way
            assert process.poll() is None
        process.send_signal(sign)
        assert process.wait(60) != 0
    process.stdout.close()
    assert databases() == before


@database
def test_what_a_killed_command_left_is_dropped_by_the_next() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = f"{throwaway._PREFIX}{throwaway._machine()}_{dead.pid}"
    other = f"{throwaway._PREFIX}00000000_{dead.pid}"  # of another machine
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {left}")
        cursor.execute(f"CREATE DATABASE {other}")
    try:
        throwaway._drop_left_behind()
        assert left not in databases()
        assert other in databases()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {other}")
            cursor.execute(f"DROP DATABASE IF EXISTS {left}")


@database
def test_an_account_that_may_not_make_databases_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway, "_asked", lambda sql, *values: [(False, "app")])
    with pytest.raises(Refused, match="and app may not: grant it CREATEDB"), throwaway.database():
        pass


@database
def test_no_worker_hears_of_the_runs() -> None:
    client = redis.Redis.from_url(settings.REDIS_URL)
    live.wake(1)  # what a hint does
    assert live.flush(10)
    hints = client.llen("agents")
    assert hints
    run_workflow(flows.paying(), CLAIM)
    assert live.flush(10)
    assert client.llen("agents") == hints
    client.close()
