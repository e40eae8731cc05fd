"""Small recorded runs written for the tests; none is copied from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]

TOOLSETS: Json = {
    "shop-orders": [
        {
            "name": "find_order",
            "description": "Look an order up.",
            "parameters": {
                "type": "object",
                "properties": {"order_id": {"type": "integer"}},
                "required": ["order_id"],
            },
            "effect": "none",
            "egress": False,
        },
        {
            "name": "cancel_order",
            "parameters": {
                "type": "object",
                "properties": {"order_id": {"type": "integer"}, "why": {"enum": ["late", "wrong"]}},
                "required": ["order_id", "why"],
            },
            "effect": "irreversible",
            "egress": False,
        },
    ],
    "shop-mail": [
        {
            "name": "send_mail",
            "parameters": {"type": "object", "properties": {"to": {"type": "string"}}},
            "effect": "reversible",
            "egress": True,
        }
    ],
}


def message(text: str | None, agent: str = "customer") -> Json:
    return {"kind": "message", "agent": agent, "output": text}


def thought(text: str | None, tokens_in: int = 100, tokens_out: int = 10, **more: Any) -> Json:
    tokens = {"tokens_in": tokens_in, "tokens_out": tokens_out, "tokens_source": "given"}
    return {"kind": "model", "agent": "clerk", "output": text, "model": "some-model-1", **tokens, **more}


def called(tool: str, args: Any, output: Any = "ok", **more: Any) -> Json:
    return {"kind": "tool", "agent": "clerk", "tool": tool, "args": args, "output": output, **more}


def trace(*steps: Json, run_id: str = "shop-1", **more: Any) -> Json:
    """A whole line, as a recorder writes it: numbered, with totals and with what says how well it went."""
    numbered = [{"index": place, **step, "labels": {"is_in_loop": True}} for place, step in enumerate(steps)]
    models = [step for step in steps if step["kind"] == "model"]
    tools = [step for step in steps if step["kind"] == "tool"]
    return {
        "schema": "trace/1",
        "run_id": run_id,
        "source": {"name": "tests", "repo": "here", "commit": "0", "file": "traces.py", "licence": "ours"},
        "workflow": "shop",
        "domain": "orders",
        "model": "some-model-1",
        "goal": "Cancel order 7, please.",
        "agents": [{"name": "clerk", "role": "answers"}, {"name": "customer"}],
        "tools": [],
        "toolset": "shop-orders+mail",
        "system_prompt_tokens": 12,
        "steps": numbered,
        "outcome": {"success": False, "labels": ["task_failure"], "detail": {}},
        "totals": {
            "steps": len(steps),
            "model_calls": len(models),
            "tool_calls": len(tools),
            "tool_errors": sum(bool(step.get("error")) for step in tools),
            "tokens_in": sum(step.get("tokens_in") or 0 for step in models),
            "tokens_out": sum(step.get("tokens_out") or 0 for step in models),
            "max_context_tokens": 200,
        },
        **more,
    }


def conversation(run_id: str = "shop-1", **more: Any) -> Json:
    """Six items of every kind: two model calls, three tool calls of which one failed, a message."""
    return trace(
        message("Cancel order 7, please."),
        thought(""),
        called("find_order", {"order_id": 7}, '{"state": "sent"}'),
        thought("It is on its way already.", 150, 20),
        called("cancel_order", {"order_id": 7, "why": "late"}, None, error="already sent", error_kind="tool"),
        called("send_mail", {"to": "customer"}),
        run_id=run_id,
        **more,
    )


def written(folder: Path, *rows: Json | str, name: str = "runs.jsonl", toolsets: Json | None = None) -> Path:
    """A file of these lines, with the toolsets beside it."""
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    (folder / "toolsets.json").write_text(json.dumps(TOOLSETS if toolsets is None else toolsets))
    return path
