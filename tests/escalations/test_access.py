"""Every address by every kind of visitor: nobody sees a page that the table does not show them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver, path

from opsconsole import access, urls

pytestmark = pytest.mark.django_db(transaction=True)


def _forgotten(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a page that somebody forgot to put into the table")


urlpatterns = [
    *urls.urlpatterns,
    path("forgotten", _forgotten, name="forgotten"),
    path("nameless", _forgotten),
    path("seen", _forgotten, name="seen"),
]
with_more_pages = override_settings(ROOT_URLCONF=__name__)


@pytest.fixture(autouse=True)
def _a_page_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(access.PAGES, "seen", access.PEOPLE)


def _routes(patterns: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns)
        else:
            yield pattern


def test_every_route_has_a_name_and_a_line_in_the_table() -> None:
    named = {str(route.name) for route in _routes(get_resolver().url_patterns)}
    assert named - set(access.PAGES) == set()


def test_without_signing_in_only_the_sign_in_page_the_health_pages_and_signed_deliveries_are_open() -> None:
    open_pages = {name for name, may in access.PAGES.items() if may == access.ANYBODY}
    assert open_pages == {"healthz", "readyz", "sign-in", "hook"}
    assert Client().get("/healthz").status_code == 200


@with_more_pages
def test_a_visitor_is_sent_to_the_sign_in_page_and_back() -> None:
    response = Client().get("/seen?state=held")
    assert (response.status_code, response["Location"]) == (302, "/sign-in?next=/seen%3Fstate%3Dheld")


@with_more_pages
def test_a_form_sent_without_a_session_comes_back_to_the_front_page() -> None:
    response = Client().post("/seen", {"x": "1"})
    assert (response.status_code, response["Location"]) == (302, "/sign-in?next=/")


@with_more_pages
def test_a_fragment_without_a_session_sends_the_whole_page_to_the_sign_in() -> None:
    response = Client(headers={"HX-Request": "true"}).get("/seen")
    assert (response.status_code, response["HX-Redirect"], response.content) == (401, "/sign-in", b"")


@with_more_pages
@pytest.mark.parametrize("role", ["operator", "admin", "auditor"])
def test_everybody_with_a_role_sees_the_pages(role: str, request: pytest.FixtureRequest) -> None:
    client = Client()
    client.force_login(request.getfixturevalue(role))
    assert client.get("/seen").status_code == 200


@with_more_pages
def test_without_a_role_there_is_nothing_to_see(outsider: User) -> None:
    client = Client()
    client.force_login(outsider)
    assert client.get("/seen").status_code == 403


@with_more_pages
def test_a_deactivated_person_is_a_visitor(operator: User) -> None:
    client = Client()
    client.force_login(operator)
    User.objects.filter(pk=operator.pk).update(is_active=False)
    assert client.get("/seen").status_code == 302


@with_more_pages
@pytest.mark.parametrize("address", ["/forgotten", "/nameless"])
def test_a_page_that_is_not_in_the_table_is_shown_to_nobody(address: str, admin: User) -> None:
    client = Client()
    client.force_login(admin)
    assert client.get(address).status_code == 403
