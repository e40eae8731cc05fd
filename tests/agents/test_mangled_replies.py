"""Replies of which one value has been replaced by another: whatever comes, it is a reply or an error with a class."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runs.agents.door import ModelReply
from runs.errors import StepError
from tests.agents.conftest import asked
from tests.agents.model_server import ModelServer, Reply, answer, streamed
from tests.agents.replies import chunks, claude, claude_events, completion

CALL = [("bank_pay", {"amount": 5})]
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 2**70, 1.5, "", "x", "\ud83d", [], [None], {}, {"a": {}}, [[[]]], "[" * 5000, "9" * 5000]
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))


def mangled(body: Any, place: int, odd: Any) -> Any:
    """The same body with one value replaced."""
    body = copy.deepcopy(body)
    paths = list(_paths(body))
    *above, last = paths[place % len(paths)]
    inner = body
    for key in above:
        inner = inner[key]
    inner[last] = odd
    return body


def _event(event: str, place: int, odd: Any) -> str:
    head, _, data = event.strip().rpartition("data: ")
    return (
        event if data == "[DONE]" else f"{head}data: {json.dumps(mangled(json.loads(data), place, odd))}\n\n"
    )


def _scripts(provider: str, event: int, place: int, odd: Any) -> Reply:
    match provider:
        case "local":
            return answer(body=mangled(completion("Three.", CALL), place, odd))
        case "claude":
            return answer(body=mangled(claude("Three.", CALL), place, odd))
    events = chunks("Three.", CALL) if provider == "streaming" else claude_events(*CALL[0])
    at = event % len(events)
    return streamed([*events[:at], _event(events[at], place, odd), *events[at + 1 :]])


@pytest.mark.filterwarnings("ignore")  # the libraries warn of values they do not know
@pytest.mark.parametrize("provider", ["local", "streaming", "claude", "verse"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(event=st.integers(0, 500), place=st.integers(0, 500), odd=ODD)
def test_a_mangled_reply_is_a_reply_or_an_error_with_a_class(
    server: ModelServer, provider: str, event: int, place: int, odd: Any
) -> None:
    server.script.clear()
    server.says(_scripts(provider, event, place, odd))
    with contextlib.suppress(StepError):
        assert isinstance(asked(f"{provider}/tiny", seconds_left=10.0), ModelReply)
