"""The people of the inbox, and no pauses of simulated agents."""

from tests.screens.conftest import _no_pauses, auditor, operator, people

__all__ = ["_no_pauses", "auditor", "operator", "people"]
