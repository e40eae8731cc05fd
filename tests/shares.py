"""Which tests are run by one process, one after the other, when several processes share them (`make test`).

What hurts processes stands in one share and what looks at a whole console in another, so that expensive fixtures are
made once and no fault strikes beside another; every other file is a share of its own. Runs nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdist.scheduler import LoadScopeScheduling

from tests.faults import counts

# By the beginnings of their paths; the longest shares come first, short ones fill what is left at the end.
_LONG = (
    ("faults", ("tests/faults/", "tests/deploys/")),
    ("console", ("tests/setup/", "tests/browser/")),
    ("bench", ("tests/bench/",)),  # it starts worlds of its own, and asserts no time
    ("model", ("tests/model/",)),
)
_IN_A_SOAK = {"console": "faults"}  # which holds exact figures: no two of these are timed against each other
_EACH_ALONE = ("tests/model/test_model.py",)  # its shards are shares of their own
_WAITS = (
    "tests/faults/test_backlog.py",
)  # in a soak ten minutes in which nobody works: others need not wait for it


def share_of(test: str) -> str:
    """The share of a test, given as tests/folder/test_file.py::name."""
    file = test.split("::", 1)[0]
    if file in _EACH_ALONE:
        return test
    if file in _WAITS and counts.soaking():
        return file
    for name, beginnings in _LONG:
        if file.startswith(beginnings):
            return _IN_A_SOAK.get(name, name) if counts.soaking() else name
    return file


def place_of(test: str) -> tuple[int, str, str]:
    """Sorts tests by their shares, and in these by their folders: what a folder has made is ended with its tests."""
    place = next((place for place, (_, begin) in enumerate(_LONG) if test.startswith(begin)), len(_LONG))
    folder = test.split("::", 1)[0].rpartition("/")[0]
    return place, share_of(test), folder


class ByShare(LoadScopeScheduling):  # type: ignore[misc]  # not typed
    """Gives the next share to whoever is nearly done with one, in the order of the collection."""

    def __init__(self, config: Any, log: Any = None) -> None:
        config.option.loadscopereorder = False  # it would begin with the share of the most tests
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)


def told_to_share(arguments: Sequence[str]) -> bool:
    """Whether a command line of pytest asks for several processes: `-n 2`, `-n2`, `--numprocesses=2`."""
    words = " ".join(arguments).replace("--numprocesses", "-n").replace("=", " ").split()
    asked = [
        one[2:] or next(iter(words[place + 1 :]), "0") for place, one in enumerate(words) if one[:2] == "-n"
    ]
    return bool(asked) and asked[-1] != "0"
