"""`[providers.NAME]` with `plugin = "provider-openai"`, and what follows from it."""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from gateway_core.upstream.provider_settings import check_base_url, checked_headers, checked_key, plain_headers
from spl_provider_openai.quirks import (
    DeveloperRole,
    ForeignFields,
    LimitField,
    ModelQuirks,
    Quirks,
    bare_name,
    check_omit,
    quirks_of,
)

_VOCABULARIES = (
    (re.compile(r"(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|o1|o3|o4)"), "o200k_base"),
    (re.compile(r"(gpt-4|gpt-3\.5)"), "cl100k_base"),
)


class OpenAISettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One OpenAI-compatible server: where it is, and its peculiarities."""

    base_url: str = "https://api.openai.com/v1"
    organization: str | None = None
    project: str | None = None
    #: Sent with every request.
    headers: Mapping[str, str] = {}
    #: What the server calls the output limit; auto: by the model's name.
    limit_field: LimitField = "auto"
    #: What becomes of messages whose role is `developer`; system: for a server that does not know that role.
    developer_role: DeveloperRole = "keep"
    #: What other vendors and clients put into messages; auto: left out for OpenAI's own models, which may refuse it.
    foreign_fields: ForeignFields = "auto"
    #: Fields of a request that the server refuses, and that are left out therefore.
    omit: frozenset[str] = frozenset()
    #: Ask for usage in streams.
    stream_usage: bool = True
    #: A stream that had its finish reasons and then ended without [DONE].
    missing_done: Literal["accept", "refuse"] = "accept"
    #: The vocabulary that counts its tokens, where the model's name does not tell.
    tokenizer: str | None = None
    #: What is different for some of its models, by a pattern of their names there, e.g. "o3*".
    models: Mapping[str, ModelQuirks] = {}

    def __post_init__(self) -> None:
        """Refuses to leave out what makes a request one."""
        check_omit(self.omit)

    def quirks(self, model: str) -> Quirks:
        """How a model of the server's is asked."""
        server = ModelQuirks(
            limit_field=self.limit_field,
            developer_role=self.developer_role,
            foreign_fields=self.foreign_fields,
            stream_usage=self.stream_usage,
            omit=self.omit,
        )
        return quirks_of(server, self.models, model)


def endpoint(name: str, base_url: str) -> str:
    """The address that completions are asked at. Raises ConfigError where `base_url` is no plain http address."""
    check_base_url(name, base_url, "https://api.openai.com/v1")
    return base_url.rstrip("/") + "/chat/completions"


def headers(name: str, settings: OpenAISettings, api_key: str | None) -> dict[str, str]:
    """The headers of every request: ours and the configured ones, none of a client's."""
    result = plain_headers()
    if api_key is not None:
        result = with_key(result, checked_key(name, api_key))
    own = {"openai-organization": settings.organization, "openai-project": settings.project, **settings.headers}
    return result | checked_headers(name, {header: value for header, value in own.items() if value is not None})


def with_key(others: Mapping[str, str], api_key: str) -> dict[str, str]:
    """The headers of a request with this key."""
    return {**others, "authorization": f"Bearer {api_key}"}


def vocabulary(settings: OpenAISettings, model: str) -> str | None:
    """The published vocabulary that counts the model's tokens exactly."""
    if settings.tokenizer is not None:
        return settings.tokenizer
    bare = bare_name(model)
    return next((vocabulary for names, vocabulary in _VOCABULARIES if names.match(bare)), None)
