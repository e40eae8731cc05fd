"""What each team, workflow, agent and model spent, as plots: to the unit what calls used, however many there are."""

from __future__ import annotations

import copy
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from escalations.budgets import accounts, pace, part
from escalations.budgets.periods import PERIODS, begins_of
from escalations.budgets.plot import plot
from runs.engine.spend import burn
from runs.limits.kinds import LimitKind, Window
from runs.models import Account, BurnMark, Call, Run, Team
from tests import factories
from tests.budgets.parked import limited, ran
from tests.screens.reading import Page, read

pytestmark = pytest.mark.django_db(transaction=True)
BACK = timedelta(days=2)  # longer ago nothing was called here
LONG = "reviewer of everything that anybody ever wrote about invoices of the third kind "


@pytest.fixture
def ines() -> User:
    return factories.person("ines", "admin", full_name="Ines Okafor")


def seen(person: User, path: str) -> Page:
    client = Client()
    client.force_login(person)
    return read(client.get(path))


def calls_of(names: int, calls: int, *, seed: int = 1, workflow: str = "paying") -> None:
    """So many model calls of two days, by so many agents, as the engine records them: each of another price."""
    drawn = random.Random(seed)
    run = ran(workflow)
    made = Call.objects.filter(run=run, kind="model")[0]
    now = timezone.now()
    lasted = min(now - begins_of(Window.MONTH, now), BACK).total_seconds()
    runs = [run, another(run, Team.objects.create(name=f"Night shift {seed}"), f"at night {seed}")]
    found = []
    for number in range(calls):
        call = copy.copy(made)
        call.pk, call.key, call.run = None, f"k{seed}/{number}", runs[number % 2]
        call.name = f"{LONG}{drawn.randrange(names):03}"[-80:]
        call.model = f"simulated/{drawn.randrange(3)}"
        call.tokens_in, call.tokens_out = drawn.randrange(9_000), drawn.randrange(2_000)
        call.cost_micros = drawn.randrange(1, 999_999)
        call.permitted_at = now - timedelta(seconds=lasted * drawn.random() ** 3)
        found.append(call)
    Call.objects.bulk_create(found)
    added_up()


def another(run: Run, team: Team, workflow: str) -> Run:
    made = copy.copy(run)
    made.pk, made.team, made.workflow, made.start_key = None, team, workflow, f"{run.start_key}/2"
    made.save(force_insert=True)
    return made


def added_up() -> None:
    """From before the first call until now, in as many turns as it takes."""
    now = timezone.now()
    begin = (now - BACK - timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
    BurnMark.objects.update_or_create(pk=1, defaults={"until": begin, "looked_at": begin})
    for _ in range(200):
        burn.roll_up()
        if BurnMark.objects.get().until > now:
            return
    raise AssertionError("it never came to an end")


def used(per: Window, by: str, at: datetime) -> dict[str, Counter[str]]:
    """By name, straight from the calls."""
    column = {"team": "run__team__name", "workflow": "run__workflow", "agent": "name", "model": "model"}[by]
    rows = Call.objects.filter(kind="model", run__recorded=False, permitted_at__gte=begins_of(per, at))
    found: dict[str, Counter[str]] = {}
    for name, cost, into, out in rows.values_list(column, "cost_micros", "tokens_in", "tokens_out"):
        found.setdefault(name, Counter()).update(money=cost or 0, tokens=(into or 0) + (out or 0), calls=1)
    return found


def plots(per: Window, by: str, of: str, at: datetime, first: int = 0) -> part.Parts:
    return part.spent_by(by, of, per, first, accounts.present("", "", {}, at), at)


def sums(one: part.Part) -> Counter[str]:
    return Counter(money=one.cost, tokens=one.tokens, calls=one.calls)


@pytest.mark.parametrize("per", PERIODS.values())
def test_the_plots_of_every_part_are_together_what_the_calls_used_to_the_unit(per: Window) -> None:
    calls_of(names=37, calls=600)
    at = timezone.now()
    for by in part.BY:
        by_name = used(per, by, at)
        for of in part.OF:
            for first in range(0, len(by_name), 10):
                found = plots(per, by, of, at, first)
                assert sum((sums(one) for one in found.parts), Counter()) == sum(by_name.values(), Counter())
                named = [one for one in found.parts if not one.others]
                assert {one.name: sums(one) for one in named} == {
                    one.name: by_name[one.name] for one in named
                }
                assert len(named) == min(10, len(by_name) - first)
                assert found.names == len(by_name)
                assert sum(one.others or 1 for one in found.parts) == len(by_name)
                drawn = {
                    one.name: int("".join(filter(str.isdigit, one.plot.points[-1].total))) for one in named
                }
                if of == "tokens":
                    assert drawn == {one.name: one.tokens for one in named}


def test_the_most_come_first_and_every_name_has_its_plot_on_one_page() -> None:
    calls_of(names=23, calls=300)
    at = timezone.now()
    pages = [plots(Window.MONTH, "agent", "money", at, first) for first in (0, 10, 20)]
    named = [one for page in pages for one in page.parts if not one.others]
    assert [one.cost for one in named] == sorted((one.cost for one in named), reverse=True)
    assert len({one.name for one in named}) == 23 + 1  # and the one of the run itself
    assert plots(Window.MONTH, "agent", "money", at, 4_000).first == 0


def test_what_failed_and_cost_something_counts_and_what_was_recorded_elsewhere_does_not() -> None:
    run, other = ran(), ran()
    Call.objects.filter(run=run, kind="model").update(
        state="failed", cost_micros=7, tokens_in=2, tokens_out=3
    )
    Run.objects.filter(pk=other.pk).update(recorded=True)
    added_up()
    found = plots(Window.DAY, "agent", "money", timezone.now())
    count = Call.objects.filter(run=run, kind="model").count()
    assert sum((sums(one) for one in found.parts), Counter()) == Counter(
        money=7 * count, tokens=5 * count, calls=count
    )


def test_a_limit_draws_its_cap_and_the_plot_says_the_moment_that_the_table_says(ines: User) -> None:
    limited(ines, "cost/month", "1", "agent:payer")
    limited(ines, "tokens/month", "9M", "agent:payer")
    ran()
    Call.objects.filter(Q(kind="model")).update(cost_micros=450_000)
    Account.objects.filter(kind="cost").update(spent=900_000)
    added_up()
    at = timezone.now()
    (one,) = plots(Window.MONTH, "agent", "money", at).parts
    number = Account.objects.get(kind="cost", scope="payer").pk
    assert one.budget.account == number
    assert one.plot.cap is not None
    assert one.budget.breach == accounts.present("", "", {}, at).known[number].breach
    assert one.budget.breach is not None
    page = seen(ines, "/budgets/?by=agent&of=money")
    assert page.text.count("at the present pace") >= 1
    assert f"/budgets/{number}#budget" in page.links()
    (tokens,) = plots(Window.MONTH, "agent", "tokens", at).parts
    assert tokens.budget.cap == 9_000_000
    (free,) = plots(Window.MONTH, "model", "money", at).parts
    assert (free.plot.cap, free.budget.cap) == (None, None)


def test_a_limit_that_was_set_since_the_last_call_stands_as_it_will_when_the_next_one_asks(
    ines: User,
) -> None:
    ran()
    Call.objects.filter(kind="model").update(cost_micros=1_000_000)
    added_up()
    limited(ines, "cost/month", "1", "agent:payer")
    limited(ines, "cost/day", "3", "workflow:paying")
    at = timezone.now()
    (one,) = plots(Window.MONTH, "agent", "money", at).parts
    assert (one.budget.account, one.budget.up, one.plot.fore) == (None, True, "")
    assert "Used up" in seen(ines, "/budgets/?by=agent").text
    (other,) = plots(Window.DAY, "workflow", "money", at).parts
    assert (other.budget.breach is not None) == (other.expected is not None and other.expected > 3_000_000)


def test_without_a_limit_it_says_what_it_will_be_by_the_end(ines: User) -> None:
    ran()
    Call.objects.filter(kind="model").update(cost_micros=1_000_000)
    added_up()
    at = timezone.now()
    (one,) = plots(Window.MONTH, "team", "money", at).parts
    ends = (at.astimezone(UTC).replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    days = (ends - at) / timedelta(days=1)
    assert one.expected is not None
    assert abs(one.expected - (one.cost + int(one.cost * days))) <= 1
    page = seen(ines, "/budgets/?by=team")
    assert "by the end of the month at the present pace" in page.text
    assert "No limit of its own" in page.text
    (leads,) = [one for one in page.links() if one.startswith("/limits/new?what=cost/month")]
    client = Client()
    client.force_login(ines)
    answer = client.get(leads.partition("#")[0])
    assert read(answer).forms["/limits/set"]["scope"] == "Testers"
    modes = [given for tag, given in read(answer).tags if tag == "input" and given.get("name") == "mode"]
    assert [one["value"] for one in modes if "checked" in one] == ["observe"]
    chosen = [
        tag for tag in answer.content.decode().split("<option")[1:] if " selected" in tag.partition(">")[0]
    ]
    assert any('value="cost/month"' in tag for tag in chosen)
    assert any("team" in tag for tag in chosen)


def test_each_choice_is_a_link_and_what_is_no_choice_is_not_taken(ines: User) -> None:
    calls_of(names=2, calls=20)
    links = seen(ines, "/budgets/?per=day&by=agent&of=tokens").links()
    for by in part.BY:
        assert f"/budgets/?per=day&by={by}&of=tokens#budget-spend" in links
    for of in part.OF:
        assert f"/budgets/?per=day&by=agent&of={of}#budget-spend" in links
    for per in PERIODS:
        assert f"/budgets/?per={per}&by=agent&of=tokens#budget-spend" in links
    assert "By agent" in seen(ines, "/budgets/?by=cost);--&of=x&from=-1").text
    assert "simulated/1" in seen(ines, "/budgets/?by=model&of=x&from=99999999999999999999").text


def test_with_nothing_spent_and_with_a_single_call_it_says_so(ines: User) -> None:
    assert "Nothing was spent this hour." in seen(ines, "/budgets/?per=hour&by=agent").text
    calls_of(names=1, calls=1)
    page = seen(ines, "/budgets/?by=agent")
    assert "2 agents" in page.text
    assert "other" not in [one for one in page.text.split() if one == "others"]


def test_two_hundred_agents_with_long_names_are_ten_plots_and_the_others(ines: User) -> None:
    limited(ines, "cost/month", "1000")
    calls_of(names=200, calls=900)
    client = Client()
    client.force_login(ines)
    for path in (
        "/budgets/?by=agent",
        "/budgets/?by=agent&of=tokens&from=190",
        "/budgets/spend?by=agent&per=day",
    ):
        client.get(path)
        with CaptureQueriesContext(connection) as asked:
            page = read(client.get(path))
        assert len(asked) <= 12, "\n".join(one["sql"][:70] for one in asked.captured_queries)
        assert page.text.count("The same as a table") <= 12 + 1
    whole = len(used(Window.MONTH, "agent", timezone.now()))
    page = seen(ines, "/budgets/?by=agent")
    assert f"{whole - 10} others" in page.text
    assert "/budgets/?per=month&by=agent&of=money&from=10#budget-spend" in page.links()
    name = plots(Window.MONTH, "agent", "money", timezone.now()).parts[0].name
    assert len(name) == 80
    assert name in page.text


def test_a_name_is_never_markup(ines: User) -> None:
    ran()
    Call.objects.filter(kind="model").update(name="<script>x", model="")
    added_up()
    client = Client()
    client.force_login(ines)
    body = client.get("/budgets/?by=agent").content.decode()
    assert "<script>x" not in body
    assert "&lt;script&gt;x" in body
    assert "without a name" in read(client.get("/budgets/?by=model")).text


def test_a_forecast_without_a_cap_goes_to_the_end_and_with_a_breach_to_the_cap() -> None:
    begins = datetime(2026, 3, 1, tzinfo=UTC)
    now, ends = begins + timedelta(hours=12), begins + timedelta(days=1)
    given: dict[str, Any] = {
        "begins": begins,
        "ends": ends,
        "now": now,
        "used": [(begins, 100)],
        "span": timedelta(hours=1),
        "total": 100,
        "words": str,
        "wide": 216,
        "high": 144,
    }
    free = plot(cap=None, breach=None, expected=200, **given)
    assert free.fore.split()[0] == "108,74.8"
    assert free.fore.split()[1].startswith("208,")
    breached = plot(cap=150, breach=begins + timedelta(hours=18), expected=200, **given)
    x, y = map(float, breached.fore.split()[1].split(","))
    assert (x, y) == (158.0, breached.cap)
    assert plot(cap=None, breach=None, expected=100, **given).fore == ""
    assert pace.by_the_end(Window.DAY, 100, 10, now, ends) == 100 + 120
    assert LimitKind.COST is part.OF["money"]
