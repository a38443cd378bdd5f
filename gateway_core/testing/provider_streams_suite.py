"""What must hold of every provider's streams, however they are written, wherever they break off and whoever leaves
(X7 to X9, E4, E6), as a test class: subclass it as `provider_faults_suite.ProviderFaultsSuite`.

The upstream's plain script must answer with the words `word0 word1 …`, an event each.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from gateway_core.errors import Unavailable
from gateway_core.ports import Provider
from gateway_core.testing.provider_suite import ask, chat, choices_of, stream_of
from gateway_core.testing.upstream_handle import ScriptedHandle
from gateway_core.types import Route

TEXT = "naïve 漢字 😀 text"
_BREAKS = 16
"""At how many places a stream is broken off, in each way."""


class ProviderStreamsSuite:
    """The contract of what a provider streams."""

    #: Its name at the API.
    model: ClassVar[str]
    #: A script whose stream has the words word0 and word1, and then an error.
    two_words_and_an_error: ClassVar[Mapping[str, Any]]

    @pytest.fixture
    def route(self) -> Route:
        """The model's."""
        return Route("mine", self.model)

    @pytest.mark.parametrize(
        "script",
        [
            {"split": 1},
            {"split": 3, "line_end": "\r\n"},
            {"split": 7, "line_end": "\r"},
            {"split": 11, "comments": True},
            {"line_end": "\n"},
            {"line_end": "\r\n", "comments": True},
            {"split": 100_000},
            {"until_close": True},
            {"gap_ms": 1},
        ],
    )
    async def test_X7_X8_X9_a_stream_is_the_same_however_it_is_written(
        self, provider: Provider, api: ScriptedHandle, route: Route, script: dict[str, Any]
    ) -> None:
        api.script(self.model, text=TEXT, times=1)
        expected = choices_of(await stream_of(provider, chat(stream=True), route))
        api.script(self.model, text=TEXT, **script)
        chunks = await stream_of(provider, chat(stream=True), route)
        assert choices_of(chunks) == expected
        assert "".join(piece for chunk in chunks for piece in chunk.texts) == TEXT

    async def test_E4_a_stream_broken_off_at_any_byte_raises_after_what_had_come(
        self, provider: Provider, api: ScriptedHandle, route: Route
    ) -> None:
        await stream_of(provider, chat(stream=True), route)
        whole = api.log()[0]["sent"]
        for kind in ("reset_at", "close_at"):
            for at in range(1, whole - 10, whole // _BREAKS):
                api.script(self.model, **{kind: at}, times=1)
                texts: list[str] = []
                with pytest.raises(Unavailable):
                    await self._read_into(texts, provider, route)
                assert texts == [f"{' ' if number else ''}word{number}" for number in range(len(texts))]

    @pytest.mark.parametrize("split", [None, 1, 100_000])
    async def test_E4_what_came_before_an_error_is_delivered_however_it_was_read(
        self, provider: Provider, api: ScriptedHandle, route: Route, split: int | None
    ) -> None:
        api.script(self.model, **self.two_words_and_an_error, split=split)
        texts: list[str] = []
        with pytest.raises(Unavailable):
            await self._read_into(texts, provider, route)
        assert texts == ["word0", " word1"]

    async def test_E4_a_stream_without_events_is_never_a_success(
        self, provider: Provider, api: ScriptedHandle, route: Route
    ) -> None:
        api.script(self.model, events=[])
        with pytest.raises(Unavailable):
            await stream_of(provider, chat(stream=True), route)

    async def test_E6_a_stream_that_is_left_is_cut_at_the_server(
        self, provider: Provider, api: ScriptedHandle, route: Route
    ) -> None:
        api.script(self.model, words=1_000, gap_ms=5)
        stream = await provider.stream(chat(stream=True), route, None)
        await anext(stream)
        await stream.aclose()
        await _client_gone(api)

    async def test_E6_a_plain_call_that_is_cancelled_is_cut_at_the_server(
        self, provider: Provider, api: ScriptedHandle, route: Route
    ) -> None:
        api.script(self.model, hang="before_head")
        task = asyncio.create_task(ask(provider, chat(), route))
        await asyncio.to_thread(api.wait_for, lambda log: len(log) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _client_gone(api)

    async def _read_into(self, texts: list[str], provider: Provider, route: Route) -> None:
        async for batch in await provider.stream(chat(stream=True), route, None):
            texts += [text for chunk in batch for text in chunk.texts]


async def _client_gone(api: ScriptedHandle) -> None:
    await asyncio.to_thread(api.wait_for, lambda log: log[-1]["state"] == "client_gone")
