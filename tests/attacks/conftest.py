"""A world without pauses, in which agents do their worst."""

from __future__ import annotations

from tests.escalations.conftest import admin, auditor, colleague, operator, outsider
from tests.runs.conftest import _empty_cashbox, _no_pauses, runtime

__all__ = ["_empty_cashbox", "_no_pauses", "admin", "auditor", "colleague", "operator", "outsider", "runtime"]
