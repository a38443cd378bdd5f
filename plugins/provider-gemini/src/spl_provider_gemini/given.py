"""What a conversion needs besides the request: had from outside before it begins, so that it is pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_core.ports import MediaFile
from spl_provider_gemini.rules import ModelRules

Json = dict[str, Any]


class Given(msgspec.Struct, frozen=True):
    """The model's rules, and what was fetched and remembered for this call."""

    model: str
    rules: ModelRules
    #: The output tokens that are held for a call that names no limit.
    held: int | None = None
    #: By address.
    media: Mapping[str, MediaFile] = {}
    #: By tool call id.
    signatures: Mapping[str, str] = {}
    google_fetches: tuple[str, ...] = ()
    include_thoughts: bool = False
    safety: Mapping[str, str] = {}
