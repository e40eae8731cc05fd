"""What the fault tests believe of the processes that they start."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from opsconsole.embedded.processes import wait_until
from opsconsole.supervisor import children
from tests.faults import nursery


def _child() -> int:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    return pid


def test_a_child_with_the_number_of_one_that_has_ended_is_alive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else it is never killed, and a test waits for a loss that does not come: numbers come round within a soak."""
    pid = _child()
    monkeypatch.setattr(children, "fork", lambda *_: pid)
    monkeypatch.setattr(nursery, "_codes", {pid: -signal.SIGKILL})
    try:
        order = {"name": "victim", "log": str(tmp_path / "log"), "env": {}, "settings": {}, "arguments": []}
        assert nursery._start(order) == pid
        assert nursery._code(pid) is None
    finally:
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: nursery._code(pid) == -signal.SIGKILL, 10)
