"""Who sits at this command line, for the journal."""

from __future__ import annotations

import getpass


def account() -> str:
    """The name of the machine's account; never fails."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account number without a name, as some containers have
        return "unnamed account"
