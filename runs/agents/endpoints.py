"""Where a provider of models is reached: a value made from the settings. Reads no environment, opens nothing."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Kind(enum.StrEnum):
    """Whose protocol an endpoint speaks."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


OFFICIAL = {Kind.OPENAI: "https://api.openai.com/v1", Kind.ANTHROPIC: "https://api.anthropic.com"}
RESERVED = ("simulated", "recorded")  # names of providers that are no endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One provider: "openai/gpt-4o-mini" is asked at the endpoint named "openai".

    `key` is in no repr. `key_setting` is what a person sets to change it. With `stream` the reply comes in pieces,
    so that a connection that went dead is noticed while the model still writes.
    """

    name: str
    kind: Kind
    url: str
    key: str = field(default="", repr=False)
    key_setting: str = ""
    stream: bool = False

    @property
    def official(self) -> bool:
        return self.url == OFFICIAL[self.kind]

    def hidden(self, text: str) -> str:
        """The text without the key, for whatever is recorded, logged or shown. Dummy keys of a few letters stay."""
        return text.replace(self.key, "[key]") if len(self.key) >= SHORTEST_KEY else text


SHORTEST_KEY = 8  # characters; "none" and "local" are what servers without keys are given
