"""Whether an error of the database says that it could not answer just now, or that something is wrong with what it was
asked. Pure; decides nothing.

Django has one class for both: a lost connection is an OperationalError, and so is a variable that a function of ours
has not assigned (55000). The first passes by itself, and whoever looks next goes on. The second comes again every time:
nobody foresaw it, so a person is asked.
"""

from __future__ import annotations

from django.db import InterfaceError, OperationalError

# By SQLSTATE: 54 a statement or a stack too large, 55 an object that is not in the state it must be in, 0A what this
# server cannot do. Of 55 a lock that was not there in time passes (55P03), as does an object in use (55006).
_DEFECTS = ("54", "55", "0A")
_PASSING = ("55P03", "55006")


def away(error: BaseException) -> bool:
    """True when nothing is wrong with what was asked: the connection is lost, or the server cannot answer now."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError):
        return False
    state = str(getattr(error.__cause__, "sqlstate", None) or "")
    return state in _PASSING or not state.startswith(_DEFECTS)
