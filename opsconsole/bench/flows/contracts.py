"""The contracts of the benchmarks' workflows, and work that blocks. Imports no Django: child processes load this."""

from __future__ import annotations

import os
import socket
import time

from pydantic import BaseModel, ConfigDict

FILLER = "0123456789abcdef" * 15  # with the rest about 300 bytes of JSON


class Slip(BaseModel):
    """What no-op steps hand on. Different for every run and step, so that every output is stored."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int
    hop: int = 0
    mark: str = ""
    filler: str = FILLER


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Noting(BaseModel):
    """Arguments of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int
    hop: int


def block(slip: Slip) -> Slip:
    """Hold a connection to the deaf server for as long as this process lives."""
    with socket.create_connection(("127.0.0.1", int(os.environ["BENCH_DEAF"]))) as conn:
        conn.sendall(f"BLOCKED {slip.mark}\r\n\r\n".encode())
        time.sleep(3600)
    return slip
