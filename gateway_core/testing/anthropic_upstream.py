"""An upstream that speaks Anthropic's Messages API, strict in what it takes and scripted in what it gives.

    python -m gateway_core.testing.anthropic_upstream --port 0 [--key sk-ant-upstream-test]

prints its port. POST /v1/messages is the API; the control is that of `scripted_upstream`.
"""

import json
import sys

from gateway_core.testing.anthropic_rules import check
from gateway_core.testing.anthropic_script import AnthropicScript, events_of, message_of
from gateway_core.testing.anthropic_types import Refused
from gateway_core.testing.scripted_upstream import Exchange, Reply, ScriptedUpstream, serve

KEY = "sk-ant-upstream-test"
VERSIONS = ("2023-06-01", "2026-10-21")


class AnthropicUpstream(ScriptedUpstream[AnthropicScript]):
    """The Messages API."""

    script_type = AnthropicScript

    def __init__(self, key: str = KEY) -> None:
        super().__init__()
        self._key = key

    def serves(self, path: str) -> bool:
        """Everything below a version."""
        return path.startswith("/v1")

    def take(self, exchange: Exchange) -> Reply | tuple[AnthropicScript, bool]:
        """By its path, its headers and its body."""
        headers = exchange.headers
        if exchange.path != "/v1/messages":
            return _error(404, "not_found_error", "Not found")
        if headers.get("x-api-key") != self._key:
            return _error(401, "authentication_error", "invalid x-api-key")
        version = headers.get("anthropic-version", "")
        if version not in VERSIONS:
            return _error(400, "invalid_request_error", "anthropic-version: header is required and must be a valid one")
        try:
            body = exchange.entry["body"] = check(exchange.raw, version, headers.get("content-type", ""))
        except Refused as refused:
            return _error(400, "invalid_request_error", refused.message)
        return self.next_script(body["model"]), bool(body.get("stream"))

    def whole(self, script: AnthropicScript, exchange: Exchange) -> bytes:
        """A message."""
        return json.dumps(message_of(script, exchange.entry["body"])).encode()

    def pieces(self, script: AnthropicScript, exchange: Exchange) -> list[bytes]:
        """A message's events."""
        return events_of(script, exchange.entry["body"])


def _error(status: int, kind: str, message: str) -> Reply:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_upstream"}
    return Reply(status, json.dumps(body).encode())


def main() -> None:
    """Serves until standard input ends."""
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    serve(AnthropicUpstream(arguments.get("--key", KEY)), int(arguments.get("--port", "0")))


if __name__ == "__main__":
    main()
