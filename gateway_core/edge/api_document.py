"""The gateway's API as an OpenAPI 3.1 document, made of its routes, their gates and their types."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from gateway_core.config import ServerConfig
from gateway_core.edge import api_chat
from gateway_core.edge.errors import error_object
from gateway_core.edge.routing import RouteInfo
from gateway_core.errors import (
    AccountSuspended,
    GatewayError,
    InsufficientScope,
    InternalError,
    InvalidBearer,
    InvalidJwtSignature,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestTooLarge,
)
from gateway_core.ports import Shape

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_EXAMPLE_ID = "req_01JD9X7C5T8W3V2R6Q4P0N1M8K"
_VARIABLE = re.compile(r"{(\w+)(?::\w+)?}")
_ABOUT = """An OpenAI-compatible gateway. Amounts of money are text, exact to the last digit; instants are UTC."""

_VARIABLES = {
    "id": "Its id, as the listing has it.",
    "name": "An account, by name or id.",
    "account": "An account, by name or id.",
    "thread": "A thread: `th_` and up to 60 of a to z, 0 to 9 and _.",
    "month": "A UTC month such as 2026-11.",
    "sink": "A sink, as the listing has it.",
}
_GROUPS = {
    "chat": "calling models",
    "models": "calling models",
    "capabilities": "calling models",
    "tokenize-text": "calling models",
    "requests": "calling models",
    "keys": "an account",
    "usage": "an account",
    "invoices": "an account",
    "threads": "records",
    "audit": "records",
    "admin": "operators",
}
_REST = "the instance"
_REASONS = {
    200: "Done.",
    201: "Made.",
    400: "The request is wrong: `param` names the field.",
    401: "The bearer is not accepted.",
    402: "Money stands in the way.",
    403: "The bearer may not do that.",
    404: "There is no such thing, or it is not the caller's.",
    409: "It exists already, or its state does not allow that.",
    413: "The body is too large.",
    422: "The same Idempotency-Key with another body.",
    429: "Too much in too short a time: `Retry-After` says how long to wait.",
    503: "It cannot be served now: `Retry-After` says how long to wait.",
}
_NAMES_OF_LIMITS = tuple(
    f"x-ratelimit-{what}-{unit}" for unit in ("requests", "tokens") for what in ("limit", "remaining", "reset")
)


def document(routes: Sequence[RouteInfo], server: ServerConfig, *, anonymous: bool = False) -> Json:
    """The document. `anonymous`: a call without a bearer may be served."""
    shaped = [(route, route.shape) for route in routes if route.shape is not None]
    types = list(dict.fromkeys(kind for _, shape in shaped for kind in _types(shape)))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    components = {name: components[name] for name in sorted(components)}
    _describe(components["ChatBody"], api_chat.FIELDS)
    writer = _Writer(server, dict(zip(types, schemas, strict=True)), components, anonymous=anonymous)
    paths: defaultdict[str, Json] = defaultdict(dict)
    for route, shape in shaped:
        paths[_path(route)][route.method.lower()] = writer.operation(route, shape)
    return _plain_names(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "spl-gateway",
                "version": version("spl-gateway"),
                "description": _ABOUT,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": name} for name in dict.fromkeys([*_GROUPS.values(), *map(_tag, paths)])],
            "paths": dict(paths),
            "components": {
                "schemas": {**components, "Error": writer.error_schema()},
                "responses": {name: writer.refusals[name] for name in sorted(writer.refusals)},
                "headers": writer.headers(),
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "A key (`sk-…`), or a JWT of an instance that is registered here.",
                    }
                },
            },
        }
    )


class _Writer:
    """Writes operations for one configuration: its header prefix, its dialect of errors."""

    def __init__(self, server: ServerConfig, schemas: Mapping[Any, Json], components: Json, *, anonymous: bool) -> None:
        self._server = server
        self._schemas = schemas
        self._components = components
        self._anonymous = anonymous
        #: What operations refuse with, by name: many do with the same.
        self.refusals: Json = {}

    def operation(self, route: RouteInfo, shape: Shape) -> Json:
        """One route's entry."""
        path = _path(route)
        written: Json = {
            "operationId": _slug(f"{route.method.lower()} {path}"),
            "summary": route.summary,
            "tags": [_tag(path)],
            "x-gate": route.gate,
            "security": self._security(route, shape),
            "responses": self._responses(route, shape),
        }
        if route.about:
            written["description"] = route.about
        if parameters := self._parameters(path, shape):
            written["parameters"] = parameters
        if shape.body is not None:
            schema = self._schema(shape.body)
            required = bool(self._resolved(schema).get("required"))
            written["requestBody"] = {"required": required, "content": {"application/json": {"schema": schema}}}
        return written

    def _security(self, route: RouteInfo, shape: Shape) -> list[Json]:
        if route.gate == "public":
            return [{}, {"bearer": []}] if InvalidBearer in shape.errors else []
        if route.gate == "caller":
            needed: list[Json] = [{"bearer": []}]
        else:
            needed = [{"bearer": [route.gate]}]
        return [*needed, {}] if self._anonymous and route.gate in ("caller", "inference") else needed

    def _parameters(self, path: str, shape: Shape) -> list[Json]:
        found: list[Json] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": _VARIABLES.get(name, ""),
                "schema": {"type": "string", "minLength": 1},
            }
            for name in _VARIABLE.findall(path)
        ]
        for place, kind in (("query", shape.query), ("header", shape.headers)):
            if kind is None:
                continue
            struct = next(iter(msgspec.json.schema_components([kind], ref_template=_REF)[1].values()))
            for name, schema in struct["properties"].items():
                described = {key: value for key, value in schema.items() if key != "description"}
                parameter: Json = {"name": name, "in": place, "schema": described}
                if "description" in schema:
                    parameter["description"] = schema["description"]
                if name in struct.get("required", ()):
                    parameter["required"] = True
                found.append(parameter)
        return found

    def _responses(self, route: RouteInfo, shape: Shape) -> Json:
        answers: Json = {}
        content: Json = {"application/json": {"schema": self._schema(shape.answer)}}
        content.update((kind, {"schema": {"type": "string"}}) for kind in shape.also)
        for status in shape.statuses:
            answers[str(status)] = {
                "description": _REASONS[status],
                "headers": self._used_headers(status, shape.sends),
                "content": content,
            }
        by_status: defaultdict[int, list[type[GatewayError]]] = defaultdict(list)
        for error in dict.fromkeys([*_implied(route, shape), *shape.errors]):
            by_status[error.status].append(error)
        for status in sorted(by_status):
            if status not in shape.statuses:
                answers[str(status)] = self._refusal(status, by_status[status], shape)
        return answers

    def _refusal(self, status: int, errors: Sequence[type[GatewayError]], shape: Shape) -> Json:
        shown = {error.code: {"value": {"error": self._error(error)}} for error in errors}
        codes = list(dict.fromkeys(each["value"]["error"]["code"] for each in shown.values()))
        narrowed = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
        schema = {"allOf": [{"$ref": _REF.format(name="Error")}, narrowed]}
        sends = [each for each in shape.sends if each in ("tier", "limits")]
        name = ".".join([str(status), *shown, *sends])
        self.refusals[name] = {
            "description": _REASONS[status],
            "headers": self._used_headers(status, sends),
            "content": {"application/json": {"schema": schema, "examples": shown}},
        }
        return {"$ref": f"#/components/responses/{name}"}

    def _error(self, error: type[GatewayError]) -> Json:
        """The error object of an error, in the configured dialect, its message what the error is for."""
        about = re.sub(r"\s+", " ", (error.__doc__ or "").split(". ")[0]).rstrip(".") + "."
        made = error(about, retry_after=1 if error.status in (429, 503) else None) if _waits(error) else error(about)
        return error_object(made, _EXAMPLE_ID, self._server)

    def _used_headers(self, status: int, sends: Iterable[str]) -> Json:
        names = ["request_id", "x_request_id", *sends]
        if status == 401:
            names.append("authenticate")
        if status in (429, 503):
            names.append("retry_after")
        if status in (409, 429):
            names.append("should_retry")
        wire = self._wire_names()
        return {header: {"$ref": f"#/components/headers/{header}"} for name in names for header in wire[name]}

    def _wire_names(self) -> dict[str, tuple[str, ...]]:
        prefix = self._server.header_prefix
        return {
            "request_id": (f"{prefix}Request-ID",),
            "x_request_id": ("x-request-id",),
            "tier": (f"{prefix}Tier",),
            "cost": (f"{prefix}Cost-Cents",),
            "limits": _NAMES_OF_LIMITS,
            "replayed": ("Idempotent-Replayed", f"{prefix}Original-Request-ID"),
            "authenticate": ("WWW-Authenticate",),
            "retry_after": ("Retry-After",),
            "should_retry": ("x-should-retry",),
        }

    def headers(self) -> Json:
        """Every header that an answer may have, by its name."""
        text = {"type": "string"}
        about: dict[str, tuple[str, Json, bool]] = {
            "request_id": ("The request's id, as logs and records have it.", {**text, "pattern": "^req_"}, True),
            "x_request_id": ("The same, by the name that SDKs know.", {**text, "pattern": "^req_"}, True),
            "tier": ("The tier that the call is on.", text, False),
            "cost": ("The charge in cents: exact, decimal.", {**text, "pattern": r"^[0-9]+(\.[0-9]+)?$"}, False),
            "limits": ("A limit that applies, as OpenAI says it.", text, False),
            "replayed": ("The answer was made for an earlier call with the same Idempotency-Key.", text, False),
            "authenticate": ("How to show who calls.", text, True),
            "retry_after": ("Whole seconds to wait.", {"type": "integer", "minimum": 0}, True),
            "should_retry": ("`false` where trying again does not help.", {"enum": ["true", "false"]}, False),
        }
        return {
            header: {"description": about[name][0], "required": about[name][2], "schema": about[name][1]}
            for name, headers in self._wire_names().items()
            for header in headers
        }

    def error_schema(self) -> Json:
        """An error's body in the configured dialect."""
        maybe = {"type": ["string", "null"]}
        text = {"type": "string"}
        properties: Json = {"message": text, "type": text, "param": maybe}
        if self._server.error_dialect == "openai":
            required = ["message", "type", "param", "code"]
            properties["code"] = maybe
        else:
            required = ["code", "kind", "message", "type", "param", "request_id"]
            properties |= {"code": text, "kind": text, "request_id": text, "retry_after_seconds": {"type": "integer"}}
        error = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return {"type": "object", "title": "Error", "properties": {"error": error}, "required": ["error"]}

    def _schema(self, kind: Any) -> Json:
        return {"type": "object"} if kind is None else self._schemas[kind]

    def _resolved(self, schema: Json) -> Json:
        """The object that a schema refers to."""
        if "$ref" not in schema:
            return schema
        found: Json = self._components[schema["$ref"].rpartition("/")[2]]
        return found


def _types(shape: Shape) -> list[Any]:
    events = [api_chat.ChatChunk] if "text/event-stream" in shape.also else []
    return [kind for kind in (shape.body, shape.answer, *events) if kind is not None]


def _implied(route: RouteInfo, shape: Shape) -> list[type[GatewayError]]:
    """What any route of that kind can refuse with."""
    found: list[type[GatewayError]] = []
    gated = route.gate != "public"
    if shape.query or shape.headers or shape.body is not None or "{" in route.path:
        found.append(InvalidRequest)
    if gated or InvalidBearer in shape.errors:
        found += [InvalidBearer, InvalidJwtSignature, AccountSuspended]
    if gated and route.gate != "caller":
        found.append(InsufficientScope)
    if "{" in route.path:
        found.append(NotFound)
    if shape.body is not None:
        found.append(RequestTooLarge)
    return [*found, RateLimited, InternalError]


def _waits(error: type[GatewayError]) -> bool:
    return error.status in (429, 503)


def _describe(schema: Json, fields: Mapping[str, str]) -> None:
    for name, about in fields.items():
        schema["properties"][name]["description"] = about


def _path(route: RouteInfo) -> str:
    return _VARIABLE.sub(r"{\1}", route.path)


def _tag(path: str) -> str:
    """The group that a path belongs to; a plugin's new one is a group of its own."""
    first, *rest = [part for part in path.split("/") if part and not part.startswith("{")]
    return _GROUPS.get(rest[0], rest[0]) if first == "v1" and rest else _REST


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _plain_names(made: Json) -> Json:
    """The document with component names as they may be: those of generic types have brackets, and
    the private parts of a call's body a line."""
    names = made["components"]["schemas"]
    renamed = {name: re.sub(r"[^A-Za-z0-9]+", "", re.sub(r"^_", "Chat", name)) for name in names}
    text = msgspec.json.encode(made).decode()
    for old, new in renamed.items():
        text = text.replace(f'"#/components/schemas/{old}"', f'"#/components/schemas/{new}"')
    plain: Json = msgspec.json.decode(text)
    schemas = plain["components"]["schemas"]
    plain["components"]["schemas"] = {renamed[name]: schemas[name] for name in sorted(schemas)}
    return plain
