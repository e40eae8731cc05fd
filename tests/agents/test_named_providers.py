"""Providers and prices from the environment: what is understood, and the one sentence for everything else."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsconsole import providers
from opsconsole.environment import REPOSITORY, Refused
from runs.agents.endpoints import Endpoint, Kind

SECRET = "sk-hunter2-0123456789"


def test_any_number_of_providers_each_with_kind_address_key_and_stream() -> None:
    found = providers.endpoints(
        {
            "MODEL_PROVIDERS": "openai, local=openai:http://127.0.0.1:8080/v1/, "
            "my-claude=anthropic:https://gateway.example.com",
            "OPENAI_API_KEY": SECRET,
            "MODEL_KEY_MY_CLAUDE": "another-key",
            "MODEL_STREAMS": "local",
        }
    )
    openai, local, claude = found
    assert (openai.kind, openai.url, openai.key) == (Kind.OPENAI, "https://api.openai.com/v1", SECRET)
    assert openai.official
    assert (local.url, local.key, local.stream) == ("http://127.0.0.1:8080/v1", "", True)
    assert (claude.kind, claude.key, claude.key_setting) == (
        Kind.ANTHROPIC,
        "another-key",
        "MODEL_KEY_MY_CLAUDE",
    )


def test_a_plain_name_is_known_by_its_key_alone() -> None:
    assert providers.endpoints({}) == ()
    found = providers.endpoints({"ANTHROPIC_API_KEY": SECRET, "OPENAI_API_KEY": SECRET})
    assert [(one.name, one.official) for one in found] == [("openai", True), ("anthropic", True)]


def test_the_providers_own_variable_for_the_address_is_respected() -> None:
    (found,) = providers.endpoints(
        {"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": "https://proxy.example.com/v1"}
    )
    assert (found.url, found.official) == ("https://proxy.example.com/v1", False)


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"MODEL_PROVIDERS": "openai"}, "'openai' needs a key: set OPENAI_API_KEY."),
        ({"MODEL_PROVIDERS": SECRET}, "entry 1 is not of the form NAME=KIND:URL"),
        ({"MODEL_PROVIDERS": "Local=openai:http://h"}, "entry 1 is not of the form"),
        ({"MODEL_PROVIDERS": "a=gemini:http://h"}, "entry 1 is not of the form"),
        ({"MODEL_PROVIDERS": "a=openai:http://h, a=openai:http://i"}, "names 'a' twice"),
        ({"MODEL_PROVIDERS": "simulated=openai:http://h"}, "choose another name"),
        ({"MODEL_PROVIDERS": "a=openai"}, "the URL of 'a' is not an address"),
        ({"MODEL_PROVIDERS": f"a=openai:https://me:{SECRET}@h/v1"}, "the URL of 'a' is not an address"),
        ({"MODEL_PROVIDERS": f"a=openai:https://h/v1?key={SECRET}"}, "the URL of 'a' is not an address"),
        ({"MODEL_PROVIDERS": "a=openai:ftp://h"}, "the URL of 'a' is not an address"),
        ({"MODEL_PROVIDERS": "a=openai:http://h:port"}, "the URL of 'a' is not an address"),
        ({"MODEL_PROVIDERS": "a=openai:http://h", "MODEL_KEY_A": f"{SECRET} x"}, "MODEL_KEY_A is no key"),
        (
            {"MODEL_PROVIDERS": "a=openai:http://h", "MODEL_KEY_A": f"{SECRET}\r\nX: y"},
            "MODEL_KEY_A is no key",
        ),
        ({"MODEL_KEY_LOCL": SECRET}, "MODEL_KEY_LOCL is set, and MODEL_PROVIDERS has no provider"),
        ({"MODEL_STREAMS": "local"}, "MODEL_STREAMS names 'local'"),
        (
            {"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": "here"},
            "OPENAI_BASE_URL: its value is not an address",
        ),
    ],
)
def test_a_bad_provider_is_one_sentence_without_a_key(env: dict[str, str], sentence: str) -> None:
    with pytest.raises(Refused, match=re.escape(sentence)) as refused:
        providers.endpoints(env)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "entry",
    [
        "x",
        "a/b",
        "a/b=1",
        "a/b=1/2/3/4",
        "a/b=one/2",
        "a/b=-1/2",
        "a/b=nan/1",
        "a/b=Infinity/1",
        "=1/2",
        "b=1/2",
    ],
)
def test_a_bad_price_is_one_sentence(entry: str) -> None:
    with pytest.raises(Refused, match=r"MODEL_PRICES.*dollars per million tokens"):
        providers.prices({"MODEL_PRICES": entry})


def test_prices_are_whole_micro_dollars_rounded_up() -> None:
    given_prices = "local/=0/0, openai/gpt-4o-mini=0.15/0.60/0.075, r/vendor/model=0.0000001/3"
    assert providers.prices({"MODEL_PRICES": given_prices}) == {
        "local/": (0, 0, 0),
        "openai/gpt-4o-mini": (150_000, 600_000, 75_000),
        "r/vendor/model": (1, 3_000_000, 1),
    }


@given(st.text(max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    for read, name in ((providers.endpoints, "MODEL_PROVIDERS"), (providers.prices, "MODEL_PRICES")):
        with contextlib.suppress(Refused):
            read({name: text})


def test_a_key_is_in_no_repr() -> None:
    endpoint = Endpoint(name="a", kind=Kind.OPENAI, url="http://h", key=SECRET)
    assert "hunter2" not in f"{endpoint!r} {endpoint}"


def test_a_bad_value_ends_the_process_with_its_sentence() -> None:
    env = {"PATH": "/usr/bin:/bin", "SECRET_KEY": "x", "MODEL_PROVIDERS": SECRET}
    code = "import opsconsole.settings"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=env, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "hunter2" not in done.stderr
