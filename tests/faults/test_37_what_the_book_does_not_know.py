"""Fault 37: parameters that cost what the book does not know, and ids of another tenant's: 400 before any hold."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.profiles import MESSAGES, Vendors, environment, managed, mint, subscriber
from gateway_core.testing.server import ServedGateway, serving

AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
FILE = {"type": "file", "file": {"file_id": "file-of-another-tenant"}}

BODIES: list[tuple[dict[str, Any], str]] = [
    ({"service_tier": "priority"}, "service_tier"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ({"messages": [{"role": "user", "content": [AUDIO]}]}, "messages[0].content[0].input_audio"),
    ({"messages": [{"role": "user", "content": [FILE]}]}, "messages[0].content[0].file.file_id"),
    ({"messages": [*MESSAGES, {"role": "assistant", "audio": {"id": "audio_x"}}, *MESSAGES]}, "messages[1].audio"),
    ({"store": True}, "store"),
]
OWN = """
[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:OPENAI_API_KEY"
[models.priced]
routes = [{{ provider = "strict", model = "gpt-4o" }}]
price = {{ input = "1", output = "2" }}
[models.free]
routes = [{{ provider = "strict", model = "gpt-4o" }}]
price = "free"
"""


@pytest.fixture(scope="module")
def served(vendors_process: Vendors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """The managed profile, anonymous tier included."""
    home = tmp_path_factory.mktemp("managed") / "home"
    config = managed(vendors_process, "[tiers.anonymous]\nrequests_per_minute = 100\n")
    with serving(home, config=config, env=environment(vendors_process)) as gateway:
        subscriber(gateway, "acme")
        yield gateway


@pytest.mark.parametrize("stream", [False, True])
def test_each_is_refused_by_name_and_nothing_is_taken(served: ServedGateway, vendors: Vendors, stream: bool) -> None:
    acme = {"authorization": f"Bearer {mint(served, 'acme')}"}
    for headers, model in ((acme, "gpt-4o"), ({}, "gemini-flash-1.5")):
        with httpx2.Client(base_url=served.base_url, headers=headers) as client:
            for fields, param in BODIES:
                body = {"model": model, "messages": MESSAGES, "stream": stream, **fields}
                answer = client.post("/chat/completions", json=body)
                told = (model, fields, answer.text)
                assert answer.status_code == 400, told
                assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("invalid_request", param)
                limit, left = (answer.headers[f"x-ratelimit-{what}-requests"] for what in ("limit", "remaining"))
                assert limit == left, told
    assert vendors.log() == []
    assert served.spl("reconcile", "-o", "json").strip() == "[]"
    assert json.loads(served.spl("thread", "records", "th_audit_api_usage", "-o", "json")) == []


def test_one_s_own_gateway_refuses_what_it_cannot_price_and_nothing_more(
    openai_upstream: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("own") / "home"
    config = OWN.format(base_url=openai_upstream.base_url)
    with (
        serving(home, config=config, env={"OPENAI_API_KEY": openai_upstream.key}) as gateway,
        httpx2.Client(base_url=gateway.base_url, headers={"authorization": f"Bearer {gateway.key}"}) as client,
    ):

        def status(model: str, **fields: Any) -> int:
            body = {"model": model, "messages": MESSAGES, **fields}
            return client.post("/chat/completions", json=body).status_code

        assert status("priced", service_tier="priority") == 400
        assert status("free", service_tier="priority") == 200
        assert status("priced", store=True, metadata={"a": "b"}) == 200
    sent = [each["body"] for each in openai_upstream.log()]
    assert [body.get("service_tier") for body in sent] == ["priority", None]
    assert [body.get("store") for body in sent] == [None, True]
