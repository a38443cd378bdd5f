"""/v1/admin/instances: the issuers whose bearers are accepted here, and which of them were revoked."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from gateway_core import jwt, key_sets
from gateway_core.clock import iso
from gateway_core.edge import answers
from gateway_core.edge.access import actor_of
from gateway_core.edge.bodies import amount, checked_query, decoded, name_of, page_size
from gateway_core.edge.host import Host
from gateway_core.edge.names import find_account
from gateway_core.edge.queries import AccountPageQuery
from gateway_core.errors import Conflict, InvalidRequest, NotFound, OutsideError
from gateway_core.money import usd
from gateway_core.ports import Endpoint, Shape
from gateway_core.store_ports import Instances
from gateway_core.types import Account, Instance, InstanceKind, Principal

if TYPE_CHECKING:
    from gateway_core.eddsa import Key

_PATH = "/v1/admin/instances"


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a registration: another instance, by its public key or by the address of its key set.

    `kind` is what it is to us: a customer's own that calls models, or a gateway that sends us its records.
    `id` is needed only where a set has several keys and does not say whose they are.
    """

    name: str
    account: str
    kind: Literal["self_host", "gateway"] = "self_host"
    key: str | None = None
    jwks_url: str | None = None
    id: str | None = None
    push_url: str | None = None
    cap_usd: str | None = None


class Provision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a provisioning: an instance that we make, its key included."""

    name: str
    account: str
    push_url: str | None = None
    cap_usd: str | None = None


class InstanceChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a change: what is absent stays. `add_key` is pinned beside the others, `remove_key` names one."""

    name: str | UnsetType = UNSET
    push_url: str | UnsetType | None = UNSET
    cap_usd: str | UnsetType | None = UNSET
    add_key: str | UnsetType = UNSET
    remove_key: str | UnsetType = UNSET


class RevokedToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a bearer's revocation: its `jti`."""

    jti: str


class ShownInstance(TypedDict):
    """An instance as it is shown. `keys` are public JWKs."""

    id: str
    object: Literal["instance"]
    name: str
    kind: InstanceKind
    account: str
    keys: list[dict[str, Any]]
    jwks_url: str | None
    jwks_fetched_at: str | None
    push_url: str | None
    cap_usd: str | None
    created_at: str
    revoked_at: str | None


class ProvisionedInstance(ShownInstance):
    """A new instance. Its signing key, in PEM, is shown this once; `audience` is whom its bearers are for."""

    signing_key: str
    audience: str


class ShownRevokedToken(TypedDict):
    """A bearer that is accepted no more."""

    object: Literal["revoked_token"]
    instance: str
    jti: str


class InstanceEndpoints:
    """Handlers for instances."""

    def __init__(self, host: Host) -> None:
        self._services = host.services
        # A change is read, made and written as one: of two at once the later would undo the earlier, a revocation too.
        self._changing = asyncio.Lock()

    @property
    def _instances(self) -> Instances:
        return self._services.store.instances

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        one = _PATH + "/{id}"
        return [
            Endpoint(
                "GET",
                _PATH,
                "operator",
                self.index,
                "Registered instances: whose bearers are accepted.",
                Shape(answer=answers.Page[ShownInstance], query=AccountPageQuery, errors=(NotFound,)),
            ),
            Endpoint(
                "POST",
                _PATH,
                "operator",
                self.register,
                "Registers an instance by its public key or JWKS URL.",
                Shape(body=Registration, answer=ShownInstance, statuses=(201,), errors=(NotFound, Conflict)),
            ),
            Endpoint(
                "POST",
                "/v1/admin/provisioned-instances",
                "operator",
                self.provision,
                "Makes an instance's key and registers it; the key is in this answer only.",
                Shape(body=Provision, answer=ProvisionedInstance, statuses=(201,), errors=(NotFound,)),
            ),
            Endpoint("GET", one, "operator", self.show, "One instance.", Shape(answer=ShownInstance)),
            Endpoint(
                "PATCH",
                one,
                "operator",
                self.change,
                "Changes an instance's name, push URL, cap or pinned keys.",
                Shape(body=InstanceChange, answer=ShownInstance, errors=(Conflict,)),
            ),
            Endpoint(
                "DELETE",
                one,
                "operator",
                self.revoke,
                "Revokes an instance, at once and for good.",
                Shape(answer=ShownInstance, errors=(Conflict,)),
            ),
            Endpoint(
                "POST",
                one + "/revoked-tokens",
                "operator",
                self.revoke_token,
                "Revokes one bearer of it.",
                Shape(body=RevokedToken, answer=ShownRevokedToken, statuses=(201,)),
            ),
        ]

    async def index(self, request: Request, _principal: Principal | None) -> Response:
        """Instances in the order of their ids; revoked ones too."""
        query = checked_query(request, AccountPageQuery)
        size = page_size(query)
        directory = self._services.store.directory
        account = await find_account(directory, query["account"], "account") if "account" in query else None
        rows = await self._instances.page(account.id if account else None, after=query.get("after", ""), limit=size + 1)
        shown = [await self._described(each) for each in rows]
        return answers.page(shown, size, lambda row: row["id"])

    async def register(self, request: Request, principal: Principal | None) -> Response:
        """An instance that made its key itself."""
        body = await decoded(request, Registration)
        if (body.key is None) == (body.jwks_url is None):
            raise InvalidRequest("Give either 'key' or 'jwks_url'.", param="key")
        if body.kind == "gateway" and (body.push_url is not None or body.cap_usd is not None):
            raise InvalidRequest("A gateway sends records and calls nothing: it has no push URL and no cap.")
        account = await find_account(self._services.store.directory, body.account, "account")
        now = self._services.clock.now_ms()
        given = await self._fetched(body.jwks_url) if body.jwks_url is not None else body.key or ""
        keys = _keys(given)
        text = jwt.key_set_text(keys)
        instance = Instance(
            id=_id_of(keys, body.id, jwt.issuer_of(given)),
            account_id=account.id,
            kind=body.kind,
            name=name_of(body.name),
            created_at=now,
            pinned_keys=text if body.jwks_url is None else None,
            jwks_url=body.jwks_url,
            jwks=None if body.jwks_url is None else text,
            jwks_fetched_at=None if body.jwks_url is None else now,
            push_url=self._push_url(body.push_url),
            cap=amount(body.cap_usd, "cap_usd"),
        )
        await self._instances.add(instance, actor_of(principal))
        return answers.json(await self._described(instance), 201)

    async def provision(self, request: Request, principal: Principal | None) -> Response:
        """An instance whose key is made here: it goes into that instance's home as `signing.key`."""
        body = await decoded(request, Provision)
        account = await find_account(self._services.store.directory, body.account, "account")
        key, now = jwt.new_key(), self._services.clock.now_ms()
        instance = Instance(
            id=jwt.instance_id(key),
            account_id=account.id,
            kind="instance",
            name=name_of(body.name),
            created_at=now,
            pinned_keys=jwt.key_set_text({key.thumbprint(): key}),
            push_url=self._push_url(body.push_url),
            cap=amount(body.cap_usd, "cap_usd"),
        )
        await self._instances.add(instance, actor_of(principal))
        provisioned: ProvisionedInstance = {
            **await self._described(instance),
            "signing_key": key.as_pem(private=True).decode(),
            "audience": self._services.site.url,
        }
        return answers.json(provisioned, 201)

    async def show(self, request: Request, _principal: Principal | None) -> Response:
        """One instance."""
        return answers.json(await self._described(await self._find(request)))

    async def change(self, request: Request, principal: Principal | None) -> Response:
        """What the body names is changed, and nothing else; in force for the next call."""
        body = await decoded(request, InstanceChange)
        async with self._changing:
            changed = self._changed(await self._find(request), body)
            await self._instances.update(changed, actor_of(principal), "instance.update")
        return answers.json(await self._described(changed))

    def _changed(self, instance: Instance, body: InstanceChange) -> Instance:
        changes: dict[str, Any] = {}
        if body.name is not UNSET:
            changes["name"] = name_of(body.name)
        if body.push_url is not UNSET:
            changes["push_url"] = self._push_url(body.push_url)
        if body.cap_usd is not UNSET:
            changes["cap"] = amount(body.cap_usd, "cap_usd")
        if body.add_key is not UNSET or body.remove_key is not UNSET:
            changes["pinned_keys"] = _changed_keys(instance, body)
        if not changes:
            raise InvalidRequest("Nothing to change: name at least one field.")
        return msgspec.structs.replace(instance, **changes)

    async def revoke(self, request: Request, principal: Principal | None) -> Response:
        """Ends an instance: none of its bearers is accepted any more, and nothing is sent to it."""
        async with self._changing:
            instance = await self._find(request)
            if instance.revoked_at is not None:
                raise Conflict(f"The instance {instance.id} was revoked already, at {iso(instance.revoked_at)}.")
            revoked = msgspec.structs.replace(instance, revoked_at=self._services.clock.now_ms())
            await self._instances.update(revoked, actor_of(principal), "instance.revoke")
        return answers.json(await self._described(revoked))

    async def revoke_token(self, request: Request, principal: Principal | None) -> Response:
        """Ends one bearer before its time."""
        body = await decoded(request, RevokedToken)
        instance = await self._find(request)
        if not jwt.is_jti(body.jti):
            raise InvalidRequest("'jti' must be the id of a bearer, as it has it.", param="jti")
        ends = self._services.clock.now_ms() + (jwt.LONGEST_LIFE + 2 * jwt.SKEW) * 1000
        await self._instances.revoke_jti(instance.id, body.jti, ends, actor_of(principal))
        return answers.json(ShownRevokedToken(object="revoked_token", instance=instance.id, jti=body.jti), 201)

    async def _find(self, request: Request) -> Instance:
        instance = await self._instances.find(request.path_params["id"])
        if instance is None:
            raise NotFound("There is no such instance.")
        return instance

    async def _fetched(self, url: str) -> str:
        try:
            return await key_sets.fetch(self._services.outside, url)
        except OutsideError as error:
            raise InvalidRequest(f"The address {error}.", param="jwks_url") from None

    def _push_url(self, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            self._services.outside.check(url)
        except OutsideError as error:
            raise InvalidRequest(f"The address {error}.", param="push_url") from None
        return url.rstrip("/").removesuffix("/v1")

    async def _described(self, instance: Instance) -> ShownInstance:
        account = await self._services.store.directory.account(instance.account_id)
        return described(instance, account)


def described(instance: Instance, account: Account | None) -> ShownInstance:
    """An instance as it is shown."""
    text = instance.pinned_keys if instance.jwks_url is None else instance.jwks
    return {
        "id": instance.id,
        "object": "instance",
        "name": instance.name,
        "kind": instance.kind,
        "account": instance.account_id if account is None else account.name,
        "keys": [] if text is None else msgspec.json.decode(text)["keys"],
        "jwks_url": instance.jwks_url,
        "jwks_fetched_at": _iso(instance.jwks_fetched_at),
        "push_url": instance.push_url,
        "cap_usd": None if instance.cap is None else usd(instance.cap),
        "created_at": iso(instance.created_at),
        "revoked_at": _iso(instance.revoked_at),
    }


def _keys(text: str, param: str = "key") -> "dict[str, Key]":
    try:
        return jwt.read_key_set(text)
    except ValueError as error:
        raise InvalidRequest(f"Invalid value for '{param}': {error}.", param=param) from None


def _id_of(keys: "Mapping[str, Key]", given: str | None, said: str | None) -> str:
    """The id of the instance whose keys these are: given by the operator, or following from a key.

    What a set says of itself is believed only where one of its keys proves it.
    """
    if given is not None:
        if not jwt.is_instance_id(given):
            raise InvalidRequest("'id' must be an instance's id, as `spl instance self` prints it.", param="id")
        return given
    ids = [jwt.instance_id(key) for key in keys.values()]
    if said in ids or (said is None and len(ids) == 1):
        return said or ids[0]
    hint = "" if said is None else f" It says {said}; none of its keys proves that."
    raise InvalidRequest(f"Say with 'id' which instance the keys are of.{hint}", param="id")


def _changed_keys(instance: Instance, body: InstanceChange) -> str:
    if instance.jwks_url is not None or instance.pinned_keys is None:
        raise Conflict("The keys of this instance are fetched from its JWKS URL: rotate them there.")
    keys = jwt.read_key_set(instance.pinned_keys)
    if body.add_key is not UNSET:
        keys |= _keys(body.add_key, "add_key")
    if body.remove_key is not UNSET and keys.pop(body.remove_key, None) is None:
        raise InvalidRequest("The instance has no such key.", param="remove_key")
    if not 0 < len(keys) <= jwt.MOST_KEYS:
        raise InvalidRequest(f"An instance has 1 to {jwt.MOST_KEYS} keys; to end it, revoke it.")
    return jwt.key_set_text(keys)


def _iso(at_ms: int | None) -> str | None:
    return None if at_ms is None else iso(at_ms)
