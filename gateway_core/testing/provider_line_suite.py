"""The whole line to a provider's API and back: openai's form for a client, and what the ledger says (E, K, U, X).

Subclass it as `provider_faults_suite.ProviderFaultsSuite`, with `api_process` besides: the same upstream, as long as
the class lasts.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import httpx2
import pytest

from gateway_core.testing.line import Line, events, text_of
from gateway_core.testing.line import line as line_to
from gateway_core.testing.server import PATIENCE
from gateway_core.testing.upstream_handle import ScriptedHandle

BOTH = pytest.mark.parametrize("stream", [False, True])


class ProviderLineSuite:
    """A gateway in front of the strict upstream, with one model: `priced`."""

    #: The plugin's entry point.
    plugin: ClassVar[str]
    #: The model's name at the API.
    model: ClassVar[str]
    #: TOML: what the gateway is told of the model.
    priced: ClassVar[str]

    def error(self, message: str) -> str:
        """The API's error of a 400, with this message."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def served(cls, api_process: ScriptedHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
        """Serves as long as the class lasts."""
        home = tmp_path_factory.mktemp("line") / "home"
        with line_to(home, api_process, plugin=cls.plugin, model=cls.model, priced=cls.priced) as served:
            yield served

    @pytest.fixture
    def line(self, served: Line, api: ScriptedHandle) -> Line:
        """The same, its upstream's scripts and log empty."""
        del api
        return served

    def test_K1_K2_nothing_of_the_clients_headers_goes_upstream(self, line: Line) -> None:
        own = {"Authorization": f"Bearer {line.gateway.key}", "Cookie": "a=b", "X-Secret": "of the client's"}
        with httpx2.Client(base_url=line.gateway.url, headers=own, timeout=PATIENCE) as http:
            assert http.post("/v1/chat/completions", json=line.body()).status_code == 200
        (entry,) = line.upstream.log()
        assert {"cookie", "x-secret"}.isdisjoint(entry["headers"])
        assert line.gateway.key not in str(entry)
        assert line.upstream.key in str(entry["headers"])

    @pytest.mark.parametrize("asked", [False, True])
    def test_X1_X2_X3_a_stream_as_openai_writes_it(self, line: Line, asked: bool) -> None:
        options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
        answer = line.call(stream=True, n=2, **options)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "event:" not in answer.text
        *chunks, done = events(answer.text)
        assert done == "[DONE]"
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
        reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
        assert [reason for reason in reasons if reason] == ["stop", "stop"]
        assert [bool(chunk.get("usage")) for chunk in chunks] == [False] * (len(chunks) - 1) + [asked]
        assert [chunk["choices"] == [] for chunk in chunks] == [False] * (len(chunks) - 1) + [asked]

    @BOTH
    @pytest.mark.parametrize(
        ("status", "seen", "code"),
        [
            (400, 400, "invalid_request"),
            (413, 413, "request_too_large"),
            (401, 503, "provider_error"),
            (404, 503, "provider_error"),
            (429, 429, "provider_rate_limited"),
            (503, 503, "provider_error"),
            (529, 503, "provider_error"),
        ],
    )
    def test_E1_E2_E3_E7_each_status_is_the_contracts(
        self, line: Line, status: int, seen: int, code: str, stream: bool
    ) -> None:
        line.upstream.script(self.model, status=status, body=self.error("it is bad"), headers={"retry-after": "6.2"})
        answer = line.call(stream=stream)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (seen, code, None)
        assert ("it is bad" in error["message"]) == (seen in (400, 413))
        if status in (429, 503, 529):
            assert answer.headers["retry-after"] == "7"

    @BOTH
    @pytest.mark.parametrize("body", ["nonsense", "<html>", "{}"])
    def test_E3_nonsense_is_the_providers_failure(self, line: Line, body: str, stream: bool) -> None:
        line.upstream.script(self.model, body=body)
        answer = line.call(stream=stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")

    @pytest.mark.parametrize("how", ["reset_at", "close_at"])
    def test_E4_a_stream_that_breaks_off_ends_with_an_error(self, line: Line, how: str) -> None:
        line.upstream.script(self.model, words=50, **{how: 1500})
        *before, last = events(line.call(stream=True).text)
        assert last["error"]["code"] == "provider_error"
        assert "word1" in text_of(before)
        assert not any(choice["finish_reason"] for event in before for choice in event["choices"])

    def test_E6_U2_a_client_that_leaves_pays_for_what_it_got(self, line: Line) -> None:
        line.upstream.script(self.model, words=400, gap_ms=5)
        with line.http.stream("POST", "/v1/chat/completions", json=line.body(stream=True)) as answer:
            request_id = answer.headers["x-request-id"]
            for one in answer.iter_lines():
                if "word9" in one:
                    break
        line.upstream.wait_for(lambda log: log[-1]["state"] == "client_gone")
        row = line.row(request_id)
        assert (row["outcome"], row["stream_state"]) == ("cut", "client_disconnect")
        assert 5 <= row["output"] <= 100
