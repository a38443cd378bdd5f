"""The tokenizer: a text as each model sees it, coloured, counted and priced while it is typed.

It asks the gateway's tokenizers and not /v1/tokenize-text: typing would use up the account's requests per minute. In
place of that limit a few texts are counted at a time, and a browser sends one at a time.
"""

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from gateway_core.errors import InvalidRequest, ModelNotFound
from gateway_core.money import TOKENS_PER_PRICE, usd
from spl_console.page import Page, Visit
from spl_console.pages.models import capabilities
from spl_console.render import units_of

MOST = 1024 * 1024
"""Bytes of text."""
_AT_ONCE = 4
_SHOWN = 2000
"""Tokens that a page shows where no script runs."""
EXAMPLE = "The café's 数学 class — 24 × 7 = 168 👩‍🚀 naïve 𝒳 नमस्ते"

Tokens = list[tuple[int | None, bytes]]


class Text(msgspec.Struct, frozen=True):
    """What a script sends."""

    model: str
    text: str


class Tokenizer:
    """Its pages, and how much is counted at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def pages(self) -> tuple[Page, ...]:
        """All of them."""
        return (
            Page("GET", "/tokenizer", "inference", self.show, "A text's tokens."),
            Page("POST", "/tokenizer", "inference", self.show, "A text's tokens, without a script.", most=3 * MOST),
            Page("POST", "/tokenizer/tokens", "inference", self.count, "A text's tokens, as it is typed.", script=True),
        )

    async def show(self, visit: Visit) -> Response:
        """The page; with a form that was sent, and its result."""
        models = await self._models(visit)
        chosen = visit.field("model") or visit.query("model")
        model = next((row for row in models if row["model"] == chosen), models[0] if models else None)
        text = visit.text("text")
        tokens: Tokens = []
        if model is not None and text:
            tokens, models = await self._counted(visit, model["model"], _checked(text), models)
        return visit.render(
            "tokenizer.html",
            models=models,
            model=model,
            text=text,
            tokens=[_shown(*token) for token in tokens[:_SHOWN]],
            count=len(tokens),
            most_shown=_SHOWN,
            example=EXAMPLE,
        )

    async def count(self, visit: Visit) -> Response:
        """Ids and sizes in bytes, from which the page colours the text that it has; counts and costs of all models."""
        try:
            asked = msgspec.json.decode(await visit.body(2 * MOST), type=Text)
        except msgspec.MsgspecError:
            raise InvalidRequest("Send a model and a text.") from None
        models = await self._models(visit)
        tokens, counted = await self._counted(visit, asked.model, _checked(asked.text), models)
        answer = {
            "model": asked.model,
            "ids": [token for token, _ in tokens],
            "sizes": [len(data) for _, data in tokens],
            "models": counted,
        }
        return visit.json(answer)

    async def _models(self, visit: Visit) -> list[dict[str, Any]]:
        """Models that the key may call, with their vocabularies."""
        rows = [row for row in await capabilities(visit) if row["available"]]
        known = visit.services.models
        return [
            {"model": row["model"], "price": row["price"], "vocabulary": known[row["model"]].tokenizer}
            for row in rows
            if row["model"] in known
        ]

    async def _counted(
        self, visit: Visit, model: str, text: str, models: list[dict[str, Any]]
    ) -> tuple[Tokens, list[dict[str, Any]]]:
        """One model's tokens, and every model's count and cost of the text as input."""
        vocabularies = {row["model"]: row["vocabulary"] for row in models}
        if model not in vocabularies:
            raise ModelNotFound("This key may not call that model.", param="model")
        async with self._turns:
            tokens = await self._tokens(visit, vocabularies[model], text)
            counts = {vocabularies[model]: len(tokens)}
            for vocabulary in set(vocabularies.values()) - set(counts):
                counts[vocabulary] = await self._number(visit, vocabulary, text)
        return tokens, [{**row, **_priced(row, counts[row["vocabulary"]])} for row in models]

    async def _tokens(self, visit: Visit, vocabulary: str | None, text: str) -> Tokens:
        tokenizers = visit.services.tokens
        if vocabulary is None:
            parts = await asyncio.to_thread(tokenizers.split, text)
            return [(None, part.encode()) for part in parts]
        return [token async for batch in tokenizers.pieces(vocabulary, text) for token in batch]

    async def _number(self, visit: Visit, vocabulary: str | None, text: str) -> int:
        if vocabulary is None:
            return await asyncio.to_thread(visit.services.tokens.estimate, [text])
        return await visit.services.tokens.count(vocabulary, [text])


def _checked(text: str) -> str:
    """The text, where it is not too long and is text. A lone surrogate, as a script can send one, is not."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("This text has half a character in it.", param="text") from None
    if size > MOST:
        raise InvalidRequest("A text of more than 1 MiB is not shown: send it to /v1/tokenize-text in parts.")
    return text


def _priced(row: dict[str, Any], count: int) -> dict[str, Any]:
    price = row["price"]
    if price is None:
        cost = None
    else:
        dear = price["long"] is not None and count > price["long"]["above"]
        rates = price["long"]["exact"] if dear else price["exact"]
        cost = usd(units_of(rates["input"]) // TOKENS_PER_PRICE * count)
    return {"tokens": count, "approximate": row["vocabulary"] is None, "cost_usd": cost}


def _shown(token: int | None, data: bytes) -> dict[str, Any]:
    """A token as the page without a script has it: a part of a character is shown by its bytes."""
    try:
        text, whole = data.decode(), True
    except UnicodeDecodeError:
        text, whole = data.hex(" ").upper(), False
    return {"id": token, "text": text, "whole": whole, "bytes": data.hex(" ").upper()}
