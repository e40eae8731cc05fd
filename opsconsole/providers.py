"""Providers of models and their prices, from the environment. Every bad value is one sentence; no key is repeated.

    MODEL_PROVIDERS   openai, local=openai:http://127.0.0.1:8080/v1, claude=anthropic:https://gateway.example.com
    MODEL_KEY_LOCAL   the key of "local"; OPENAI_API_KEY and ANTHROPIC_API_KEY make the plain names known by themselves
    MODEL_STREAMS     local, claude    (whose replies are streamed)
    MODEL_PRICES      local/=0/0, openai/gpt-4o-mini=0.15/0.60/0.075   (dollars per million tokens: in/out/cached in)

An entry of MODEL_PROVIDERS that is no valid one is named by its place in the list: it may hold a password.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import NoReturn
from urllib.parse import urlsplit

from opsconsole.environment import Refused, words
from runs.agents.endpoints import OFFICIAL, RESERVED, Endpoint, Kind

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_KEY = re.compile(r"[\x21-\x7e]+")  # what may stand in a header
_SHAPE = "NAME=KIND:URL, with the kind openai or anthropic"
_DEAREST = Decimal(1_000_000)  # dollars per million tokens
Rates = tuple[int, int, int]  # micro-dollars per million tokens: in, out, cached in


def endpoints(env: Mapping[str, str] = os.environ) -> tuple[Endpoint, ...]:
    """Every provider that the environment names. Raises Refused."""
    streamed = words("MODEL_STREAMS", [], env)
    found: dict[str, Endpoint] = {}
    for name, kind, url in _named(env):
        if name in found:
            raise Refused(f"MODEL_PROVIDERS names {name!r} twice: give every provider a name of its own.")
        setting, key = _key(name, env)
        if not key and url == OFFICIAL[kind]:
            raise Refused(f"The model provider {name!r} needs a key: set {setting}.")
        found[name] = Endpoint(
            name=name, kind=kind, url=url, key=key, key_setting=setting, stream=name in streamed
        )
    _refuse_strangers(found, streamed, env)
    return tuple(found.values())


def prices(env: Mapping[str, str] = os.environ) -> dict[str, Rates]:
    """Prices by "provider/model", or by "provider/" for all of its models. Raises Refused."""
    return dict(_price(entry) for entry in words("MODEL_PRICES", [], env))


def _named(env: Mapping[str, str]) -> Iterator[tuple[str, Kind, str]]:
    named = set()
    for place, entry in enumerate(words("MODEL_PROVIDERS", [], env), start=1):
        name, kind, url = _entry(entry, place, env)
        named.add(name)
        yield name, kind, url
    for kind in Kind:
        if kind not in named and env.get(_own_setting(kind), "").strip():
            yield kind.value, kind, _plain_url(kind, env)


def _entry(entry: str, place: int, env: Mapping[str, str]) -> tuple[str, Kind, str]:
    name, given, rest = entry.partition("=")
    kind, _, url = rest.partition(":")
    if not given and name in tuple(Kind):
        return name, Kind(name), _plain_url(Kind(name), env)
    if name in RESERVED:
        raise Refused(f"MODEL_PROVIDERS: {name!r} is the console's own provider: choose another name.")
    if not _NAME.fullmatch(name) or kind not in tuple(Kind):
        raise Refused(f"MODEL_PROVIDERS: entry {place} is not of the form {_SHAPE}.")
    return name, Kind(kind), _address("MODEL_PROVIDERS", f"the URL of {name!r}", url)


def _plain_url(kind: Kind, env: Mapping[str, str]) -> str:
    """The official address, or the one that the provider's own variable gives, as everywhere else."""
    setting = f"{kind.upper()}_BASE_URL"
    given = env.get(setting, "").strip()
    return _address(setting, "its value", given) if given else OFFICIAL[kind]


def _address(setting: str, what: str, url: str) -> str:
    """http(s)://host/path and nothing else: a password or a query would be shown wherever the address is."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    plain = parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment)
    if not plain or parts.username is not None or parts.password is not None:
        raise Refused(f"{setting}: {what} is not an address of the form https://HOST:PORT/PATH.")
    return url.rstrip("/")


def _key(name: str, env: Mapping[str, str]) -> tuple[str, str]:
    """The setting that holds the provider's key, and the key; empty when there is none."""
    settings = [f"MODEL_KEY_{name.upper().replace('-', '_')}"]
    if name in tuple(Kind):
        settings.insert(0, _own_setting(Kind(name)))
    for setting in settings:
        key = env.get(setting, "").strip()
        if key and not _KEY.fullmatch(key):
            raise Refused(f"{setting} is no key: it holds spaces or characters that are not ASCII.")
        if key:
            return setting, key
    return settings[0], ""


def _own_setting(kind: Kind) -> str:
    return f"{kind.upper()}_API_KEY"


def _refuse_strangers(found: Mapping[str, Endpoint], streamed: list[str], env: Mapping[str, str]) -> None:
    """A misspelt name would otherwise be a setting that silently does nothing."""
    for name in streamed:
        if name not in found:
            raise Refused(f"MODEL_STREAMS names {name!r}, which is not in MODEL_PROVIDERS.")
    keyed = {f"MODEL_KEY_{name.upper().replace('-', '_')}" for name in found}
    for setting, key in env.items():
        if setting.startswith("MODEL_KEY_") and key.strip() and setting not in keyed:
            raise Refused(f"{setting} is set, and MODEL_PROVIDERS has no provider of that name.")


def _price(entry: str) -> tuple[str, Rates]:
    model, _, rates = entry.rpartition("=")
    provider, slash, _ = model.partition("/")
    dollars = rates.split("/")
    if not (provider and slash) or len(dollars) not in (2, 3):
        _no_price(entry)
    micros = [_micros(entry, one) for one in dollars]
    return model, (micros[0], micros[1], micros[2] if len(micros) == 3 else micros[0])


def _micros(entry: str, dollars: str) -> int:
    """Dollars as whole micro-dollars, rounded up."""
    try:
        amount = Decimal(dollars.strip())
    except InvalidOperation:
        _no_price(entry)
    if not amount.is_finite() or not 0 <= amount <= _DEAREST:
        _no_price(entry)
    return math.ceil(amount * 1_000_000)


def _no_price(entry: str) -> NoReturn:
    raise Refused(
        f"MODEL_PRICES: {entry[:80]!r} is not of the form PROVIDER/MODEL=IN/OUT in dollars per million tokens, "
        "such as openai/gpt-4o-mini=0.15/0.60."
    )
