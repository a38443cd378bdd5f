"""/v1/models and /v1/capabilities: what can be called, by whom, at what price and how fast."""

from collections.abc import Callable, Iterable
from typing import Literal, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from gateway_core.clock import month_of
from gateway_core.edge import answers
from gateway_core.edge.access import Access
from gateway_core.edge.host import REQUEST_ID, Host
from gateway_core.errors import AuthError, BillingError, InvalidBearer, InvalidJwtSignature, ModelNotFound
from gateway_core.gates import ENDPOINT
from gateway_core.money import Units, per_million, usd, usd_to_cent
from gateway_core.ports import Endpoint, Shape
from gateway_core.standing import may_use
from gateway_core.types import (
    Account,
    Call,
    ChatRequest,
    LimitState,
    ModelFacts,
    Principal,
    Rates,
    Terms,
    TokenRates,
    Usage,
)

_NOBODY = Principal(account_id="", kind="anonymous", bearer_id="", scopes=frozenset())


class ListedModel(TypedDict):
    """A model as OpenAI lists one."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Exact(TypedDict):
    """USD per 1M tokens, exactly."""

    input: str
    cached_input: str
    cache_write: str
    output: str


class LongPrice(TypedDict):
    """What a call costs, its output too, whose prompt has more than `above` tokens."""

    above: int
    input: str
    cached_input: str
    cache_write: str
    output: str
    exact: Exact


class Price(TypedDict):
    """What a model costs the customer, in USD per 1M tokens: rounded half up to the cent, and exactly."""

    currency: Literal["USD"]
    per_tokens: int
    input: str
    cached_input: str
    cache_write: str
    output: str
    exact: Exact
    long: LongPrice | None
    price_id: str


class Left(TypedDict):
    """A limit, and what the caller has left of it."""

    limit: int
    remaining: int
    reset_ms: int


class Capability(TypedDict):
    """A model: its price, its limits, what it can do, and on what terms the caller may use it."""

    model: str
    object: Literal["capability"]
    family: str
    price: Price | None
    context_tokens: int
    max_output_tokens: int
    features: list[str]
    tiers: list[str]
    available: bool
    tier: str | None
    requests_per_minute: Left | None
    tokens_per_minute: Left | None
    requests_per_day: Left | None


class ModelEndpoints:
    """Handlers that ask the same hooks as a call does, about a call that nobody makes."""

    def __init__(self, host: Host, access: Access) -> None:
        self._host = host
        self._services = host.services
        self._access = access

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint(
                "GET",
                "/v1/models",
                "inference",
                self.models,
                "The models that the caller may use.",
                Shape(answer=answers.Page[ListedModel]),
            ),
            Endpoint(
                "GET",
                "/v1/models/{id:path}",
                "inference",
                self.model,
                "One of the models that the caller may use.",
                Shape(answer=ListedModel, errors=(ModelNotFound,)),
            ),
            Endpoint(
                "GET",
                "/v1/capabilities",
                "public",
                self.capabilities,
                "Every model with its price and limits; with a key also what that key may do.",
                Shape(answer=answers.Page[Capability], errors=(InvalidBearer, InvalidJwtSignature)),
            ),
        ]

    async def models(self, request: Request, principal: Principal | None) -> Response:
        """OpenAI's list."""
        account = await self._account(principal)
        models = self._services.models.values()
        return answers.listing(
            [_listed(facts) for facts in models if self._terms(request, facts, principal, account) is not None]
        )

    async def model(self, request: Request, principal: Principal | None) -> Response:
        """One entry of it."""
        facts = self._services.models.get(request.path_params["id"])
        if facts is None or self._terms(request, facts, principal, await self._account(principal)) is None:
            raise ModelNotFound("The model does not exist or this key may not use it.", param="model")
        return answers.json(_listed(facts))

    async def capabilities(self, request: Request, _principal: Principal | None) -> Response:
        """All models, with what the caller may do, if one is known."""
        principal = await self._access.identify_any(request.scope)
        account = await self._account(principal)
        models = self._services.models.values()
        return answers.listing([await self._capability(request, facts, principal, account) for facts in models])

    async def _capability(
        self, request: Request, facts: ModelFacts, principal: Principal | None, account: Account | None
    ) -> Capability:
        terms = self._terms(request, facts, principal, account)
        cost = self._host.dispatch.price(self._call(request, facts, principal, account), Usage())
        states = await self._services.limiter.peek(terms.windows) if terms is not None else ()
        return {
            "model": facts.id,
            "object": "capability",
            "family": _family(facts),
            "price": None if cost is None else _price(cost.rates),
            "context_tokens": facts.context_tokens,
            "max_output_tokens": facts.max_output_tokens,
            "features": sorted(facts.features),
            "tiers": self._tiers(facts),
            "available": terms is not None,
            "tier": None if terms is None else terms.tier,
            "requests_per_minute": _left(states, "requests", day=False),
            "tokens_per_minute": _left(states, "tokens", day=False),
            "requests_per_day": _left(states, "requests", day=True),
        }

    async def _account(self, principal: Principal | None) -> Account | None:
        return None if principal is None else await self._services.store.directory.account(principal.account_id)

    def _terms(
        self, request: Request, facts: ModelFacts, principal: Principal | None, account: Account | None
    ) -> Terms | None:
        """The terms on which the caller may use the model; None where it may not."""
        if principal is None or account is None:
            return None
        if principal.models is not None and facts.id not in principal.models:
            return None
        try:
            terms = self._host.dispatch.admit(self._call(request, facts, principal, account))
        except (AuthError, BillingError):
            return None
        return terms if terms is not None and may_use(facts, terms.tier) else None

    def _call(self, request: Request, facts: ModelFacts, principal: Principal | None, account: Account | None) -> Call:
        now = self._services.clock.now_ms()
        return Call(
            id=request.scope[REQUEST_ID],
            principal=principal or _NOBODY,
            account=account or Account(id="", name="", created_at=now),
            request=ChatRequest(model=facts.id, body={}, size=0),
            endpoint=ENDPOINT,
            started_at=now,
            month=month_of(now),
            address=self._access.credentials(request.scope).address,
        )

    def _tiers(self, facts: ModelFacts) -> list[str]:
        """The tiers that may use the model: those that it names, else those that this gateway is configured for."""
        config = self._services.config
        used = facts.tiers if facts.tiers is not None else {config.bearers.user_key, *config.tiers}
        return sorted(tier for tier in self._host.plugins.tiers if tier in used and may_use(facts, tier))


def _listed(facts: ModelFacts) -> ListedModel:
    return {"id": facts.id, "object": "model", "created": facts.created, "owned_by": _family(facts)}


def _family(facts: ModelFacts) -> str:
    return facts.family or facts.routes[0].provider


def _price(rates: Rates) -> Price:
    """As it is published, and exactly."""
    return {
        "currency": "USD",
        "per_tokens": 1_000_000,
        **_each(rates, usd_to_cent),
        "exact": _each(rates, usd),
        "long": None if rates.long is None else _long_price(rates.long_above, rates.long),
        "price_id": rates.price_id,
    }


def _long_price(above: int, rates: TokenRates) -> LongPrice:
    return {"above": above, **_each(rates, usd_to_cent), "exact": _each(rates, usd)}


def _each(rates: TokenRates, shown: Callable[[Units], str]) -> Exact:
    return {
        "input": shown(per_million(rates.input)),
        "cached_input": shown(per_million(rates.cached_input)),
        "cache_write": shown(per_million(rates.cache_write)),
        "output": shown(per_million(rates.output)),
    }


def _left(states: Iterable[LimitState], unit: str, *, day: bool) -> Left | None:
    """The tightest window of a kind: its limit and what is left of it; None where there is none."""
    found = [state for state in states if state.window.unit == unit and state.window.day is day]
    if not found:
        return None
    state = min(found, key=lambda each: each.remaining)
    return {"limit": state.window.limit, "remaining": max(state.remaining, 0), "reset_ms": state.reset_ms}
