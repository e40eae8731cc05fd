"""What a provider did wrong, as an error with a class; pure. Knows no library: `wire` says what happened.

- recoverable: 408, 409, 425, 429, 5xx, no connection, no answer in time, a stream that was cut, and what is no
  completion at all (a gateway answers so while what stands behind it is down);
- data: the request was refused as it is (400, 404, 413, 422), or does not fit the model's context;
- reasoning: the model or its filter refuses to answer, which asking the same again does not change;
- unforeseen, so a person: the key, the account or the address is wrong. Only a person can set it, and a repair step
  would only ask again.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from runs.canonical import plain
from runs.errors import DataError, ReasoningError, RecoverableError, StepError

LONGEST_WORDS = 300  # characters of what a provider says
LONGEST_WAIT = 86_400.0  # seconds: nobody's Retry-After is trusted beyond a day


class Kind(enum.StrEnum):
    STATUS = "status"  # an answer that is no success
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    CUT = "cut"  # the answer broke off
    UNREADABLE = "unreadable"  # an answer that is no completion
    LARGE = "large"
    REFUSAL = "refusal"
    LENGTH = "length"  # the reply was cut at its limit of tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happened. `words` are the provider's, untrusted and without keys; header names are lower case."""

    kind: Kind
    status: int = 0
    code: str = ""
    words: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


_AGAIN = (408, 409, 425, 429)
_KEY = (401, 403)
_PAY = (
    "insufficient_quota",
    "billing",
    "credit_balance",
    "spend_limit",
)  # codes: the words of a 429 also say it
_CONTEXT = re.compile(
    r"context_length_exceeded|maximum context length|context window|context size|prompt is too long"
    r"|reduce the length of the messages|exceeds? the context|too many tokens",
    re.IGNORECASE,
)
_FILTER = ("content_filter", "content_policy", "responsible_ai", "safety")


def error_of(fault: Fault, *, provider: str, setting: str, now: datetime) -> StepError:
    """The error that the engine judges. `setting` is where the provider's key is set."""
    error = _error(fault, provider, setting, now)
    error.unbilled = fault.kind in (Kind.STATUS, Kind.CONNECTION)
    return error


def _error(fault: Fault, provider: str, setting: str, now: datetime) -> StepError:
    says = _says(fault.words)
    match fault.kind:
        case Kind.STATUS:
            return _refused(fault, f"{provider} answered {fault.status}", provider, setting, now)
        case Kind.CONNECTION:
            return RecoverableError(f"{provider} could not be reached{says}")
        case Kind.TIMEOUT:
            return RecoverableError(f"{provider} gave no answer in time{says}")
        case Kind.CUT:
            return RecoverableError(f"{provider} broke off in the middle of its answer{says}")
        case Kind.UNREADABLE:
            return RecoverableError(f"{provider} answered with something that is no completion{says}")
        case Kind.LARGE:
            return DataError(f"{provider} answered with more than is taken{says}", where="reply")
        case Kind.REFUSAL:
            return ReasoningError(f"The model at {provider} refuses to answer{says}", where="refusal")
        case Kind.LENGTH:
            return DataError(
                f"The reply from {provider} was cut off at its limit of tokens: raise max_tokens",
                where="parameters.max_tokens",
            )


def _refused(fault: Fault, answered: str, provider: str, setting: str, now: datetime) -> StepError:
    says, status, told = _says(fault.words), fault.status, f"{fault.code} {fault.words}".lower()
    if (
        status == 402
        or any(mark in fault.code.lower() for mark in _PAY)
        or "credit balance is too low" in told
    ):
        return StepError(f"{answered}: the account of {setting} has no credit left{says}", where="account")
    if status in _AGAIN or status >= 500:
        return RecoverableError(f"{answered}{says}", retry_after=retry_after(fault.headers, now))
    if status in _KEY and not _filtered(fault):
        return StepError(f"{answered}: it does not accept the key, set {setting}{says}", where=setting)
    if _filtered(fault):
        return ReasoningError(f"{answered}: its filter refuses the request{says}", where="refusal")
    if status == 413 or _CONTEXT.search(told):
        return DataError(f"{answered}: the request does not fit the model's context{says}", where="context")
    if status < 400:
        return StepError(f"{answered} and points elsewhere: set its address in MODEL_PROVIDERS", where="url")
    return DataError(f"{answered}{says}", where="model" if status == 404 else "request")


def _filtered(fault: Fault) -> bool:
    return any(mark in fault.code.lower() for mark in _FILTER)


def _says(words: str) -> str:
    """The provider's sentence, on one line, cut."""
    line = " ".join(str(plain(words)).split())
    if not line:
        return ""
    return f". It says: {line if len(line) <= LONGEST_WORDS else line[: LONGEST_WORDS - 1] + '…'}"


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds the provider asks to wait: `retry-after-ms`, or Retry-After as seconds or as an HTTP date.

    RFC 9110, 10.2.3. Never below 0 nor above LONGEST_WAIT; None when there is nothing that can be read.
    """
    exact = _number(headers.get("retry-after-ms", ""))
    if exact is not None:
        return _bounded(exact / 1000)
    given = headers.get("retry-after", "").strip()
    seconds = _number(given)
    if seconds is not None:
        return _bounded(seconds)
    try:
        moment = parsedate_to_datetime(given)
    except (ValueError, TypeError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _bounded((moment - now).total_seconds())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_WAIT)
