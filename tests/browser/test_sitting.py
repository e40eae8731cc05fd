"""What the other tests of this folder rely on when somebody sits down twice."""

from tests.browser.conftest import Sit
from tests.browser.console import Console


def test_a_second_page_of_a_person_takes_nothing_from_the_first(sit: Sit, console: Console) -> None:
    first = sit("operator")
    first.context.add_cookies([{"name": "kept", "value": "here", "url": console.address}])
    second = sit("operator", "/runs/")

    assert second.context is first.context
    assert "here" in {cookie.get("value") for cookie in first.context.cookies()}


def test_who_sits_down_in_the_next_test_has_the_cookies_of_somebody_who_signed_in(sit: Sit) -> None:
    page = sit("operator")
    assert {cookie.get("name") for cookie in page.context.cookies()} == {"csrftoken", "sessionid"}
