"""An upstream that speaks OpenAI's wire, strict in what it takes and scripted in what it gives, as its own process.

    python -m gateway_core.testing.openai_upstream --port 0 [--key sk-upstream-test]

prints its port. POST /v1/chat/completions is the API; the control is that of `scripted_upstream`.
"""

import json
import sys
from typing import Any

from gateway_core.testing.openai_rules import Refused, check
from gateway_core.testing.openai_script import Script, events_of, plain_body
from gateway_core.testing.scripted_upstream import Exchange, Reply, ScriptedUpstream, serve

KEY = "sk-upstream-test"


class OpenAIUpstream(ScriptedUpstream[Script]):
    """OpenAI's API, or a compatible server: by the model's name."""

    script_type = Script

    def __init__(self, key: str = KEY) -> None:
        super().__init__()
        self._key = key

    def serves(self, path: str) -> bool:
        """Chat completions, and nothing else."""
        return path == "/v1/chat/completions"

    def take(self, exchange: Exchange) -> Reply | tuple[Script, bool]:
        """By its key and its body."""
        if exchange.headers.get("authorization") != f"Bearer {self._key}":
            error = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "param": None}
            return _error(401, {**error, "code": "invalid_api_key"})
        try:
            body = exchange.entry["body"] = check(exchange.raw, exchange.headers.get("content-type", ""))
        except Refused as refused:
            return _error(400, refused.error)
        return self.next_script(body["model"]), bool(body.get("stream"))

    def whole(self, script: Script, exchange: Exchange) -> bytes:
        """A chat completion."""
        return plain_body(script, exchange.entry["body"])

    def pieces(self, script: Script, exchange: Exchange) -> list[bytes]:
        """A chunk an event."""
        return events_of(script, exchange.entry["body"])


def _error(status: int, error: dict[str, Any]) -> Reply:
    return Reply(status, json.dumps({"error": error}).encode())


def main() -> None:
    """Serves until standard input ends."""
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    serve(OpenAIUpstream(arguments.get("--key", KEY)), int(arguments.get("--port", "0")))


if __name__ == "__main__":
    main()
