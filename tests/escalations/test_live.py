"""The live socket, through the real entry, channel layer and session: what it tells, replays, and when it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from autobahn.exception import Disconnected
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import transaction
from django.test import Client

from escalations import controls, decisions, live, moved, pulse
from escalations.audit.record import Subject, append
from escalations.consumers import LiveConsumer
from escalations.sessions import Seat
from opsconsole.asgi import application
from runs import live as hints
from runs.live import SCREENS
from runs.models import Run
from tests import factories, patience
from tests.factories import approval, shown

pytestmark = pytest.mark.django_db(transaction=True)

aside: Callable[..., Any] = database_sync_to_async


class Socket(WebsocketCommunicator):  # type: ignore[misc]  # channels has no types
    """A browser's socket. Unlike channels' own it lets the consumer's threads give their connections back."""

    send_input: Callable[..., Any] = ApplicationCommunicator.send_input
    receive_output: Callable[..., Any] = ApplicationCommunicator.receive_output
    hello: dict[str, Any]


def cookie_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return str(client.cookies[settings.SESSION_COOKIE_NAME].value)


def socket(cookie: str = "", query: str = "", origin: str = "http://localhost") -> Socket:
    headers = [(b"origin", origin.encode()), (b"host", b"localhost")]
    if cookie:
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie}".encode()))
    return Socket(application, f"/ws/live{query}", headers=headers)


@asynccontextmanager
async def opened(user: User, query: str = "") -> AsyncIterator[Socket]:
    """An open socket that has said hello."""
    communicator = socket(await aside(cookie_of)(user), query)
    connected, _ = await communicator.connect(timeout=patience.SECONDS)
    assert connected
    hello = await communicator.receive_json_from(timeout=patience.SECONDS)
    assert hello["type"] == "hello"
    communicator.hello = hello
    try:
        yield communicator
    finally:
        await communicator.disconnect(timeout=patience.SECONDS)


async def next_of(communicator: Socket, kind: str, seconds: float = patience.SECONDS) -> dict[str, Any]:
    """The next message of that kind; others may come between."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        message: dict[str, Any] = await communicator.receive_json_from(timeout=left)
        if message["type"] == kind:
            return message
    raise AssertionError(f"no {kind} within {seconds} s")


async def next_entry(communicator: Socket) -> dict[str, Any]:
    """The next entry that is newer than hello said; announcements of older ones may be late."""
    while True:
        message = await next_of(communicator, "journal")
        if message["seq"] > communicator.hello["seq"]:
            return message


async def applied(communicator: Socket, last: int, until: int) -> list[int]:
    """What a page applies: only the very next number, everything else it has or asks for."""
    numbers: list[int] = []
    while last < until:
        message = await next_of(communicator, "journal")
        if message["seq"] == last + 1:
            last += 1
            numbers.append(last)
    return numbers


async def closed_with(communicator: Socket, seconds: float = patience.SECONDS) -> int:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        event = await communicator.receive_output(timeout=left)
        if event["type"] == "websocket.close":
            return int(event["code"])
    raise AssertionError("the socket stayed open")


def entries(count: int) -> None:
    for number in range(count):
        with transaction.atomic():
            append(actor=None, act="test", subject=Subject(target=f"thing {number}"))


async def test_nobody_listens_without_signing_in() -> None:
    for cookie in ("", "no-such-session"):
        communicator = socket(cookie)
        assert (await communicator.connect(timeout=patience.SECONDS))[0]
        assert await closed_with(communicator) == 4401


async def test_somebody_without_a_role_is_told_nothing(outsider: User) -> None:
    communicator = socket(await aside(cookie_of)(outsider))
    assert (await communicator.connect(timeout=patience.SECONDS))[0]
    assert await closed_with(communicator) == 4401


async def test_a_page_of_another_site_cannot_open_the_socket(operator: User) -> None:
    communicator = socket(await aside(cookie_of)(operator), origin="http://evil.invalid")
    connected, _ = await communicator.connect(timeout=patience.SECONDS)
    assert not connected


async def test_hello_says_where_the_journal_stands(auditor: User) -> None:
    await aside(entries)(3)
    async with opened(auditor) as communicator:
        assert communicator.hello["seq"] == 3


@pytest.fixture
def _only_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself: what comes, comes by a hint."""
    monkeypatch.setattr(pulse, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 3600.0)


@pytest.mark.usefixtures("_only_hints")
async def test_an_act_is_told_to_every_page_without_being_looked_for(operator: User, auditor: User) -> None:
    escalation = await aside(approval)()
    async with opened(operator) as mine, opened(auditor) as theirs:
        await aside(decisions.reject)(actor=operator, **await aside(shown)(escalation), reason="no")
        for communicator in (mine, theirs):
            message = await next_entry(communicator)
            assert message["act"] == "reject"
            assert (message["who"], message["target"]) == ("Marta Oliveira", escalation.name)
            assert (message["run"], message["escalation"]) == (escalation.run_id, escalation.pk)


async def test_a_socket_that_closes_while_it_is_told_something_is_left_quietly(operator: User) -> None:
    """Between a close and the word of it, a server raises at whatever is still sent."""
    key = await aside(cookie_of)(operator)
    scope = {"type": "websocket", "user": operator, "session": SessionStore(key), "query_string": b""}
    told: list[str] = []
    heard: Iterator[dict[str, Any]] = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}]
    )

    async def receive() -> dict[str, Any]:
        return next(heard)

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            told.append(message["text"])
            raise Disconnected("Attempt to send on a closed protocol")

    await LiveConsumer()(scope, receive, send)
    assert [json.loads(text)["type"] for text in told] == ["hello"]
    assert pulse.here()._members == set()


async def test_a_new_escalation_and_a_stop_arrive_without_being_asked_for(operator: User) -> None:
    async with opened(operator) as communicator:
        await aside(approval)()
        assert (await next_entry(communicator))["act"] == "escalation opened"
        await aside(controls.engage)(actor=operator, kind="stop", scope_kind="everything")
        assert (await next_entry(communicator))["act"] == "engage stop"


async def test_what_was_rolled_back_is_not_announced(operator: User) -> None:
    def undone() -> None:
        with transaction.atomic():
            append(actor=None, act="undone", subject=Subject(target="x"))
            transaction.set_rollback(True)

    async with opened(operator) as communicator:
        await aside(undone)()
        await aside(entries)(1)
        message = await next_entry(communicator)
        assert (message["act"], message["seq"]) == ("test", 1)


async def test_a_page_of_a_run_hears_of_that_run_and_every_page_that_some_run_changed(operator: User) -> None:
    run = await aside(factories.started)()
    async with opened(operator, f"?run={run.pk}") as its_page, opened(operator, "?run=abc") as other:
        await aside(factories.advanced)(run)
        assert (await next_of(its_page, "run"))["run"] == run.pk
        await next_of(other, "runs")


async def test_what_was_missed_is_replayed_from_the_last_number_in_order(operator: User) -> None:
    async with opened(operator) as communicator:
        await aside(entries)(2)
        last = (await next_entry(communicator))["seq"]
    await aside(entries)(5)
    async with opened(operator) as communicator:
        assert communicator.hello["seq"] == 7
        await communicator.send_json_to({"after": last})
        assert await applied(communicator, last, 7) == list(range(last + 1, 8))


async def test_too_much_to_replay_is_a_reload(operator: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "REPLAY_LIMIT", 4)
    await aside(entries)(5)
    async with opened(operator) as communicator:
        await communicator.send_json_to({"after": 0})
        await next_of(communicator, "reload")
        await communicator.send_json_to({"after": 1})
        assert await applied(communicator, 1, 5) == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "text",
    ["", "no json", "[]", "[" * 50_000, '{"after":-1}', '{"after":"1"}', '{"after":true}', '{"after":1e3}', "{}",
     '{"after":9999999999999999999999}'],
)  # fmt: skip
async def test_nonsense_from_the_page_closes_the_socket(operator: User, text: str) -> None:
    communicator = socket(await aside(cookie_of)(operator))
    await communicator.connect(timeout=patience.SECONDS)
    await communicator.send_input({"type": "websocket.receive", "text": text})
    assert await closed_with(communicator) == 4400


async def test_bytes_from_the_page_close_the_socket(operator: User) -> None:
    communicator = socket(await aside(cookie_of)(operator))
    await communicator.connect(timeout=patience.SECONDS)
    await communicator.send_to(bytes_data=b"\x00\xff")
    assert await closed_with(communicator) == 4400


async def test_the_beat_says_where_the_journal_stands(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.2)
    async with opened(operator) as communicator:
        assert (await next_of(communicator, "beat"))["seq"] == 0
        await aside(entries)(2)
        await next_of(communicator, "beat")
        assert (await next_of(communicator, "beat"))["seq"] == 2


async def test_one_beat_asks_the_database_as_often_for_fifty_sockets_as_for_one(
    operator: User, django_assert_num_queries: Any
) -> None:
    seats = [Seat(session_key=await aside(cookie_of)(operator), user_id=operator.pk) for _ in range(50)]

    def read() -> pulse.Reading:
        with django_assert_num_queries(4):
            return pulse._read(frozenset(seats))

    assert set((await aside(read)()).valid) == set(seats)


def _sign_out(user: User, cookie: str) -> None:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = cookie
    client.session.flush()


def _deactivate(user: User, cookie: str) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def _change_password(user: User, cookie: str) -> None:
    user.set_password("another")
    user.save()


def _take_roles_away(user: User, cookie: str) -> None:
    user.groups.clear()


@pytest.mark.parametrize("how", [_sign_out, _deactivate, _change_password, _take_roles_away])
async def test_a_socket_ends_with_the_next_beat_after_its_session(
    operator: User, colleague: User, monkeypatch: pytest.MonkeyPatch, how: Callable[[User, str], None]
) -> None:
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.2)
    cookie = await aside(cookie_of)(operator)
    communicator = socket(cookie)
    assert (await communicator.connect(timeout=patience.SECONDS))[0]
    async with opened(colleague) as other:
        await next_of(communicator, "beat")
        await aside(how)(operator, cookie)
        assert await closed_with(communicator) == 4401
        await communicator.disconnect(timeout=patience.SECONDS)
        await next_of(other, "beat")


def test_sessions_are_looked_at_at_least_every_fifteen_seconds() -> None:
    assert pulse.BEAT_SECONDS <= 15


async def test_a_socket_that_was_idle_for_more_than_twelve_seconds_still_hears(operator: User) -> None:
    """The channel layer's client would end an idle subscription after five seconds if it were not told otherwise."""
    async with opened(operator) as communicator:
        beat = await next_of(communicator, "beat")
        assert beat["seq"] == 0
        await asyncio.sleep(3)
        await aside(entries)(1)
        assert (await next_of(communicator, "journal"))["seq"] == 1


def _silently(run: Run) -> None:
    with hints.silent():
        factories.advanced(run)


async def test_pages_follow_runs_whose_hints_were_lost(operator: User) -> None:
    run = await aside(factories.started)()
    await aside(hints.flush)()
    async with opened(operator, f"?run={run.pk}") as its_page, opened(operator) as a_list:
        await aside(_silently)(run)
        assert (await next_of(its_page, "run"))["run"] == run.pk
        await next_of(a_list, "runs")


async def test_what_was_said_is_not_said_again_by_looking(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed: list[moved.Missed] = []
    compare, looked = moved.Heard.compare, asyncio.Event()

    def compared(heard: moved.Heard, found: moved.Found) -> moved.Missed:
        missed.append(compare(heard, found))
        looked.set()
        return missed[-1]

    monkeypatch.setattr(moved.Heard, "compare", compared)
    run = await aside(factories.started)()
    await aside(hints.flush)()
    async with opened(operator, f"?run={run.pk}") as its_page:
        await aside(factories.advanced)(run)
        await next_of(its_page, "run")
        await aside(hints.flush)()
        before = len(missed)  # on a busy machine a look may fall between an event and its hint
        for _ in range(2):
            looked.clear()
            await asyncio.wait_for(looked.wait(), patience.SECONDS)
    assert {(one.runs, one.some) for one in missed[before:]} == {(frozenset(), False)}


async def test_an_older_look_at_runs_is_over_before_a_younger_one_begins(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, looks = asyncio.Event(), asyncio.Event(), 0
    look = pulse.read_moved

    async def slow(since: int, watched: frozenset[int]) -> moved.Found:
        nonlocal looks
        looks += 1
        found: moved.Found = await look(since, watched)
        began.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(pulse, "read_moved", slow)
    one = pulse.Pulse()
    older = asyncio.create_task(one._look_at_runs())
    await asyncio.wait_for(began.wait(), patience.SECONDS)
    run = await aside(factories.started)()
    younger = asyncio.create_task(one._look_at_runs())
    await asyncio.sleep(0)  # it comes as far as it may
    assert looks == 1
    go_on.set()
    await asyncio.gather(older, younger)
    assert looks == 2
    newest = await aside(lambda: run.events.order_by("pk").last().pk)()
    assert one._runs.newest == newest


async def test_a_process_that_hears_again_has_its_pages_ask_for_what_was_said_meanwhile(
    operator: User,
) -> None:
    layer: Any = get_channel_layer()
    async with opened(operator) as communicator:
        await layer.group_send(SCREENS, {"type": "nonsense"})  # its hearing ends, and begins again
        await next_of(communicator, "controls")


def test_a_look_at_runs_is_one_query_however_many_are_watched(
    transactional_db: None, django_assert_num_queries: Any
) -> None:
    runs = [factories.started() for _ in range(3)]
    with django_assert_num_queries(1):
        found = moved.look(0, [run.pk for run in runs])
    assert dict(found.watched) == {run.pk: run.event_seq for run in runs} == dict(found.moved)
    assert found.whole
