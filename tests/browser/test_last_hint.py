"""The last thing that happened is shown, also by components that hear hints only now and then."""

import time

import pytest

from tests.browser.conftest import Sit
from tests.browser.person import Person

MOST = 8.0  # seconds; the parts hear hints every three or five


@pytest.mark.parametrize(
    ("path", "part"), [("/breakers/", "/breakers/list"), ("/workflows/", "/workflows/list")]
)
def test_after_a_burst_the_part_is_fetched_once_more(
    sit: Sit, operator: Person, path: str, part: str
) -> None:
    page = sit("operator", path)
    fetched: list[float] = []
    page.on("request", lambda request: fetched.append(time.monotonic()) if part in request.url else None)
    operator.asked()
    parked = time.monotonic()
    while not (later := any(at > parked + 1.0 for at in fetched)) and time.monotonic() < parked + MOST:
        page.wait_for_timeout(100)
    assert later, "whatever came last was never fetched"
