"""pydantic_ai is large: who does not ask a real model never loads it, and who loads it does not stand still."""

from __future__ import annotations

import json
import subprocess
import sys

from opsconsole.environment import REPOSITORY
from tests.agents.model_server import ModelServer, answer
from tests.agents.replies import output

_SETUP = """
import asyncio, json, os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "opsconsole.settings"
django.setup()
from runs.agents import door
from runs.agents.door import Message, ModelRequest
"""
_AT_START = """
assert door.known("local")
print(json.dumps([name for name in ("pydantic_ai", "openai", "anthropic", "genai_prices") if name in sys.modules]))
"""
_FIRST_CALL = """
import threading
threads = set()
class Noted:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pydantic_ai", "openai"):
            threads.add(threading.get_ident())
async def main():
    sys.meta_path.insert(0, Noted())
    await door.ask(ModelRequest(model="local/tiny", agent="a", prompt="p", prompt_version="1",
                                messages=(Message(role="user", text="m"),), seconds_left=60))
    print(json.dumps([len(threads), threading.get_ident() in threads]))
asyncio.run(main())
"""


def _in_a_fresh_process(code: str, url: str) -> list[object]:
    env = {"PATH": "/usr/bin:/bin", "SECRET_KEY": "x", "MODEL_PROVIDERS": f"local=openai:{url}/v1"}
    done = subprocess.run(
        [sys.executable, "-c", _SETUP + code], cwd=REPOSITORY, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result: list[object] = json.loads(done.stdout)
    return result


def test_neither_the_library_nor_the_prices_are_loaded_at_the_start(server: ModelServer) -> None:
    assert _in_a_fresh_process(_AT_START, server.url) == []


def test_the_first_call_of_a_process_does_not_hold_up_the_other_calls(server: ModelServer) -> None:
    server.says(answer(body=output({"words": 3})))
    threads, in_the_loop = _in_a_fresh_process(_FIRST_CALL, server.url)
    assert threads, "nothing was loaded: nothing was seen"
    assert not in_the_loop
