"""What a real client makes of what real sockets say: replies that are in order."""

from __future__ import annotations

from runs.agents.door import Usage
from tests.agents.conftest import asked
from tests.agents.model_server import ModelServer, answer
from tests.agents.replies import MODEL, output

BANK = {
    "name": "bank.pay",
    "description": "Pay somebody.",
    "parameters": {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]},
}


def test_a_typed_output_comes_back_with_model_and_usage(server: ModelServer) -> None:
    server.says(answer(body=output({"words": 3})))
    reply = asked()
    assert reply.output == {"words": 3}
    assert reply.tool_calls == ()
    assert reply.model == MODEL
    assert reply.usage == Usage(tokens_in=120, tokens_out=30)
