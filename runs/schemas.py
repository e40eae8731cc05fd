"""The JSON Schema of a contract, worked out once: pydantic takes as long for it as a call's permit takes."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic import BaseModel


def schema_of(contract: type[BaseModel]) -> dict[str, Any]:
    """The contract's JSON Schema; a copy of the caller's own, because it goes to providers that may change it."""
    schema: dict[str, Any] = json.loads(_text(contract))
    return schema


@lru_cache(maxsize=512)
def _text(contract: type[BaseModel]) -> str:
    return json.dumps(contract.model_json_schema())
