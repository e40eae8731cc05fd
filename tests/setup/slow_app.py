"""An ASGI app for the front's tests: `/slow` blocks its lane until the file that it names is there, everything else
tells what it was sent."""

import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await _echo(receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"] == "/slow":
        while not os.path.exists(scope["query_string"]):  # noqa: ASYNC240
            time.sleep(0.01)  # noqa: ASYNC251  (nothing else of this process goes on: the worst a page can do)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    told = {"headers": headers, "client": scope["client"], "length": len(body), "path": scope["path"]}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
