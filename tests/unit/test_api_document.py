"""/openapi.json: valid, whole, of the configuration that is served; /docs: a page that needs nothing from anywhere."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import openapi_spec_validator
import pytest

from gateway_core.config import ServerConfig
from gateway_core.config_file import load
from gateway_core.edge import api_chat
from gateway_core.edge.api_document import document
from gateway_core.edge.api_page import POLICY, page
from gateway_core.edge.app import App
from gateway_core.edge.routing import RouteInfo
from gateway_core.gateway import Gateway
from gateway_core.home import Home
from gateway_core.ports import Shape
from gateway_core.wire.request import ChatBody

API = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    gateway = Gateway.assemble(load(), Home(tmp_path_factory.mktemp("document") / "home"))
    assert isinstance(gateway.app, App)
    return gateway.app


@pytest.fixture(scope="module")
def made(app: App) -> dict[str, Any]:
    """The document of the shipped configuration, as it goes over the wire."""
    encoded = msgspec.json.encode(document(app.routes, ServerConfig()))
    return msgspec.json.decode(encoded)


def operations(made: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_it_is_a_valid_openapi_document(made: dict[str, Any]) -> None:
    assert made["openapi"].startswith("3.1")
    openapi_spec_validator.validate(made)


def test_every_route_is_in_it_with_its_gate_but_pages_for_people(app: App, made: dict[str, Any]) -> None:
    routes = {
        (route.method, re.sub(r":\w+}", "}", route.path)): route.gate for route in app.routes if route.shape is not None
    }
    assert {(method, path): operation["x-gate"] for method, path, operation in operations(made)} == routes
    assert {route.path for route in app.routes if route.shape is None and "console" not in route.path} == {"/docs"}


def test_docs_api_md_names_the_same_endpoints(made: dict[str, Any]) -> None:
    told = set(re.findall(r"^\| ([A-Z]+) (/\S+) \|", API, re.MULTILINE))
    assert {(method, path) for method, path, _ in operations(made)} == told - {("GET", "/docs")}


def test_every_operation_says_what_it_takes_and_answers(made: dict[str, Any]) -> None:
    named = set()
    for method, path, operation in operations(made):
        named.add(operation["operationId"])
        assert operation["summary"], path
        assert operation["responses"], path
        if operation["x-gate"] == "public":
            assert {} in operation["security"] or not operation["security"]
        else:
            assert any("bearer" in each for each in operation["security"])
            assert "401" in operation["responses"], path
        shown = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert shown == set(re.findall(r"{(\w+)}", path))
        for each in operation.get("parameters", ()):
            assert each.get("description"), (method, path, each["name"])
    assert len(named) == len(list(operations(made)))


def test_only_the_configuration_is_an_object_of_any_kind(made: dict[str, Any]) -> None:
    anything = {
        path
        for _, path, operation in operations(made)
        for status, response in operation["responses"].items()
        if status[0] == "2" and response["content"]["application/json"]["schema"] == {"type": "object"}
    }
    assert anything == {"/openapi.json", "/v1/admin/config"}


def test_what_a_call_may_say_is_what_the_gateway_checks(made: dict[str, Any]) -> None:
    body = made["components"]["schemas"]["ChatBody"]
    assert set(api_chat.FIELDS) == set(body["properties"]) == set(ChatBody.__struct_encode_fields__)
    assert all(each["description"] for each in body["properties"].values())
    assert body.get("additionalProperties", True) is True
    chat = made["paths"]["/v1/chat/completions"]["post"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert {"200", "400", "401", "402", "403", "404", "409", "413", "422", "429", "503"} == set(chat["responses"])
    assert "Idempotency-Key" in [each["name"] for each in chat["parameters"]]


def test_refusals_have_their_codes_and_headers(made: dict[str, Any]) -> None:
    found = set()
    for refusal in made["components"]["responses"].values():
        found |= set(refusal["content"]["application/json"]["examples"])
    assert found == set(re.findall(r"^\| \d{3} \| (\w+) \|", API, re.MULTILINE)) - {"method_not_allowed"}
    waiting = [name for name, each in made["components"]["responses"].items() if "Retry-After" in each["headers"]]
    assert waiting == [name for name in made["components"]["responses"] if name[:3] in ("429", "503")]
    headers = made["components"]["headers"]
    told = re.findall(r"`([A-Za-z-]+)`", API.partition("## Headers")[2].partition("## Answers")[0])
    assert {name for name in told if name in headers} >= {"X-Syncropic-Request-ID", "Retry-After", "x-should-retry"}
    assert {name for name in headers if name.startswith("X-Syncropic-")} <= set(told)


def test_it_speaks_the_dialect_and_has_the_prefix_of_its_configuration(app: App) -> None:
    made = document(app.routes, ServerConfig(error_dialect="openai", header_prefix="X-Other-"), anonymous=True)
    openapi_spec_validator.validate(made)
    error = made["components"]["schemas"]["Error"]["properties"]["error"]
    assert set(error["properties"]) == {"message", "type", "param", "code"}
    assert "X-Other-Tier" in made["components"]["headers"]
    assert "Syncropic" not in json.dumps(made)
    examples = made["components"]["responses"]["401.invalid_bearer.invalid_jwt_signature"]["content"]
    codes = {each["value"]["error"]["code"] for each in examples["application/json"]["examples"].values()}
    assert codes == {"invalid_api_key"}
    assert made["paths"]["/v1/chat/completions"]["post"]["security"] == [{"bearer": ["inference"]}, {}]
    assert made["paths"]["/v1/keys"]["get"]["security"] == [{"bearer": ["owner"]}]


def test_a_plugins_endpoint_that_says_nothing_of_its_shape_is_there() -> None:
    routes = [RouteInfo("GET", "/v1/mine/{what}", "caller", "Mine."), RouteInfo("GET", "/x", "public", "", shape=None)]
    made = document(
        [*routes, RouteInfo("POST", "/v1/chat/completions", "inference", "", "", Shape(ChatBody))], ServerConfig()
    )
    openapi_spec_validator.validate(made)
    assert set(made["paths"]) == {"/v1/mine/{what}", "/v1/chat/completions"}
    answer = made["paths"]["/v1/mine/{what}"]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"] == {"type": "object"}


class Links(HTMLParser):
    """What a page loads, runs, or leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.leads: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert name not in {"style", "srcset"}
            assert not name.startswith("on")
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.leads.add(value or "")
            elif name == "src":
                self.loads.append(value or "")


def test_the_page_is_whole_and_asks_nobody_for_anything(made: dict[str, Any]) -> None:
    found = Links()
    text = page(made)
    found.feed(text)
    assert found.tags.isdisjoint({"script", "link", "img", "iframe", "base", "form", "object"})
    assert found.loads == []
    assert {each for each in found.leads if not each.startswith("#")} == {"/openapi.json"}
    assert {each[1:] for each in found.leads if each.startswith("#")} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert all(f"<code>{path}</code>" in text for path in made["paths"])
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


def test_the_page_shows_text_as_text() -> None:
    routes = [
        RouteInfo("GET", "/v1/x", "caller", "<script>alert(1)</script>", '"><b onclick=x>'),
        RouteInfo("POST", "/v1/chat/completions", "inference", "", "", Shape(ChatBody)),
    ]
    found = Links()
    found.feed(page(document(routes, ServerConfig())))
    assert "script" not in found.tags


async def test_both_are_served_to_anybody(app: App) -> None:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as http:
        json_answer, html_answer = await http.get("/openapi.json"), await http.get("/docs")
    assert json_answer.json()["info"]["title"] == "spl-gateway"
    assert html_answer.headers["content-type"] == "text/html; charset=utf-8"
    assert html_answer.headers["content-security-policy"] == POLICY
