"""Where a bearer's calls to a model stand: facts, routes, terms and rates, kept as long as the hooks' answers last."""

from collections.abc import Mapping, Sequence

from gateway_core.clock import DAY_MS
from gateway_core.dispatch import Dispatch
from gateway_core.errors import ModelNotFound, SubscriptionRequired
from gateway_core.pricing import BILLED_UPSTREAM
from gateway_core.types import Account, Call, ModelFacts, Principal, Rates, Route, Terms

_MOST_KEPT = 10_000


class Standing:
    """What is the same for all calls of one bearer to one model on one UTC day, while its account is the same."""

    __slots__ = ("account", "caps", "counts_tokens", "day", "facts", "principal", "rates", "routes", "terms")

    def __init__(self, call: Call, facts: ModelFacts, routes: Sequence[Route], terms: Terms) -> None:
        # The store reads an account, and a plugin a principal, anew after every change: then it is another object.
        self.principal: Principal = call.principal
        self.account: Account = call.account
        self.day = call.started_at // DAY_MS
        self.facts = facts
        self.routes = routes
        self.terms = terms
        #: Whether a window needs to know how many tokens a call may take.
        self.counts_tokens = any(window.unit == "tokens" for window in terms.windows)
        unmetered = terms.unmetered or facts.billed_upstream
        #: What a call costs; None where `price` is to be asked.
        self.rates: Rates | None = BILLED_UPSTREAM if unmetered else None
        #: The account's cap, the bearer's, and the tier's for a day, each None where it bounds nothing here.
        self.caps = (None, None, None) if unmetered else (terms.cap, call.principal.cap, terms.day_cap)


class Standings:
    """Of everybody who called lately."""

    def __init__(self, dispatch: Dispatch, models: Mapping[str, ModelFacts]) -> None:
        self._dispatch = dispatch
        self._models = models
        self._keeps = dispatch.lasting >= {"admit", "select_backend"}
        self._kept: dict[tuple[str, str], Standing] = {}

    def of(self, call: Call) -> Standing:
        """Where a call stands. Raises ModelNotFound, SubscriptionRequired, and what a plugin refuses it with."""
        principal = call.principal
        place = (principal.bearer_id, call.request.model)
        kept = self._kept.get(place)
        if (
            kept is not None
            and kept.principal is principal
            and kept.account is call.account
            and kept.day == call.started_at // DAY_MS
        ):
            return kept
        facts, routes = self._backend(call)
        standing = Standing(call, facts, routes, self._terms(call, facts))
        if self._keeps:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[place] = standing
        return standing

    def _backend(self, call: Call) -> tuple[ModelFacts, Sequence[Route]]:
        name = call.request.model
        routes = self._dispatch.select_backend(call)
        facts = self._models.get(name)
        allowed = call.principal.models
        if not routes or facts is None or (allowed is not None and name not in allowed):
            raise ModelNotFound(f"The model `{name}` does not exist or this key may not use it.", param="model")
        return facts, routes

    def _terms(self, call: Call, facts: ModelFacts) -> Terms:
        terms = self._dispatch.admit(call)
        if terms is None:
            raise SubscriptionRequired("No tier serves this bearer: its account has no active subscription.")
        if not may_use(facts, terms.tier):
            message = f"The model `{facts.id}` is not part of the {terms.tier} tier."
            raise SubscriptionRequired(message, param="model", tier=terms.tier)
        return terms


def may_use(facts: ModelFacts, tier: str) -> bool:
    """Whether a tier includes a model: where the model names none, every tier but anonymous does."""
    return tier in facts.tiers if facts.tiers is not None else tier != "anonymous"
