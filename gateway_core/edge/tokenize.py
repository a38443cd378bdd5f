"""/v1/tokenize-text: a text, or a conversation, as the model's tokenizer sees it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal, NotRequired, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway_core.clock import month_of
from gateway_core.edge.access import Access
from gateway_core.edge.bodies import decoded
from gateway_core.edge.errors import pairs
from gateway_core.edge.host import REQUEST_ID, Host
from gateway_core.errors import (
    AccountSuspended,
    InvalidBearer,
    InvalidRequest,
    ModelNotFound,
    RateLimited,
    SubscriptionRequired,
)
from gateway_core.ports import Endpoint, Shape
from gateway_core.tokens.messages import Counted
from gateway_core.types import Call, ChatRequest, ModelFacts, Principal
from gateway_core.wire.ratelimit import lines as limit_lines

PATH = "/v1/tokenize-text"

MAX_BODY = 1024 * 1024

BATCH = 8192
"""Approximate tokens that are written at once."""

_encode = msgspec.json.Encoder().encode


class TokenizeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text, or the messages of a call."""

    model: str
    text: str | None = None
    messages: list[dict[str, Any]] | None = None


class TextToken(msgspec.Struct, frozen=True):
    """One token. Where its bytes are no text by themselves, `text` has replacement characters. An approximate token
    has no id."""

    id: int | None
    text: str
    bytes: list[int]


class Tokenization(TypedDict):
    """The tokens in order. `prompt_tokens` is what a call with these messages would be charged for."""

    object: Literal["tokenization"]
    model: str
    approximate: bool
    tokens: list[TextToken]
    count: int
    prompt_tokens: NotRequired[int]


class TokenizeEndpoint:
    """Counts as a request, costs nothing, and reaches no provider."""

    def __init__(self, host: Host, access: Access) -> None:
        self._host = host
        self._services = host.services
        self._access = access
        self._tier_header = f"{host.services.config.server.header_prefix}Tier"

    def endpoints(self) -> list[Endpoint]:
        """The one."""
        shape = Shape(
            body=TokenizeBody,
            answer=Tokenization,
            errors=(SubscriptionRequired, AccountSuspended, ModelNotFound, RateLimited),
            sends=("tier", "limits"),
        )
        return [
            Endpoint("POST", PATH, "inference", self.tokenize, "The tokens of a text, or of a call's messages.", shape)
        ]

    async def tokenize(self, request: Request, principal: Principal | None) -> Response:
        """The answer is written while it is made: a mebibyte can have a million tokens."""
        body = await decoded(request, TokenizeBody, MAX_BODY)
        if (body.text is None) == (body.messages is None):
            raise InvalidRequest("Give either 'text' or 'messages'.", param="text")
        call = await self._call(request, body, principal)
        facts, terms = self._host.pipeline.allowed(call)
        windows = [window for window in terms.windows if window.unit == "requests"]
        reservation = await self._services.limiter.reserve(windows, 0)
        parts = self._parts(body, facts)
        # What fails, fails here, before the answer's head.
        first = await anext(parts)
        answer = StreamingResponse(_joined(first, parts), media_type="application/json")
        answer.headers["cache-control"] = "no-store"
        answer.headers[self._tier_header] = terms.tier
        for name, value in pairs(limit_lines(reservation.states)):
            answer.headers[name.decode()] = value.decode()
        return answer

    async def _call(self, request: Request, body: TokenizeBody, principal: Principal | None) -> Call:
        """The call that this would be, for the hooks that decide who may use a model."""
        if principal is None:
            raise InvalidBearer
        account = await self._services.store.directory.account(principal.account_id)
        if account is None:
            raise InvalidBearer
        if account.suspended:
            raise AccountSuspended("This account is suspended; ask its operator.")
        now = self._services.clock.now_ms()
        return Call(
            id=request.scope[REQUEST_ID],
            principal=principal,
            account=account,
            request=ChatRequest(model=body.model, body={}, size=0),
            endpoint=PATH,
            started_at=now,
            month=month_of(now),
            address=self._access.credentials(request.scope).address,
        )

    async def _parts(self, body: TokenizeBody, facts: ModelFacts) -> AsyncIterator[bytes]:
        """The answer's JSON. The count comes last: it is known then."""
        texts = Counted({"messages": body.messages}).texts if body.text is None else [body.text]
        head = {"object": "tokenization", "model": body.model, "approximate": facts.tokenizer is None}
        if body.messages is not None:
            usage = await self._host.tokens.count_messages(facts.tokenizer, {"messages": body.messages})
            # With what stands between the messages, as a call would be charged.
            head["prompt_tokens"] = usage.input
        opening = _encode(head)[:-1] + b',"tokens":['
        count = 0
        for text in texts:
            async for batch in self._tokens(facts.tokenizer, text):
                yield opening + await asyncio.to_thread(_shown, batch)
                opening = b","
                count += len(batch)
        yield (b"" if count else opening) + b'],"count":%d}' % count

    async def _tokens(self, vocabulary: str | None, text: str) -> AsyncIterator[list[tuple[int | None, bytes]]]:
        if vocabulary is not None:
            async for batch in self._host.tokens.pieces(vocabulary, text):
                yield [*batch]
            return
        split = await asyncio.to_thread(self._host.tokens.split, text)
        for start in range(0, len(split), BATCH):
            yield [(None, part.encode()) for part in split[start : start + BATCH]]


def _shown(batch: list[tuple[int | None, bytes]]) -> bytes:
    """Tokens as JSON, without the array's brackets."""
    shown = [TextToken(token, data.decode(errors="replace"), list(data)) for token, data in batch]
    return _encode(shown)[1:-1]


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for part in rest:
        yield part
