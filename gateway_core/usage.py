"""Counting where the provider did not: for a reservation, a report that is missing, a stream that was cut."""

import logging
from collections.abc import Sequence

from gateway_core.delivery import Delivery
from gateway_core.errors import SplError
from gateway_core.tokens import Tokens
from gateway_core.types import ChatRequest, Hold, ModelFacts, Usage

log = logging.getLogger(__name__)

BYTES_PER_TOKEN = 4
"""The estimate where nothing is counted: English text has about four bytes a token."""


UNSEEN_PER_SECOND = 100
"""Output tokens a second that a provider is taken to make unseen: more than most models do, so that a loss that is
estimated is rather too large than too small."""


class UsageCounter:
    """Token counts by the rules of contract section 5: exact where the vocabulary is published, else marked.

    A vocabulary that fails makes the counts estimates, too: no call is refused, or left unsettled, for its sake.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def input_estimate(self, request: ChatRequest, facts: ModelFacts) -> int:
        """Input tokens at a glance, for what needs no more: a checkpoint, a loss."""
        return -(-request.size // BYTES_PER_TOKEN) + request.media * facts.media_tokens

    async def reservation(self, request: ChatRequest, facts: ModelFacts) -> int:
        """What a tokens-per-minute window reserves: the input, and the output limit."""
        counted = await self._input(request, facts)
        return counted.input + (request.output_limit or facts.output_reservation) * request.choices

    async def of_answer(self, request: ChatRequest, facts: ModelFacts, texts: Sequence[str]) -> Usage:
        """The usage of a whole answer whose provider reported none."""
        counted = await self._input(request, facts)
        output, _ = await self._output(facts, texts)
        return Usage(input=counted.input, output=output, estimated=True)

    async def of_cut(self, request: ChatRequest, facts: ModelFacts, delivery: Delivery) -> Usage:
        """The usage of a stream that was cut: the whole input, and the output that was written to the client.

        Nothing billable written: nothing used. Never above the provider's own count.
        """
        texts = delivery.texts
        if not texts:
            return Usage()
        told = delivery.usage
        if told is not None and facts.tokenizer is None and not told.estimated:
            return told
        output, exact = await self._output(facts, texts)
        if told is not None:
            return Usage(
                input=told.input,
                output=min(output, told.output),
                cached=told.cached,
                cache_write=told.cache_write,
                estimated=told.estimated or (facts.tokenizer is not None and not exact),
            )
        counted = await self._input(request, facts)
        return Usage(input=counted.input, output=output, estimated=not exact or counted.estimated)

    def of_cut_provider(
        self, request: ChatRequest, facts: ModelFacts, hold: Hold, delivered: Usage, seconds: float
    ) -> Usage:
        """What a provider that was cut off after so many seconds, and had reported no usage, is taken to charge for.

        The input, and the output that was delivered or, where more may have been made unseen, as much as there was
        time for: of a plain answer, and of a stream whose model reasons first. Never more than the hold's output.
        """
        unseen = 0
        if not request.stream or "reasoning" in facts.features:
            unseen = min(int(seconds * UNSEEN_PER_SECOND) * request.choices, hold.output_tokens)
        return Usage(
            input=delivered.input or self.input_estimate(request, facts),
            output=max(delivered.output, unseen),
            estimated=True,
        )

    def at_a_glance(self, request: ChatRequest, facts: ModelFacts, hold: Hold, texts: Sequence[object]) -> Usage:
        """What a stream is taken to have used whose count fails, by no more than its length. Never above the hold."""
        size = sum([len(text) for text in texts if isinstance(text, str)])
        if not size:
            return Usage()
        return Usage(
            input=min(self.input_estimate(request, facts), hold.input_tokens),
            output=min(-(-size // BYTES_PER_TOKEN), hold.output_tokens),
            estimated=True,
        )

    async def _input(self, request: ChatRequest, facts: ModelFacts) -> Usage:
        try:
            counted = await self._tokens.count_messages(facts.tokenizer, request.body)
        except Exception as error:  # noqa: BLE001  # a tokenizer that fails costs exactness alone
            _tell(facts, error)
            counted = await self._tokens.count_messages(None, request.body)
        media = request.media * facts.media_tokens
        return Usage(input=counted.input + media, estimated=counted.estimated or bool(media))

    async def _output(self, facts: ModelFacts, texts: Sequence[str]) -> tuple[int, bool]:
        text = "".join(texts)
        if facts.tokenizer is None:
            return self._tokens.estimate([text]), False
        try:
            return await self._tokens.count(facts.tokenizer, [text]), True
        except Exception as error:  # noqa: BLE001  # as above
            _tell(facts, error)
            return self._tokens.estimate([text]), False


def _tell(facts: ModelFacts, error: Exception) -> None:
    """Logs what failed; its own text only where it is ours, since another's may repeat a prompt."""
    why = str(error) if isinstance(error, SplError) else type(error).__name__
    log.error("%s: the tokenizer %s failed, so tokens are estimated: %s", facts.id, facts.tokenizer, why)
