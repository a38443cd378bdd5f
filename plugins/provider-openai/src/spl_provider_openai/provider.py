"""The provider: one HTTP request a call, plain or streamed."""

import asyncio

from gateway_core.ports import LARGE_REQUEST, Chunks, ProviderParts, UpstreamRequest
from gateway_core.types import ChatRequest, Completion, Route
from gateway_core.upstream.event_chunks import EventChunks
from gateway_core.upstream.unexpected import failure_body, has_events, raise_without_events
from spl_provider_openai.answer import ChunkDecoder, Completions, decode_completion
from spl_provider_openai.faults import fault
from spl_provider_openai.quirks import Quirks
from spl_provider_openai.reader import Reader
from spl_provider_openai.request import encode_request
from spl_provider_openai.settings import OpenAISettings, endpoint, headers, vocabulary, with_key


class _Model:
    """What is known of one model: how it is asked, and what its answers are like."""

    __slots__ = ("completions", "quirks")

    def __init__(self, quirks: Quirks) -> None:
        self.quirks = quirks
        self.completions = Completions()


class OpenAIProvider:
    """An OpenAI-compatible server under one name. Raises ConfigError where its settings cannot work."""

    def __init__(self, settings: OpenAISettings, parts: ProviderParts) -> None:
        self.name = name = parts.name
        api_key = parts.api_key
        self._settings = settings
        self._fresh = None if api_key is None or isinstance(api_key, str) else api_key
        self._api_key = api_key if isinstance(api_key, str) else None
        self._upstream = parts.upstream
        self._url = endpoint(name, settings.base_url)
        #: The routes are configured, so these are few.
        self._models: dict[str, _Model] = {}
        self._headers = headers(name, settings, self._api_key)

    async def complete(self, request: ChatRequest, route: Route, output_limit: int | None) -> Completion:
        """One plain answer."""
        model = self._model(route.model)
        message, key = await self._message(request, route, output_limit, model.quirks, stream=False)
        answer = await self._upstream.ask(message)
        if answer.status != 200:
            raise fault(answer.status, answer.body, answer.retry_after, key)
        return model.completions.decode(answer.body, key)

    async def stream(self, request: ChatRequest, route: Route, output_limit: int | None) -> Chunks:
        """Starts a streamed answer: it was accepted when this returns."""
        quirks = self._model(route.model).quirks
        message, key = await self._message(request, route, output_limit, quirks, stream=True)
        response = await self._upstream.send(message)
        if response.status != 200:
            raise fault(response.status, await failure_body(response), response.retry_after, key)
        if not has_events(response.headers):
            await raise_without_events(response, lambda body: decode_completion(body, key))
        accepts = self._settings.missing_done == "accept"
        return EventChunks(response, Reader(ChunkDecoder(key), accepts_missing_done=accepts))

    def tokenizer(self, model: str) -> str | None:
        """The published vocabulary of OpenAI's own models, or the configured one."""
        return vocabulary(self._settings, model)

    def _model(self, name: str) -> _Model:
        known = self._models.get(name)
        if known is None:
            known = self._models[name] = _Model(self._settings.quirks(name))
        return known

    async def _message(
        self, request: ChatRequest, route: Route, output_limit: int | None, quirks: Quirks, *, stream: bool
    ) -> tuple[UpstreamRequest, str | None]:
        """What is sent, and the key it is asked under."""
        model = route.model
        sent, key = self._headers, self._api_key
        if self._fresh is not None:
            key = self._fresh()
            sent = with_key(sent, key)
        if request.size <= LARGE_REQUEST:
            body = encode_request(request, model, output_limit, quirks, stream=stream)
        else:
            body = await asyncio.to_thread(encode_request, request, model, output_limit, quirks, stream=stream)
        return UpstreamRequest(self._url, sent, body, route.deadlines), key
