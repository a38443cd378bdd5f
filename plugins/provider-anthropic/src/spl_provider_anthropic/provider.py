"""The provider: one HTTP request an answer, plain or streamed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from gateway_core.errors import InvalidRequest, ProviderFault, Unavailable
from gateway_core.ports import LARGE_REQUEST, Chunks, Memory, ProviderParts, UpstreamRequest, UpstreamResponse
from gateway_core.types import ChatRequest, Chunk, Completion, Route, Run
from gateway_core.upstream.event_chunks import UNFINISHED, EventChunks, RunReader
from gateway_core.upstream.unexpected import failure_body, has_events, raise_without_events
from spl_provider_anthropic.answer import Answer, decode_answer
from spl_provider_anthropic.faults import about_thinking, fault, room_left
from spl_provider_anthropic.media import Fetched, to_fetch
from spl_provider_anthropic.messages import Thoughts, recalled_ids
from spl_provider_anthropic.models import Rules
from spl_provider_anthropic.request import Converted, Reply, convert
from spl_provider_anthropic.settings import AnthropicSettings, endpoint, headers
from spl_provider_anthropic.several import all_of, merged
from spl_provider_anthropic.stream import StreamDecoder
from spl_provider_anthropic.thoughts import unpacked
from spl_provider_anthropic.usage import total

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class AnthropicProvider:
    """Anthropic's Messages API under one name. Raises ConfigError where its settings cannot work."""

    def __init__(self, settings: AnthropicSettings, parts: ProviderParts) -> None:
        self.name = parts.name
        self._parts = parts
        self._api_key = parts.api_key if isinstance(parts.api_key, str) else None
        self._url = endpoint(parts.name, settings.base_url)
        self._headers = headers(parts.name, settings, self._api_key)
        self._rules = settings.rules()
        self._most_choices = settings.most_choices

    async def complete(self, request: ChatRequest, route: Route, output_limit: int | None) -> Completion:
        """One plain answer, or several: each is a request of its own, and billed with the whole prompt."""
        if request.choices == 1:
            answer = await self._answer(request, route, output_limit)
            return Completion(msgspec.Raw(_encode([answer.choice(0)])), answer.usage, answer.texts)
        self._check_choices(request)
        answers = await all_of([self._answer(request, route, output_limit) for _ in range(request.choices)])
        return Completion(
            choices=msgspec.Raw(_encode([answer.choice(index) for index, answer in enumerate(answers)])),
            usage=total([answer.usage for answer in answers]),
            texts=tuple(text for answer in answers for text in answer.texts),
        )

    async def stream(self, request: ChatRequest, route: Route, output_limit: int | None) -> Chunks:
        """Starts a streamed answer: it was accepted when this returns."""
        if request.choices == 1:
            return await self._stream(request, route, output_limit, 0)
        self._check_choices(request)
        streams = [self._stream(request, route, output_limit, index) for index in range(request.choices)]
        return merged(await all_of(streams, undo=_close))

    def tokenizer(self, model: str) -> str | None:
        """None: no vocabulary of these models is published."""
        del model
        return None

    # ------------------------------------------------------------ one answer

    async def _answer(self, request: ChatRequest, route: Route, limit: int | None) -> Answer:
        reply, body = await self._ask(request, route, limit, self._whole, stream=False)
        answer = decode_answer(body, reply)
        if answer.keep:
            await self._parts.memory.keep(request.account_id, answer.keep)
        return answer

    async def _stream(self, request: ChatRequest, route: Route, limit: int | None, index: int) -> Chunks:
        reply, response = await self._ask(request, route, limit, self._begun, stream=True)
        if not has_events(response.headers):
            await raise_without_events(response, lambda body: decode_answer(body, reply))
        return EventChunks(response, Reader(StreamDecoder(reply, index), self._parts.memory, request.account_id))

    # ------------------------------------------------------------ one request

    async def _ask(
        self,
        request: ChatRequest,
        route: Route,
        limit: int | None,
        send: Callable[[Converted, Route], Awaitable[T]],
        *,
        stream: bool,
    ) -> tuple[Reply, T]:
        """Converts it and sends it with `send`. Asked again without its earlier thinking where that is refused, and for
        less output where the default is more than the context has room for: older models count it in."""
        rules = self._rules.of(route.model)
        links = to_fetch(request)
        fetched: Fetched = await self._parts.media.fetch(request.account_id, links) if links else {}
        thoughts = await self._recalled(request, rules)

        async def converted(limit: int | None, *, think: bool) -> Converted:
            conversion = partial(
                convert, request, route.model, rules,
                limit=limit, held=route.max_output_tokens, stream=stream,
                fetched=fetched, thoughts=thoughts, think=think,
            )  # fmt: skip
            # A large one takes longer than other calls may wait.
            return conversion() if request.size <= LARGE_REQUEST else await asyncio.to_thread(conversion)

        first = await converted(limit, think=True)
        try:
            return first.reply, await send(first, route)
        except ProviderFault as refused:
            room = room_left(refused) if limit is None and request.output_limit is None else None
            thoughts_refused = first.reply.thoughts_given and about_thinking(refused)
            if room is None and not thoughts_refused:
                raise
        second = await converted(limit if room is None else room, think=not thoughts_refused)
        return second.reply, await send(second, route)

    async def _recalled(self, request: ChatRequest, rules: Rules) -> Thoughts:
        """The thinking that the client did not give back, where the model will want it."""
        if rules.thinking == "none" or not (rules.thinks_unasked or request.body.get("reasoning_effort")):
            return {}
        ids = recalled_ids(request.body["messages"])
        return unpacked(await self._parts.memory.recall(request.account_id, ids)) if ids else {}

    async def _whole(self, converted: Converted, route: Route) -> bytes:
        """A plain answer; one other than 200 is raised as the fault that it is."""
        answer = await self._parts.upstream.ask(self._message(converted, route))
        if answer.status == 200:
            return answer.body
        raise fault(answer.status, answer.body, answer.retry_after, self._api_key)

    async def _begun(self, converted: Converted, route: Route) -> UpstreamResponse:
        """A stream's beginning; an answer other than 200 is raised as the fault that it is."""
        response = await self._parts.upstream.send(self._message(converted, route))
        if response.status == 200:
            return response
        raise fault(response.status, await failure_body(response), response.retry_after, self._api_key)

    def _message(self, converted: Converted, route: Route) -> UpstreamRequest:
        return UpstreamRequest(self._url, self._headers, converted.encode(), route.deadlines)

    def _check_choices(self, request: ChatRequest) -> None:
        if request.choices > self._most_choices:
            raise InvalidRequest(
                f"'n' is refused: each answer is a call of its own here, at most {self._most_choices} at a time.",
                param="n",
            )


async def _close(stream: Chunks) -> None:
    await stream.aclose()


class Reader(RunReader):
    """`event_chunks.Reader` of Anthropic's events."""

    __slots__ = ("_account_id", "_decoder", "_memory")

    def __init__(self, decoder: StreamDecoder, memory: Memory, account_id: str) -> None:
        super().__init__()
        self._decoder = decoder
        self._memory = memory
        self._account_id = account_id

    def add(self, data: bytes, batch: list[Chunk | Run]) -> None:
        """Decodes one event; the message's stop is the last. Raises a ProviderFault."""
        decoder = self._decoder
        chunk = decoder.decode(data)
        if chunk is not None:
            batch.append(chunk)
        self.alike, self.finished = decoder.alike, decoder.finished

    def run(self, tokens: Sequence[bytes]) -> Run | None:
        """The events with these tokens, which are `alike`; None where they must be decoded one by one."""
        return self._decoder.run(tokens)

    def keeps(self) -> bool:
        """Thinking has ended that a later call must say again."""
        return bool(self._decoder.keep)

    async def keep(self) -> None:
        """Keeps it."""
        await self._memory.keep(self._account_id, self._decoder.keep)
        self._decoder.keep = {}

    def end(self) -> Sequence[Chunk]:
        """Nothing is left to be said."""
        if not self._decoder.finished:
            raise Unavailable(UNFINISHED)
        return ()
