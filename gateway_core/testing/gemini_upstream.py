"""An upstream that speaks the Gemini API's wire, strict in what it takes and scripted in what it gives.

    python -m gateway_core.testing.gemini_upstream --port 0 [--key AIza-upstream-test]

prints its port. POST /v1beta/models/MODEL:generateContent and :streamGenerateContent?alt=sse are the API; the control
is that of `scripted_upstream`.
"""

import json
import re
import sys

from gateway_core.testing.gemini_rules import Refused, check
from gateway_core.testing.gemini_script import GeminiScript, answer_of, encoded, signatures_in, stream_of
from gateway_core.testing.scripted_upstream import Exchange, Reply, ScriptedUpstream, serve

KEY = "AIza-upstream-test"
_PATH = re.compile(r"/v1beta/(?:models|tunedModels)/(?P<model>[^:/?]+):(?P<method>\w+)(?P<query>\?.*)?")


class GeminiUpstream(ScriptedUpstream[GeminiScript]):
    """The Gemini API. It remembers the signatures that it gave: one that is foreign it refuses."""

    script_type = GeminiScript

    def __init__(self, key: str = KEY) -> None:
        super().__init__()
        self._key = key
        self._issued: set[str] = set()

    def serves(self, path: str) -> bool:
        """Everything below a version."""
        return path.startswith("/v1")

    def take(self, exchange: Exchange) -> Reply | tuple[GeminiScript, bool]:
        """By its path, its key and its body."""
        found = _PATH.fullmatch(exchange.path)
        if found is None or found["method"] not in ("generateContent", "streamGenerateContent"):
            return _error({"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"})
        if "key=" in (found["query"] or ""):
            return _refused("The key belongs in a header here.")
        if exchange.headers.get("x-goog-api-key") != self._key:
            return _error(_wrong_key())
        streams = found["method"] == "streamGenerateContent"
        if streams and found["query"] != "?alt=sse":
            return _refused("Only alt=sse is served here.")
        if not exchange.headers.get("content-type", "").startswith("application/json"):
            return _refused("Content-Type must be application/json.")
        try:
            exchange.entry["body"] = check(exchange.raw, found["model"], self._issued)
        except Refused as refused:
            return _error(refused.error)
        return self.next_script(found["model"]), streams

    def whole(self, script: GeminiScript, exchange: Exchange) -> bytes:
        """A GenerateContentResponse."""
        answer = answer_of(script, exchange.entry["body"], script.model)
        self._issued.update(signatures_in(answer))
        return json.dumps(answer, indent=2).encode()

    def pieces(self, script: GeminiScript, exchange: Exchange) -> list[bytes]:
        """A GenerateContentResponse an event."""
        events = stream_of(script, exchange.entry["body"], script.model)
        self._issued.update(signatures_in(events))
        return encoded(script, events)


def _wrong_key() -> dict[str, object]:
    return {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            }
        ],
    }


def _refused(message: str) -> Reply:
    return _error({"code": 400, "message": message, "status": "INVALID_ARGUMENT"})


def _error(error: dict[str, object]) -> Reply:
    code = error["code"]
    assert isinstance(code, int)
    return Reply(code, json.dumps({"error": error}).encode())


def main() -> None:
    """Serves until standard input ends."""
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    serve(GeminiUpstream(arguments.get("--key", KEY)), int(arguments.get("--port", "0")))


if __name__ == "__main__":
    main()
