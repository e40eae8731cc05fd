"""What is pushed with an entry: rendered for each audience by its own roles, without forms, as it would be fetched."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from escalations import claims, controls, decisions, live, parts, pulse
from escalations.parts import Audience
from escalations.roles import Role
from tests.escalations.test_live import aside, next_of, opened
from tests.factories import approval, shown, started, unforeseen_error

pytestmark = pytest.mark.django_db(transaction=True)

EVERYBODY = [frozenset({role}) for role in (Role.OPERATOR, Role.ADMIN, Role.AUDITOR)]


def audiences() -> frozenset[Audience]:
    return frozenset(Audience(place=place, roles=roles) for place in ("", "inbox") for roles in EVERYBODY)


def parts_of(text: str) -> Any:
    return json.loads(text)["parts"]


@pytest.fixture
def _says_what_it_may(settings: Settings, tmp_path: Path) -> None:
    """Places that show to whom they are shown, and more to admins."""
    words = '<nav id="places">{{ frame.role }}{% if "take over" in frame.may %} FOR ADMINS{% endif %}</nav>'
    (tmp_path / "_places.html").write_text(words)
    templates = deepcopy(settings.TEMPLATES)
    templates[0]["DIRS"] = [tmp_path, *templates[0]["DIRS"]]
    settings.TEMPLATES = templates


@pytest.mark.usefixtures("_says_what_it_may")
def test_what_one_role_may_see_is_not_in_what_another_is_told() -> None:
    approval()
    news = parts.news(0, audiences())
    for audience in audiences():
        (role,) = audience.roles
        for text in news.texts(audience)[-1:]:
            assert f">{role}" in parts_of(text)["places"]
            assert ("FOR ADMINS" in text) == (role == Role.ADMIN)


@pytest.mark.usefixtures("_says_what_it_may")
async def test_each_socket_is_told_by_the_roles_of_its_own_person_as_they_are_now(
    admin: User, auditor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.2)

    def demote() -> None:
        admin.groups.set([Group.objects.get_or_create(name=Role.OPERATOR)[0]])

    async with opened(admin) as theirs, opened(auditor) as others:
        await aside(started)()
        await aside(approval)()
        assert "FOR ADMINS" in (await _last(theirs))["places"]
        assert "FOR ADMINS" not in (await _last(others))["places"]
        await aside(demote)()
        await next_of(theirs, "beat")
        await next_of(theirs, "beat")
        await aside(approval)()
        assert "FOR ADMINS" not in (await _last(theirs))["places"]


async def _last(socket: Any) -> Any:
    """The parts of the last entry that was told at once."""
    while True:
        message = await next_of(socket, "journal")
        if message.get("parts"):
            return message["parts"]


def test_no_form_and_no_token_is_ever_pushed(operator: User) -> None:
    escalation = approval()
    claims.take(actor=operator, escalation_id=escalation.pk)
    controls.engage(actor=operator, kind="stop", scope_kind="everything")
    news = parts.news(0, audiences())
    texts = [text for audience in audiences() for text in news.texts(audience)]
    texts += [text for held in parts.held(audiences()).values() for text in held]
    assert any("held" in text and "Receipt" in text for text in texts)
    for text in texts:
        assert "<form" not in text
        assert "csrf" not in text


def test_an_item_that_is_pushed_is_the_item_that_is_fetched(operator: User, colleague: User) -> None:
    escalation = approval()
    unforeseen_error()
    claims.take(actor=colleague, escalation_id=escalation.pk)
    audience = Audience(place="inbox", roles=EVERYBODY[0])
    pushed = parts_of(parts.news(live.head() - 1, frozenset({audience})).texts(audience)[-1])["queue"]
    client = Client()
    client.force_login(operator)
    page = client.get(reverse("queue")).content.decode()
    assert _bare(pushed["items"][str(escalation.pk)]) in _bare(page)
    for name, button in (("all", "all"), ("free", "free"), ("irreversible", "irr"), ("soon", "soon")):
        assert re.search(rf'id="f-{button}".*?<b>(\d+)</b>', page, re.S).group(1) == pushed["counts"][name]  # type: ignore[union-attr]
    assert pushed["mine"] == {str(colleague.pk): "1"}


def _bare(html: str) -> str:
    """Without what moves with the clock, and without layout."""
    html = re.sub(r'(data-until="[^"]*">)[^<]*', r"\1", html)
    return re.sub(r"\s+", " ", html)


def test_an_item_that_waits_no_more_is_pushed_as_gone(operator: User) -> None:
    escalation = approval()
    before = live.head()
    decisions.reject(actor=operator, reason="no", **shown(escalation))
    audience = Audience(place="inbox", roles=EVERYBODY[0])
    (text,) = parts.news(before, frozenset({audience})).texts(audience)
    assert parts_of(text)["queue"]["items"] == {str(escalation.pk): ""}


def test_what_is_rendered_for_three_roles_is_read_once(django_assert_max_num_queries: Any) -> None:
    escalation = approval()
    with django_assert_max_num_queries(6):
        news = parts.news(0, audiences())
    assert len(news.rendered) == 6
    assert str(escalation.pk) in news.plain[-1]
