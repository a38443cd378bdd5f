"""The provider: one HTTP request a call, plain or streamed, and what has to be had and kept around it."""

import asyncio
from collections.abc import Mapping, Sequence

from gateway_core.ports import LARGE_REQUEST, Chunks, Memory, ProviderParts, UpstreamRequest
from gateway_core.types import ChatRequest, Chunk, Completion, Route, Run
from gateway_core.upstream.event_chunks import EventChunks, EventReader
from gateway_core.upstream.unexpected import failure_body, has_events, raise_without_events
from spl_provider_gemini.completion import decode_completion
from spl_provider_gemini.faults import fault
from spl_provider_gemini.given import Given
from spl_provider_gemini.messages import unsigned_ids
from spl_provider_gemini.parts import links_in
from spl_provider_gemini.request import encode_request
from spl_provider_gemini.rules import ModelRules, rules_of
from spl_provider_gemini.settings import GeminiSettings, address, endpoint, headers
from spl_provider_gemini.stream import StreamDecoder


class GeminiProvider:
    """The Gemini API under one name. Raises ConfigError where its settings cannot work."""

    def __init__(self, settings: GeminiSettings, parts: ProviderParts) -> None:
        self.name = name = parts.name
        self._settings = settings
        self._api_key = parts.api_key if isinstance(parts.api_key, str) else None
        self._upstream = parts.upstream
        self._media = parts.media
        self._memory = parts.memory
        self._base = endpoint(name, settings.base_url)
        self._headers = headers(name, settings, self._api_key)
        # One entry a configured route, or two: plain and streamed.
        self._rules: dict[str, ModelRules] = {}
        self._addresses: dict[tuple[str, bool], str] = {}

    async def complete(self, request: ChatRequest, route: Route, output_limit: int | None) -> Completion:
        """One plain answer."""
        message, renamed = await self._message(request, route, output_limit, stream=False)
        answer = await self._upstream.ask(message)
        if answer.status != 200:
            raise fault(answer.status, answer.body, answer.retry_after, self._api_key)
        completion, signatures = decode_completion(answer.body, request.choices, renamed, self._api_key)
        if signatures:
            await _keep(self._memory, request.account_id, route.model, signatures)
        return completion

    async def stream(self, request: ChatRequest, route: Route, output_limit: int | None) -> Chunks:
        """Starts a streamed answer: it was accepted when this returns."""
        message, renamed = await self._message(request, route, output_limit, stream=True)
        response = await self._upstream.send(message)
        if response.status != 200:
            raise fault(response.status, await failure_body(response), response.retry_after, self._api_key)
        if not has_events(response.headers):
            await raise_without_events(response, lambda body: decode_completion(body, 1, renamed, self._api_key))
        decoder = StreamDecoder(request.choices, renamed, self._api_key)
        return EventChunks(response, _Reader(decoder, self._memory, request.account_id, route.model))

    def tokenizer(self, model: str) -> str | None:
        """None: no vocabulary of these models is published."""
        del model
        return None

    async def _message(
        self, request: ChatRequest, route: Route, output_limit: int | None, *, stream: bool
    ) -> tuple[UpstreamRequest, Mapping[str, str]]:
        """What is sent, and the functions that had to be renamed in it."""
        given = await self._given(request, route)
        if request.size <= LARGE_REQUEST:
            body, renamed = encode_request(request, given, output_limit)
        else:  # it takes longer than other calls may wait
            body, renamed = await asyncio.to_thread(encode_request, request, given, output_limit)
        url = self._address(route.model, stream=stream)
        return UpstreamRequest(url, self._headers, body, route.deadlines), renamed

    def _address(self, model: str, *, stream: bool) -> str:
        known = self._addresses.get((model, stream))
        if known is None:
            known = self._addresses[model, stream] = address(self._base, model, stream=stream)
        return known

    async def _given(self, request: ChatRequest, route: Route) -> Given:
        model = route.model
        rules = self._rules.get(model)
        if rules is None:
            rules = self._rules[model] = rules_of(model, self._settings.models)
        links = links_in(request.body["messages"], self._settings.google_fetches) if request.media else []
        signatures: dict[str, str] = {}
        if rules.signatures != "none" and (ids := unsigned_ids(request.body["messages"])):
            keys = {_key(model, call): call for call in ids}
            kept = await self._memory.recall(request.account_id, list(keys))
            signatures = {keys[key]: value.decode() for key, value in kept.items()}
        return Given(
            model=request.model,
            rules=rules,
            held=route.max_output_tokens,
            media=await self._media.fetch(request.account_id, links) if links else {},
            signatures=signatures,
            google_fetches=self._settings.google_fetches,
            include_thoughts=self._settings.include_thoughts,
            safety=self._settings.safety,
        )


def _key(model: str, call: str) -> str:
    """Of a signature in the memory. What another kind of provider kept under the same id is none of ours, and what
    another model signed may not be valid here."""
    return f"thought signature {model} {call}"


class _Reader(EventReader):
    """`event_chunks.Reader` of Gemini's events. None of them is the last: the body's end is."""

    __slots__ = ("_account_id", "_decoder", "_memory", "_model")

    def __init__(self, decoder: StreamDecoder, memory: Memory, account_id: str, model: str) -> None:
        super().__init__(decoder.decode)
        self._decoder = decoder
        self._memory = memory
        self._account_id = account_id
        self._model = model

    def run_from(self, events: Sequence[bytes], at: int) -> tuple[Run | None, int]:
        """Those that are alike, their counts aside."""
        return self._decoder.run(events, at)

    def keeps(self) -> bool:
        """A call was signed, and a later one must say it again."""
        return bool(self._decoder.signatures)

    async def keep(self) -> None:
        """Keeps it."""
        await _keep(self._memory, self._account_id, self._model, self._decoder.signatures)
        self._decoder.signatures = {}

    def end(self) -> Sequence[Chunk]:
        """What is known only when all of it is there."""
        return self._decoder.finish()


async def _keep(memory: Memory, account_id: str, model: str, signatures: Mapping[str, bytes]) -> None:
    await memory.keep(account_id, {_key(model, call): value for call, value in signatures.items()})
