"""The provider: one HTTP request a call, plain or streamed."""

from gateway_core.ports import Chunks, ProviderParts, UpstreamRequest, UpstreamResponse
from gateway_core.types import ChatRequest, Completion, Route
from gateway_core.upstream.event_chunks import EventChunks
from gateway_core.upstream.unexpected import failure_body, has_events, raise_without_events
from spl_provider_openai.answer import ChunkDecoder, decode_completion
from spl_provider_openai.faults import fault
from spl_provider_openai.quirks import Quirks
from spl_provider_openai.reader import Reader
from spl_provider_openai.request import encode_request
from spl_provider_openai.settings import OpenAISettings, endpoint, headers, vocabulary, with_key


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
        self._known: dict[str, Quirks] = {}
        self._headers = headers(name, settings, self._api_key)

    async def complete(self, request: ChatRequest, route: Route, output_limit: int | None) -> Completion:
        """One plain answer."""
        body = encode_request(request, route.model, output_limit, self._quirks(route.model), stream=False)
        response, key = await self._send(body, route)
        try:
            return decode_completion(await response.read(), key)
        finally:
            await response.close()

    async def stream(self, request: ChatRequest, route: Route, output_limit: int | None) -> Chunks:
        """Starts a streamed answer: it was accepted when this returns."""
        body = encode_request(request, route.model, output_limit, self._quirks(route.model), stream=True)
        response, key = await self._send(body, route)
        if not has_events(response.headers):
            await raise_without_events(response, lambda body: decode_completion(body, key))
        accepts = self._settings.missing_done == "accept"
        return EventChunks(response, Reader(ChunkDecoder(key), accepts_missing_done=accepts))

    def tokenizer(self, model: str) -> str | None:
        """The published vocabulary of OpenAI's own models, or the configured one."""
        return vocabulary(self._settings, model)

    def _quirks(self, model: str) -> Quirks:
        """Looked up once for each model: the routes are configured, so these are few."""
        found = self._known.get(model)
        if found is None:
            found = self._known[model] = self._settings.quirks(model)
        return found

    async def _send(self, body: bytes, route: Route) -> tuple[UpstreamResponse, str | None]:
        """Sends it: the answer, and the key it was asked under. One other than a 200 is raised as the fault it is."""
        sent, key = self._headers, self._api_key
        if self._fresh is not None:
            key = self._fresh()
            sent = with_key(sent, key)
        response = await self._upstream.send(
            UpstreamRequest(url=self._url, headers=sent, body=body, deadlines=route.deadlines)
        )
        if response.status == 200:
            return response, key
        raise fault(response.status, await failure_body(response), response.retry_after, key)
