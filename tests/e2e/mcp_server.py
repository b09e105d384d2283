"""A small MCP server over HTTP, with one tool that says what the weather is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_TOOL = {
    "name": "weather",
    "description": "The weather",
    "inputSchema": {"type": "object", "properties": {"city": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = _result(asked)
        if "id" not in asked:
            self._reply(202, b"")
        else:
            body = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
            self._reply(200, json.dumps(body).encode())

    def do_GET(self) -> None:
        self._reply(405, b"")

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Nothing."""


def _result(asked: dict[str, Any]) -> dict[str, Any]:
    if asked["method"] == "initialize":
        return {
            "protocolVersion": asked["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "weather", "version": "1"},
        }
    if asked["method"] == "tools/list":
        return {"tools": [_TOOL]}
    if asked["method"] == "tools/call":
        city = asked["params"]["arguments"].get("city")
        return {"content": [{"type": "text", "text": f"SUNNY in {city}"}]}
    return {}


@contextmanager
def mcp_server() -> Iterator[str]:
    """Its URL, while it runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/mcp"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
