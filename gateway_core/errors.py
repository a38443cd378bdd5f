"""Every way in which the gateway says no, as one tree.

    SplError
    ├── GatewayError                     becomes an HTTP answer; knows its status, code and kind
    │   ├── RequestError (kind request)
    │   │   ├── InvalidRequest           400 invalid_request
    │   │   ├── ModelNotFound            404 model_not_found
    │   │   ├── NotFound                 404 not_found
    │   │   ├── MethodNotAllowed         405 method_not_allowed
    │   │   ├── Conflict                 409 conflict
    │   │   ├── RequestTooLarge          413 request_too_large
    │   │   └── IdempotencyKeyReused     422 idempotency_key_reused
    │   ├── AuthError (kind auth)
    │   │   ├── InvalidBearer            401 invalid_bearer
    │   │   ├── InvalidJwtSignature      401 invalid_jwt_signature
    │   │   ├── AccountSuspended         403 account_suspended
    │   │   └── InsufficientScope        403 insufficient_scope
    │   ├── BillingError (kind billing)
    │   │   ├── SubscriptionRequired     402 subscription_required
    │   │   └── QuotaExceeded            402 quota_exceeded
    │   ├── RateLimited                  429 rate_limited            (kind usage)
    │   ├── ProviderRateLimited          429 provider_rate_limited   (kind provider)
    │   ├── ProviderError                503 provider_error          (kind provider)
    │   └── InternalError                503 internal_error          (kind gateway)
    ├── ProviderFault                    what one attempt at one provider met; the pipeline decides what follows
    │   ├── ContentRefused               the provider's 400, 413 or 422 about the client's content
    │   ├── Throttled                    its 429
    │   ├── RouteRefused                 its 401, 403 or 404: our key or our route is wrong
    │   │   └── RouteDoubted             a 400 that seems to be about our key, and may be about the client's words
    │   └── Unavailable                  it failed, timed out, hung up, or spoke nonsense
    ├── ConfigError                      names the file, the key and the nearest valid one
    │   └── ConfigProblems               several at once
    ├── OutsideError                     an address that somebody registered may not be asked, or did not answer
    ├── PluginError                      names the plugin
    └── StoreError
        ├── StoreLocked                  another process has the home
        ├── StoreTooNew                  written by a later version
        └── StoreCorrupt                 fails its own integrity check

Messages are written for the person who reads them and never hold a secret, a prompt or an upstream's address.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from gateway_core.types import LimitState


class SplError(Exception):
    """The root of everything raised on purpose."""


class GatewayError(SplError):
    """An answer other than success. `param` names the request's field; `retry_after` is in whole seconds."""

    status: ClassVar[int] = 503
    code: ClassVar[str] = "internal_error"
    kind: ClassVar[str] = "gateway"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        should_retry: bool | None = None,
        tier: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        #: What `x-should-retry` tells the OpenAI SDKs; None leaves them to their own judgement.
        self.should_retry = should_retry
        #: The tier the call was on, where it was known.
        self.tier = tier
        #: Other headers of the answer.
        self.headers: tuple[tuple[bytes, bytes], ...] = ()


class RequestError(GatewayError):
    """The request itself is at fault."""

    status = 400
    kind = "request"


class InvalidRequest(RequestError):
    """Not JSON, a wrong shape or type, an impossible value: `param` names the field."""

    code = "invalid_request"


class ModelNotFound(RequestError):
    """No such model here, or none that this caller's key may name."""

    status = 404
    code = "model_not_found"


class NotFound(RequestError):
    """No such thing at this address, or not the caller's."""

    status = 404
    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path exists, with other methods: `allow` names them as the Allow header does."""

    status = 405
    code = "method_not_allowed"

    def __init__(self, message: str, *, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class Conflict(RequestError):
    """The thing exists already, or its state does not allow the change."""

    status = 409
    code = "conflict"


class RequestTooLarge(RequestError):
    """The body passes the configured size, or an upstream's."""

    status = 413
    code = "request_too_large"


class IdempotencyKeyReused(RequestError):
    """The same Idempotency-Key with another body."""

    status = 422
    code = "idempotency_key_reused"


class AuthError(GatewayError):
    """Who calls, and what that bearer may do."""

    status = 401
    kind = "auth"


class InvalidBearer(AuthError):
    """Unknown, malformed, revoked or expired: one message for all, so that nothing leaks which. It begins as OpenAI's
    does: there are clients that go by these words, LiteLLM for one."""

    code = "invalid_bearer"

    def __init__(
        self, message: str = "Incorrect API key provided: it is unknown, malformed, revoked or expired."
    ) -> None:
        super().__init__(message)


class InvalidJwtSignature(AuthError):
    """It parses as a JWT of a known issuer, and its signature does not verify."""

    code = "invalid_jwt_signature"

    def __init__(
        self, message: str = "Incorrect API key provided: it is a JWT whose signature does not verify."
    ) -> None:
        super().__init__(message)


class AccountSuspended(AuthError):
    """The bearer is good; the account may not call."""

    status = 403
    code = "account_suspended"


class InsufficientScope(AuthError):
    """The bearer is good; it lacks the scope that the route asks for."""

    status = 403
    code = "insufficient_scope"


class BillingError(GatewayError):
    """Money stands in the way. Never 429: the SDKs retry that."""

    status = 402
    kind = "billing"


class SubscriptionRequired(BillingError):
    """No active subscription, or the model is outside the tier."""

    code = "subscription_required"


class QuotaExceeded(BillingError):
    """The bearer's cap or the subscription's monthly cap would be passed."""

    code = "quota_exceeded"


class RateLimited(GatewayError):
    """A limit of this gateway's was reached. `limit` names it, e.g. "60 requests per minute": who answers the call
    writes the message from that, the tier and the wait. `states` are the call's windows, for x-ratelimit headers."""

    status = 429
    code = "rate_limited"
    kind = "usage"

    def __init__(
        self,
        message: str,
        *,
        limit: str | None = None,
        states: "Sequence[LimitState]" = (),
        retry_after: int | None = None,
        should_retry: bool | None = None,
        tier: str | None = None,
    ) -> None:
        super().__init__(message, retry_after=retry_after, should_retry=should_retry, tier=tier)
        self.limit = limit
        self.states = states


class ProviderRateLimited(GatewayError):
    """Every upstream for the model throttles us."""

    status = 429
    code = "provider_rate_limited"
    kind = "provider"


class ProviderError(GatewayError):
    """The upstream failed, after retries and fallbacks."""

    status = 503
    code = "provider_error"
    kind = "provider"


class InternalError(GatewayError):
    """Our fault; the log has the reason under the request id."""


class ProviderFault(SplError):
    """What one attempt at one provider met.

    `retryable`: the same or another route may do better. `detail` is for our log, never for the client.
    """

    retryable: ClassVar[bool] = True

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after


class ContentRefused(ProviderFault):
    """The provider refused the client's content: `message` and `param` are for the client, `status` 400 or 413."""

    retryable = False

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param


class Throttled(ProviderFault):
    """The provider's 429; `retry_after` in seconds where it said so."""


class RouteRefused(ProviderFault):
    """The provider refused our key or our route. Another route may serve; the same one will not."""


class RouteDoubted(RouteRefused):
    """A refusal of the content that seems to be about our key or account, by words that may be the client's own: that
    says nothing of the route, or one client could have it left alone for everybody."""


class Unavailable(ProviderFault):
    """The provider failed, timed out, hung up or spoke nonsense."""


class NoConnectionFree(Unavailable):
    """The provider was not asked: all connections of ours are in use. That says nothing of its route."""


class ConfigError(SplError):
    """Bad configuration. `where` is "file: key" as the operator would look for it."""

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class ConfigProblems(ConfigError):
    """Several things are wrong with a configuration: says the first, and has all of them in `problems`."""

    def __init__(self, problems: Sequence[ConfigError]) -> None:
        more = len(problems) - 1
        super().__init__(f"{problems[0]} (and {more} more: `spl config check` lists all)")
        self.where = problems[0].where
        self.problems = tuple(problems)


class OutsideError(SplError):
    """An address that somebody registered may not be asked, did not answer, or answered nonsense."""


class PluginError(SplError):
    """A plugin is missing, bad or misbehaved; it is named first."""

    def __init__(self, plugin: str, message: str) -> None:
        super().__init__(f"plugin {plugin}: {message}")
        self.plugin = plugin


class StoreError(SplError):
    """The store cannot be used, or a commit's fate is unknown."""


class Unwritable(StoreError):
    """This can never be written, and nothing of it was: the row is at fault, not the store."""


class StoreLocked(StoreError):
    """Another process has the home."""


class StoreTooNew(StoreError):
    """The store was written by a later version of the program."""


class StoreCorrupt(StoreError):
    """The store fails its own integrity check."""
