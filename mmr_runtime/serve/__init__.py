"""mmr as a side process: one JSON object a line on stdin and stdout (protocol 1, docs/protocol)."""

from __future__ import annotations

from mmr_runtime.serve.server import PROTOCOL, Server
from mmr_runtime.serve.socket import serve_socket

__all__ = ["PROTOCOL", "Server", "serve_socket"]
