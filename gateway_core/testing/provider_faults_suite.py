"""What a refusal or failure of its API must become in every provider (E), and what of ours goes there (K), as a test
class. Subclass it beside a conftest with the fixtures of `provider_fixtures`, a `make` and a `provider` made by it:

    class TestMine(ProviderFaultsSuite):
        model = "my-model"
        own_headers = {"x-key": KEY}

        @pytest.fixture
        def api(self, my_upstream): return my_upstream   # a ScriptedHandle

        def error(self, message): ...                    # a body, about the client's content
"""

from collections.abc import Mapping
from email.utils import formatdate
from typing import ClassVar

import pytest

from gateway_core.errors import ConfigError, ContentRefused, ProviderFault, RouteRefused, Throttled, Unavailable
from gateway_core.ports import Provider
from gateway_core.testing.provider_fixtures import Make
from gateway_core.testing.provider_suite import ask, chat
from gateway_core.testing.upstream_handle import ScriptedHandle
from gateway_core.types import Deadlines, Route

BOTH = pytest.mark.parametrize("stream", [False, True])
NO_WORDS = "The provider refused the request."


class ProviderFaultsSuite:
    """The contract of what a provider raises."""

    #: Its name at the API.
    model: ClassVar[str]
    #: The API's own headers, in lower case, the key among them.
    own_headers: ClassVar[Mapping[str, str]]

    def error(self, message: str) -> str:
        """The API's error of a 400, with this message."""
        raise NotImplementedError

    @pytest.fixture
    def route(self) -> Route:
        """The model's."""
        return Route("mine", self.model)

    # ------------------------------------------------------------ E1, E3: whose fault it is

    @BOTH
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, ContentRefused),
            (413, ContentRefused),
            (422, ContentRefused),
            (401, RouteRefused),
            (402, RouteRefused),
            (403, RouteRefused),
            (404, RouteRefused),
            (429, Throttled),
            (201, Unavailable),
            (302, Unavailable),
            (408, Unavailable),
            (500, Unavailable),
            (503, Unavailable),
            (529, Unavailable),
        ],
    )
    async def test_E1_E3_each_status_is_its_fault(
        self,
        provider: Provider,
        api: ScriptedHandle,
        route: Route,
        status: int,
        kind: type[ProviderFault],
        stream: bool,
    ) -> None:
        api.script(self.model, status=status, body=self.error("it is bad"), headers={"retry-after": "7"})
        with pytest.raises(kind) as met:
            await ask(provider, chat(stream=stream), route)
        if isinstance(met.value, ContentRefused):
            assert (met.value.message, met.value.status) == ("it is bad", 413 if status == 413 else 400)
        else:
            assert "it is bad" not in met.value.detail
            assert met.value.detail.startswith(f"answered {status}")
        if status in (429, 503):
            assert met.value.retry_after == 7.0

    @BOTH
    @pytest.mark.parametrize("key", ["a-wrong-key", None])
    async def test_E1_K1_a_wrong_key_is_the_routes_fault(
        self, make: Make, api: ScriptedHandle, route: Route, key: str | None, stream: bool
    ) -> None:
        del api  # its rules are asked, and no script of it
        with pytest.raises(RouteRefused) as met:
            await ask(make(api_key=key), chat(stream=stream), route)
        assert "a-wrong-key" not in str(met.value)

    @pytest.mark.parametrize(
        ("said", "told"), [("see https://x.example:8000/y for\r\nmore", "see … for more"), ("it is KEY.", "it is ….")]
    )
    async def test_E1_E7_a_refusals_words_reach_the_client_without_what_is_ours(
        self, provider: Provider, api: ScriptedHandle, route: Route, said: str, told: str
    ) -> None:
        api.script(self.model, status=400, body=self.error(said.replace("KEY", api.key)))
        with pytest.raises(ContentRefused) as met:
            await ask(provider, chat(), route)
        assert met.value.message == told

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ('{"error": "plain words"}', "plain words"),
            ('{"error": {"message": 5, "type": "a b", "code": {}, "status": [], "details": 5}}', NO_WORDS),
            ("<html>nginx</html>", NO_WORDS),
            ("[" * 5000, NO_WORDS),
            ("[]", NO_WORDS),
            ("", NO_WORDS),
        ],
    )
    async def test_E1_E7_a_refusal_in_any_form_is_one(
        self, provider: Provider, api: ScriptedHandle, route: Route, body: str, told: str
    ) -> None:
        api.script(self.model, status=400, body=body)
        with pytest.raises(ContentRefused) as met:
            await ask(provider, chat(), route)
        assert met.value.message == told

    @BOTH
    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            ("<html>hello</html>", "text/html"),
            ("<html>hello</html>", "application/json"),
            ('{"error": "x"}', "application/json"),
            ('{"error": {"message": "x", "code": 500}}', "application/json"),
            ("{}", "application/json"),
            ("[{}]", "application/json"),
            ("", "application/json"),
            ("[" * 5000, "application/json"),
        ],
    )
    async def test_E3_a_200_that_is_no_answer_is_a_failure(
        self, provider: Provider, api: ScriptedHandle, route: Route, body: str, content_type: str, stream: bool
    ) -> None:
        api.script(self.model, body=body, content_type=content_type)
        with pytest.raises(Unavailable):
            await ask(provider, chat(stream=stream), route)

    @BOTH
    @pytest.mark.parametrize("body", ["<html><h1>502 Bad Gateway</h1></html>", "", "{"])
    async def test_E3_a_proxys_words_are_a_failure(
        self, provider: Provider, api: ScriptedHandle, route: Route, body: str, stream: bool
    ) -> None:
        api.script(self.model, status=502, body=body, content_type="text/html")
        with pytest.raises(Unavailable, match=r"answered 502$"):
            await ask(provider, chat(stream=stream), route)

    @BOTH
    @pytest.mark.parametrize("hang", ["before_head", "after_head"])
    async def test_E3_a_provider_that_never_answers(
        self, provider: Provider, api: ScriptedHandle, hang: str, stream: bool
    ) -> None:
        api.script(self.model, hang=hang)
        with pytest.raises(Unavailable, match="no first byte within"):
            await ask(provider, chat(stream=stream), Route("mine", self.model, Deadlines(first_byte=0.1)))

    # ------------------------------------------------------------ E2: when to come again

    @BOTH
    @pytest.mark.parametrize(
        ("header", "seconds"),
        [("7", 7.0), ("0.5", 0.5), ("", None), ("soon", None), (formatdate(4e9, usegmt=True), 86_400.0)],
    )
    async def test_E2_a_429_says_when(
        self, provider: Provider, api: ScriptedHandle, route: Route, header: str, seconds: float | None, stream: bool
    ) -> None:
        headers = {"retry-after": header} if header else {}
        api.script(self.model, status=429, body=self.error("too much"), headers=headers)
        with pytest.raises(Throttled) as met:
            await ask(provider, chat(stream=stream), route)
        assert met.value.retry_after == seconds

    # ------------------------------------------------------------ K: what of ours goes there

    @BOTH
    async def test_K1_K2_the_headers_are_ours(
        self, make: Make, api: ScriptedHandle, route: Route, stream: bool
    ) -> None:
        await ask(make(headers={"X-Team": "a b"}), chat(stream=stream), route)
        headers = api.log()[-1]["headers"]
        assert headers.pop("user-agent").startswith("spl-gateway/")
        assert headers.pop("host") == f"127.0.0.1:{api.port}"
        assert int(headers.pop("content-length")) > 0
        assert headers == {
            "accept": "application/json, text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "x-team": "a b",
            **self.own_headers,
        }

    @pytest.mark.parametrize(
        ("settings", "where"),
        [
            ({"base_url": "example.com/v1"}, "base_url"),
            ({"base_url": "ftp://example.com"}, "base_url"),
            ({"base_url": "https://user:secret@example.com"}, "base_url"),
            ({"base_url": "https://example.com?key=secret"}, "base_url"),
            ({"headers": {"x y": "secret"}}, "headers"),
            ({"headers": {"x": "secret\r\ny: z"}}, "headers"),
            ({"headers": {"Host": "secret"}}, "headers"),
            ({"api_key": "secret\n"}, "api_key"),
        ],
    )
    def test_K1_settings_that_cannot_work_are_refused_by_name(
        self, make: Make, settings: dict[str, str], where: str
    ) -> None:
        with pytest.raises(ConfigError) as refused:
            make(**settings)
        assert refused.value.where.startswith(f"providers.mine.{where}")
        assert "secret" not in str(refused.value)
