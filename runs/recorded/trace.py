"""The `trace/1` contract: one recorded run as the line of a file says it, made fit to be kept. Pure; no database.

Strict about what the format promises (schema, run_id, items in order with a known kind, tokens that add up to the
line's own totals), patient about the rest: nulls, unknown fields, long, hostile or unreadable texts. What a line says
about how well the run went (`outcome`, a step's `labels`) is dropped here, as is every field that is not named here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from runs.canonical import SPARE, canonical, digest, plain
from runs.errors import wrong_values

SCHEMA = "trace/1"
MOST_ITEMS = 20_000
LONGEST_TEXT = 200_000  # characters of one text; the format cuts at 4 kB
LONGEST_WORD = 300  # characters of a name
LONGEST_KEY = 200
LONGEST_WORKFLOW = 60
MOST_TOKENS = 2**31 - 1
_CUT = "…[cut]…"


class BadTrace(Exception):
    """A line that is no recorded run; the message is the sentence a person reads."""


def text(value: Any) -> str | None:
    """What should be a text, as one: cleaned of what cannot be stored, cut in the middle, other values as JSON."""
    if value is None:
        return None
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    if len(value) > LONGEST_TEXT:
        half = (LONGEST_TEXT - len(_CUT)) // 2
        value = value[:half] + _CUT + value[-half:]
    cleaned: str = plain(value)
    return cleaned


def _word(value: Any) -> str:
    return (text(value) or "").strip()[:LONGEST_WORD]


def _error(value: Any) -> str | None:
    return text(value) if value else None


def _count(value: Any) -> int | None:
    """A number nobody adds up: None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS else None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= MOST_TOKENS else None


def _tokens(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number of tokens")
    return 0 if value is None else value


Text = Annotated[str | None, BeforeValidator(text)]
Word = Annotated[str, BeforeValidator(_word)]
Error = Annotated[str | None, BeforeValidator(_error)]
Count = Annotated[int | None, BeforeValidator(_count)]
Seconds = Annotated[float | None, BeforeValidator(_seconds)]
Tokens = Annotated[int, BeforeValidator(_tokens), Field(ge=0, le=MOST_TOKENS)]


class Read(BaseModel):
    """What the line does not name here is dropped."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Source(Read):
    """Where the recording comes from."""

    name: Word = ""
    repo: Word = ""
    commit: Word = ""
    file: Word = ""
    key: Word = ""
    licence: Word = ""


class Agent(Read):
    name: Word = ""
    role: Text = None


class RecordedStep(Read):
    """One item of the recording. `tokens_in` and `tokens_out` count for model items only."""

    index: int | None = None
    kind: Literal["model", "tool", "message"]
    agent: Word = ""
    turn: Count = None
    input: Text = None
    output: Text = None
    input_chars: Count = None
    output_chars: Count = None
    tool: Word = ""
    args: dict[str, Any] | None = None
    args_raw: Text = None
    error: Error = None
    error_kind: Word = ""
    tokens_in: Tokens = 0
    tokens_out: Tokens = 0
    tokens_source: Word = ""
    model: Word = ""
    context_tokens: Count = None
    latency_s: Seconds = None
    ts: Text = None

    @property
    def failed(self) -> bool:
        return bool(self.error or self.error_kind)


class Totals(Read):
    """What a replay must add up to; numbers that are missing are not checked."""

    steps: Count = None
    model_calls: Count = None
    tool_calls: Count = None
    tool_errors: Count = None
    tokens_in: int | None = None
    tokens_out: int | None = None


class Trace(Read):
    """One recorded run. `digest` names its content, without what says how well it went."""

    run_id: str = Field(min_length=1, max_length=LONGEST_KEY)
    source: Source = Field(default_factory=Source)
    workflow: Word = ""
    domain: Word = ""
    model: Word = ""
    goal: Text = None
    goal_chars: Count = None
    agents: tuple[Agent, ...] = ()
    tools: tuple[Word, ...] = ()
    toolset: Word = ""
    system_prompt_tokens: Count = None
    items: tuple[RecordedStep, ...] = Field(
        min_length=1, max_length=MOST_ITEMS, validation_alias=AliasChoices("steps")
    )

    @field_validator("run_id")
    @classmethod
    def _can_be_seen(cls, value: str) -> str:
        if not value.isprintable() or not value.strip():
            raise ValueError("should be a text that can be seen")
        return value

    @field_validator("workflow")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        """A name for lists and addresses; what is none is made one."""
        seen = "".join(char if char.isprintable() and char not in "/?#" else "-" for char in value)
        if len(seen) > LONGEST_WORKFLOW:
            seen = f"{seen[: LONGEST_WORKFLOW - 9]}~{digest(value)[:8]}"
        return seen or "unnamed"

    @property
    def digest(self) -> str:
        return digest(self)


def read(raw: Any) -> Trace:
    """A parsed line as a recorded run. Raises BadTrace with one sentence that says what is wrong."""
    if not isinstance(raw, Mapping):
        raise BadTrace("not a JSON object.")
    if raw.get("schema") != SCHEMA:
        raise BadTrace(f"schema is {_shown(raw.get('schema'))}; {SCHEMA} is read.")
    steps = raw.get("steps")
    if not isinstance(steps, list) or not steps:
        raise BadTrace("steps is no list of at least one item.")
    if not all(isinstance(step, dict) for step in steps):
        raise BadTrace("steps holds something that is no object.")
    lenient = {"agents": _objects(raw), "tools": _list(raw, "tools"), "source": _object(raw, "source")}
    known = {name: raw[name] for name in _FIELDS if name in raw} | lenient
    try:
        trace = Trace.model_validate(known | {"steps": [_step(step) for step in steps]})
    except ValidationError as error:
        place, says = wrong_values(error)[0]
        raise BadTrace(f"{place}: {says}.") from error
    _check_order(trace)
    _check_totals(trace, raw.get("totals"))
    return trace


def as_line(trace: Trace) -> str:
    """A line that is read as the same run again."""
    said = trace.model_dump(mode="json", exclude_defaults=True)
    items = said.pop("items")
    return json.dumps({"schema": SCHEMA, **said, "steps": items}, ensure_ascii=False)


_FIELDS = (
    "run_id",
    "workflow",
    "domain",
    "model",
    "goal",
    "goal_chars",
    "toolset",
    "system_prompt_tokens",
)


def _step(step: dict[str, Any]) -> dict[str, Any]:
    """Arguments that are no object, or that JSON cannot hold, are kept as the text they were."""
    args = step.get("args")
    if args is None or _can_be_kept(args):
        return step if args is None else step | {"args": plain(args)}
    words = step.get("args_raw") or json.dumps(args, ensure_ascii=False)
    return step | {"args": None, "args_raw": words}


def _can_be_kept(args: Any) -> bool:
    if not isinstance(args, dict):
        return False
    try:
        return len(canonical(args, spare=SPARE)) <= LONGEST_TEXT
    except (ValueError, RecursionError):
        return False


def _objects(raw: Mapping[str, Any]) -> list[Any]:
    return [one if isinstance(one, dict) else {"name": one} for one in _list(raw, "agents")]


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    found = raw.get(name)
    return found if isinstance(found, list) else []


def _object(raw: Mapping[str, Any], name: str) -> Any:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _check_order(trace: Trace) -> None:
    for place, item in enumerate(trace.items):
        if item.index is not None and item.index != place:
            raise BadTrace(f"steps.{place}.index is {_shown(item.index)}; the items are numbered from 0.")


def _check_totals(trace: Trace, raw: Any) -> None:
    """A line that does not add up to its own totals has lost something on its way."""
    if not isinstance(raw, dict):
        return
    try:
        said = Totals.model_validate(raw)
    except ValidationError:
        return
    for name, count in totals(trace).items():
        wanted = getattr(said, name)
        if wanted not in (None, count) and not (name == "tool_errors" and wanted in _errors(trace)):
            raise BadTrace(f"its totals say {name} {_shown(wanted)}, its steps have {count}.")


def _errors(trace: Trace) -> tuple[int, int]:
    """Two ways to count the tools' errors: by their words, by their kind."""
    tools = [item for item in trace.items if item.kind == "tool"]
    return sum(bool(item.error) for item in tools), sum(bool(item.error_kind) for item in tools)


def totals(trace: Trace) -> dict[str, int]:
    """What a replay of this line must add up to."""
    models = [item for item in trace.items if item.kind == "model"]
    tools = [item for item in trace.items if item.kind == "tool"]
    return {
        "steps": len(trace.items),
        "model_calls": len(models),
        "tool_calls": len(tools),
        "tool_errors": sum(item.failed for item in tools),
        "tokens_in": sum(item.tokens_in for item in models),
        "tokens_out": sum(item.tokens_out for item in models),
    }


def _shown(value: Any) -> str:
    words = json.dumps(plain(str(value))) if not isinstance(value, (int, type(None))) else str(value)
    return words if len(words) <= 60 else f"{words[:59]}…"
