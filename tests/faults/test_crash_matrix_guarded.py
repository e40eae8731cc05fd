"""The crash matrix with limits in force: whatever is hurt where, accounts say what the calls used, and nothing stays
reserved but what nobody knows. And with two steps of a run side by side, both of which its process takes with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Count

from runs.models import Account, Call, Limit
from tests.faults import counts, workflows
from tests.faults.broker import Broker
from tests.faults.cases import BESIDE, Case, guarded
from tests.faults.fleet import Nursery
from tests.faults.matrix import misbooked
from tests.faults.test_crash_matrix import Verdicts, stormed, tell

pytestmark = pytest.mark.django_db
# Kind/window and value: far more than the storm uses. What is refused is tested elsewhere.
LIMITS = {
    "tokens/run": 10**7,
    "cost/run": 10**9,
    "turns/run": 1000,
    "tool_calls/run": 1000,
    "tokens/day": 10**9,
    "cost/month": 10**11,
    "requests/minute": 10**6,
    "concurrency/": 10**4,
}
_FEW = [
    Case(point="after_permit", fault="kill", first=True),
    Case(point="after_permit", fault="freeze", first=True),
    Case(point="after_permit", fault="reset"),
    Case(point="before_permit", fault="kill"),
    Case(point="after_effect_before_record", fault="freeze", tool="repeatable"),
    Case(point="mid_settle", fault="reset"),
    Case(point="unread_permit", fault="reset", first=True),
    Case(point="unread_record", fault="reset", first=True),
    Case(point="unread_record", fault="reset"),
    Case(point="mid_heartbeat", fault="kill", tool=BESIDE),
    Case(point="after_effect_before_record", fault="kill", tool=BESIDE),
]
CASES = guarded() if counts.soaking() else _FEW


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest,
    _nursery: Nursery,
    _broker: Broker,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Verdicts]:
    """What was wrong with each case that is wanted, with the whole record and with the accounts."""
    items = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    wanted = {item.callspec.params["case"] for item in items if hasattr(item, "callspec")}
    some = [case for case in CASES if case in wanted] * counts.of(fast=1, soak=2, name="guarded")
    with django_db_blocker.unblock():
        for what, value in LIMITS.items():
            kind, _, window = what.partition("/")
            Limit.objects.create(
                kind=kind,
                window=window,
                scope_kind="organisation",
                scope="",
                value=value,
                mode="enforce",
                valid_from="2026-01-01T00:00:00+00:00",
                set_by="Ines",
            )
        found = stormed(some, _nursery, _broker, tmp_path_factory.mktemp("matrix"))
        tell("crash matrix with limits in force", found, len(some))
        yield found
        call_command("flush", verbosity=0, interactive=False, reset_sequences=False)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_under_limits_a_run_ends_right_when_its_process_is(case: Case, verdicts: Verdicts) -> None:
    assert not verdicts[str(case)], "\n".join(verdicts[str(case)])


def test_after_all_of_it_record_and_accounts_are_right(verdicts: Verdicts) -> None:
    assert not verdicts[""], "\n".join(verdicts[""])


def test_every_kind_of_limit_was_reserved_or_booked_and_the_audit_sees_a_wrong_account(
    verdicts: Verdicts,
) -> None:
    """Else nothing above would say anything."""
    assert {f"{one.kind}/{one.window}" for one in Account.objects.all()} == set(LIMITS)
    unknown = Call.objects.filter(state="permitted", kind="model", reserved__isnull=False)
    assert unknown.filter(run__workflow=workflows.SEND.name).exists()
    at_once = (
        unknown.filter(run__workflow=workflows.CREW.name).values("run", "fence").annotate(calls=Count("pk"))
    )
    assert at_once.filter(calls=2).exists()
    account = Account.objects.filter(kind="cost", window="month").get()
    Account.objects.filter(pk=account.pk).update(spent=account.spent + 1)
    assert len(list(misbooked())) == 1
