"""What simulated and scripted agents do wrong on demand, as models really do. Decides nothing about runs.

Each misbehaviour is a change of the good reply, the same for the same seed and request. A call on record is replayed by
the engine and never comes here, so what has been said stays said. Asked for, first found first: by the agent's own
parameters ({"misbehave": "broken_output", "seed": 3}), by `misbehaving(...)` in this process, by the setting.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import hashlib
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runs.agents import bending
from runs.agents.door import ModelReply, ModelRequest, ToolCall, Usage
from runs.errors import DataError, RecoverableError

SLOW_SECONDS = 20.0
GROWN_MOST = 256_000  # characters that one reply grows by at most
_GROWN_LEAST = 8_000
_FILLER = "To be complete, let me go through everything that has been said so far once more. "


class Misbehaviour(enum.StrEnum):
    """One way of going wrong. Its `sentence` says what the agent does."""

    PING_PONG = "ping_pong"
    GROWING_CONTEXT = "growing_context"
    INVENTED_TOOL = "invented_tool"
    WRONG_ARGUMENT = "wrong_argument"
    BROKEN_OUTPUT = "broken_output"
    PLAUSIBLE_WRONG = "plausible_wrong"
    AGREED_INVENTION = "agreed_invention"
    INVENTED_EVIDENCE = "invented_evidence"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    SLOW = "slow"
    NEVER_RETURNS = "never_returns"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Misbehaviour.PING_PONG: (
        "Asks for the same call for ever; without a tool it makes the same other choice whatever it is told."
    ),
    Misbehaviour.GROWING_CONTEXT: "Adds as many words again as it was given, to every reply.",
    Misbehaviour.INVENTED_TOOL: "Asks for a tool that does not exist.",
    Misbehaviour.WRONG_ARGUMENT: (
        "Spoils one argument of a good call: with an even seed it breaks its contract, with an odd one it does not."
    ),
    Misbehaviour.BROKEN_OUTPUT: "Gives an output that its contract does not allow.",
    Misbehaviour.PLAUSIBLE_WRONG: (
        "Changes one amount, choice, date or yes/no of its output, without any one text; the contract still holds."
    ),
    Misbehaviour.AGREED_INVENTION: "States a fact that occurs nowhere; with the same seed other agents state it too.",
    Misbehaviour.INVENTED_EVIDENCE: (
        "Claims a fact more, with a quotation that its source does not hold; without claims it changes nothing."
    ),
    Misbehaviour.UNAVAILABLE: "Its provider answers 503 every time.",
    Misbehaviour.RATE_LIMITED: "Its provider answers 429 with Retry-After every time.",
    Misbehaviour.SLOW: f"Answers well, about {SLOW_SECONDS:.0f} s late.",
    Misbehaviour.NEVER_RETURNS: "Its call never comes back.",
}


@dataclass(slots=True)
class Spoilt:
    """How many replies have really become other than they would have been, or late, or errors."""

    replies: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """A misbehaviour that somebody asked for. `lapse` is how long a second of waiting takes here, in seconds: a
    trial need not sit through what a run has to."""

    kind: Misbehaviour
    seed: int = 0
    lapse: float = 1.0
    spoilt: Spoilt = field(default_factory=Spoilt, compare=False, repr=False)


Wanted = Mapping[str, "Misbehaviour | str | Ordered"]
_lock = threading.Lock()
_scopes: list[dict[str, Ordered]] = []
_by_setting: dict[str, Ordered] = {}


@contextlib.contextmanager
def misbehaving(who: Wanted, *, seed: int = 0, lapse: float = 1.0) -> Iterator[Spoilt]:
    """While inside, these misbehave in this process, in every thread: an agent by its name, all that ask a model by its
    name, or AGENT@MODEL.

    Of nested scopes the inner one counts. Gives a count of the replies it spoils. Raises ValueError for an unknown
    misbehaviour.
    """
    spoilt = Spoilt()
    orders = {name: _ordered(kind, seed) for name, kind in who.items()}
    scope = {name: replace(order, lapse=lapse, spoilt=spoilt) for name, order in orders.items()}
    with _lock:
        _scopes.append(scope)
    try:
        yield spoilt
    finally:
        with _lock:
            _scopes[:] = [one for one in _scopes if one is not scope]


def _ordered(kind: Misbehaviour | str | Ordered, seed: int) -> Ordered:
    return kind if isinstance(kind, Ordered) else Ordered(kind=named(kind), seed=seed)


def named(name: str) -> Misbehaviour:
    """The misbehaviour of that name. Raises ValueError with every name there is."""
    try:
        return Misbehaviour(name)
    except ValueError:
        raise ValueError(f"{name!r} is no misbehaviour; there are: {', '.join(Misbehaviour)}.") from None


def parse(text: str) -> dict[str, Ordered]:
    """The setting "AGENT=MISBEHAVIOUR[:SEED], …" as data. Raises ValueError with one sentence."""
    found: dict[str, Ordered] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        agent, sign, rest = part.rpartition("=")
        kind, _, seed = rest.partition(":")
        if not (sign and agent.strip()) or (seed and not (seed.isascii() and seed.isdigit())):
            raise ValueError(f"{part!r} is not of the form AGENT=MISBEHAVIOUR:SEED.")
        found[agent.strip()] = Ordered(kind=named(kind.strip()), seed=int(seed or 0))
    return found


def by_setting(orders: Mapping[str, Ordered]) -> None:
    """What the settings ask for, for the whole process; replaces what they asked for before."""
    with _lock:
        _by_setting.clear()
        _by_setting.update(orders)


def asked(request: ModelRequest) -> Ordered | None:
    """What is asked of whoever answers this request. Raises DataError for a parameter that names nothing."""
    kind = request.parameters.get("misbehave")
    if kind is not None:
        return _by_parameters(request, kind)
    # A trial's copy of a definition puts its own provider before the model's name.
    models = {
        request.model,
        request.model.removeprefix("scripted/"),
        request.model.removeprefix("simulated/"),
    }
    keys = [*(f"{request.agent}@{model}" for model in sorted(models)), request.agent, *sorted(models)]
    with _lock:
        places = [*reversed(_scopes), _by_setting]
    return next((place[key] for place in places for key in keys if key in place), None)


def _by_parameters(request: ModelRequest, kind: Any) -> Ordered:
    seed = request.parameters.get("seed", 0)
    try:
        return Ordered(kind=named(str(kind)), seed=int(seed))
    except (ValueError, TypeError) as why:
        raise DataError(f"Parameters of {request.agent}: {why}", where="parameters") from why


async def bent(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    """The reply of an agent that misbehaves as ordered. `good` gives the reply it would have given.

    Raises RecoverableError and TimeoutError as a provider does that is away, busy or too slow.
    """
    if order.kind not in _CHANGES:
        _count(order)
        return await _troubled(order, request, good)
    kept: list[ModelReply] = []

    def once() -> ModelReply:
        kept[:] = kept or [good()]  # a script gives each reply once
        return kept[0]

    reply = _CHANGES[order.kind](order, request, once)
    if not kept or reply != kept[0]:
        _count(order)
    return replace(reply, usage=_counted(reply))


def _count(order: Ordered) -> None:
    with _lock:
        order.spoilt.replies += 1


async def _troubled(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    """What a provider in trouble does."""
    match order.kind:
        case Misbehaviour.UNAVAILABLE:
            raise _unbilled(RecoverableError("503 Service Unavailable (simulated)"))
        case Misbehaviour.RATE_LIMITED:
            wait = float(_dice(order, request).randint(1, 20))
            says = f"429 Too Many Requests (simulated), again in {wait:.0f} s"
            raise _unbilled(RecoverableError(says, retry_after=wait))
        case Misbehaviour.SLOW:
            await asyncio.sleep(SLOW_SECONDS * (0.5 + _dice(order, request).random()) * order.lapse)
            return good()
    return await _never(order, request)


def _unbilled(error: RecoverableError) -> RecoverableError:
    """What was refused as a whole costs nothing."""
    error.unbilled = True
    return error


async def _never(order: Ordered, request: ModelRequest) -> ModelReply:
    if order.lapse < 1.0:
        await asyncio.sleep(request.seconds_left * order.lapse)
        raise TimeoutError(f"no answer within {request.seconds_left:.0f} s")
    await asyncio.Event().wait()  # until the engine cuts it
    raise LookupError("nobody sets it")


def _dice(order: Ordered, request: ModelRequest) -> random.Random:
    """The same for the same seed and request; what is left of the time is not part of a request."""
    said = repr((order.seed, order.kind, request.agent, request.messages))
    return random.Random(hashlib.sha256(said.encode()).digest())


def _counted(reply: ModelReply) -> Usage:
    """What it said more was said for money too: about four characters a token."""
    said = (
        len(reply.text) + len(repr(reply.output)) + sum(len(repr(one.arguments)) for one in reply.tool_calls)
    )
    return replace(reply.usage, tokens_out=max(reply.usage.tokens_out, said // 4 + 1))


def _ping_pong(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    for message in request.messages:
        if message.tool_calls:
            return _calls_again(request, message.text, message.tool_calls)
    reply = good()
    if reply.tool_calls:
        return reply
    # Not by the request: whatever it is told, it stays with the same choice.
    return replace(reply, output=_other_choice(request, reply.output, random.Random(order.seed)))


def _calls_again(request: ModelRequest, words: str, asked: tuple[ToolCall, ...]) -> ModelReply:
    number = len(request.messages)
    again = tuple(replace(one, id=f"call-{number}-{place}") for place, one in enumerate(asked))
    sent = sum(len(message.text) for message in request.messages)
    return ModelReply(
        model=request.model, text=words, tool_calls=again, usage=Usage(tokens_in=sent // 4 + 1, tokens_out=1)
    )


def _other_choice(request: ModelRequest, output: Any, dice: random.Random) -> Any:
    for leaf in bending.leaves(request.output_schema, output):
        if isinstance(leaf.value, bool) or "enum" in leaf.schema:
            changed = bending.plausible({"properties": {"it": leaf.schema}}, {"it": leaf.value}, dice)
            return output if changed is None else bending.put(output, leaf.path, changed["it"])
    return output


def _growing(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    reply = good()
    given = sum(len(message.text) for message in request.messages)
    more = min(max(given, _GROWN_LEAST), GROWN_MOST)
    words = (_FILLER * (more // len(_FILLER) + 1))[:more]
    if reply.tool_calls:
        return replace(reply, text=f"{reply.text} {words}")
    return replace(
        reply,
        text=f"{reply.text} {words}",
        output=bending.with_prose(request.output_schema, reply.output, words),
    )


def _invented_tool(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    dice = _dice(order, request)
    reply = good()
    known = {str(tool.get("name")) for tool in request.tools}
    names = [f"{name}{ending}" for name in sorted(known) for ending in ("_now", "_v2", ".force")]
    name = dice.choice(
        [one for one in (*names, "web.search", "run_python", "ask_manager") if one not in known]
    )
    arguments: Mapping[str, Any] = reply.tool_calls[0].arguments if reply.tool_calls else {"urgent": True}
    call = ToolCall(id=f"call-{len(request.messages)}", name=name, arguments=arguments)
    return replace(reply, tool_calls=(call,), output=None)


def _wrong_argument(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    reply = good()
    if not reply.tool_calls:
        return reply
    first, *others = reply.tool_calls
    schema: Mapping[str, Any] = next(
        (tool.get("parameters", {}) for tool in request.tools if tool.get("name") == first.name), {}
    )
    dice = _dice(order, request)
    if order.seed % 2:
        arguments = bending.plausible(schema, dict(first.arguments), dice)
    else:
        arguments = bending.broken_arguments(schema, first.arguments, dice)
    spoiled = first if arguments is None else replace(first, arguments=arguments)
    return replace(reply, tool_calls=(spoiled, *others))


def _broken_output(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    reply = good()
    if reply.tool_calls:
        return reply
    return replace(reply, output=bending.broken(request.output_schema, reply.output, _dice(order, request)))


def _plausible_wrong(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    reply = good()
    if reply.tool_calls:
        return reply
    changed = bending.plausible(request.output_schema, reply.output, _dice(order, request))
    return reply if changed is None else replace(reply, output=changed)


def invention(seed: int) -> str:
    """The invented fact of a seed, the same for every agent. Nothing else in the world says it."""
    dice = random.Random(f"invention {seed}")
    who = dice.choice(("Mr Aldous Perrin", "the Harwich office", "Ms Ottoline Brandt", "the night desk"))
    return f"File {dice.randrange(16**8):08X} was confirmed by {who} over the telephone."


def _agreed_invention(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    reply = good()
    fact = invention(order.seed)
    text = f"{reply.text} {fact}".strip()
    if reply.tool_calls:
        return replace(reply, text=text)
    return replace(reply, text=text, output=bending.with_prose(request.output_schema, reply.output, fact))


def _invented_evidence(order: Ordered, request: ModelRequest, good: Callable[[], ModelReply]) -> ModelReply:
    reply = good()
    if reply.tool_calls:
        return reply
    fact = invention(order.seed)
    return replace(reply, output=bending.with_claim(request.output_schema, reply.output, fact))


_CHANGES: dict[Misbehaviour, Callable[[Ordered, ModelRequest, Callable[[], ModelReply]], ModelReply]] = {
    Misbehaviour.PING_PONG: _ping_pong,
    Misbehaviour.GROWING_CONTEXT: _growing,
    Misbehaviour.INVENTED_TOOL: _invented_tool,
    Misbehaviour.WRONG_ARGUMENT: _wrong_argument,
    Misbehaviour.BROKEN_OUTPUT: _broken_output,
    Misbehaviour.PLAUSIBLE_WRONG: _plausible_wrong,
    Misbehaviour.AGREED_INVENTION: _agreed_invention,
    Misbehaviour.INVENTED_EVIDENCE: _invented_evidence,
}
