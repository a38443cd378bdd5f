"""Whatever is sent: never a 5xx, and every answer as the API's own document and as OpenAI's schema have it.

Schemathesis makes the requests, valid ones and broken ones. SPL_TEST_SEED repeats a run; a failure names its seed.
In CI it is always the same, as with all properties: what a new one finds is no fault of the change that is tested
there.
"""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import integers
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway_core.testing.anthropic_fixture import anthropic_running
from gateway_core.testing.gemini_fixture import gemini_running
from gateway_core.testing.openai_fixture import upstream_running
from gateway_core.testing.server import ServedGateway, serving

SEED = int(os.environ.get("SPL_TEST_SEED") or (0 if "CI" in os.environ else secrets.randbelow(2**32)))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
CHAT_EXAMPLES = 120
SUBSET = Path(__file__).parent / "data" / "openai_chat_subset.json"
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]

#: It would write files wherever the machine lets it; what it does with any path is tested by itself.
LEFT_OUT = {"POST /v1/admin/backup"}

CONFIG = """
include = ["shipped:self-host.toml"]
[server]
failures_per_minute = 1000000
[upstream]
retries = 0
breaker_failures = 0
[plans.pro]
fee_usd = "20"
credit_usd = "10"
[providers.strict-openai]
plugin = "provider-openai"
base_url = "{openai.base_url}"
api_key = "env:OPENAI_TEST_KEY"
[providers.strict-anthropic]
plugin = "provider-anthropic"
base_url = "{anthropic.base_url}"
api_key = "env:ANTHROPIC_TEST_KEY"
[providers.strict-gemini]
plugin = "provider-gemini"
base_url = "{gemini.base_url}"
api_key = "env:GEMINI_TEST_KEY"
[models."gpt-4o"]
routes = [{{ provider = "strict-openai", model = "gpt-4o" }}]
price = "free"
[models."claude-haiku-4-5"]
routes = [{{ provider = "strict-anthropic", model = "claude-haiku-4-5" }}]
price = "free"
[models."gemini-2.5-flash"]
routes = [{{ provider = "strict-gemini", model = "gemini-2.5-flash" }}]
price = {{ input = "1", output = "2" }}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """A gateway with the demo model, and one model at a strict upstream of each provider's."""
    with upstream_running() as openai, anthropic_running() as anthropic, gemini_running() as gemini:
        upstreams = {"openai": openai, "anthropic": anthropic, "gemini": gemini}
        env = {f"{name.upper()}_TEST_KEY": upstream.key for name, upstream in upstreams.items()}
        home = tmp_path_factory.mktemp("any") / "home"
        with serving(home, config=CONFIG.format_map(upstreams), env=env) as running:
            yield running


@pytest.fixture(scope="module")
def known(served: ServedGateway) -> dict[str, list[str]]:
    """Names that lead somewhere, by the field or parameter that takes them: what is made up hardly ever does."""
    headers = {"authorization": f"Bearer {served.operator_key}"}
    with httpx2.Client(base_url=served.url, headers=headers) as http:
        body = {"model": "demo", "messages": [{"role": "user", "content": "Hello."}]}
        call = http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {served.key}"})
        key = http.post("/v1/keys", json={"name": "fuzzed", "account": "local"}).json()["id"]
        instance = {"name": "fuzzed", "account": "local"}
        made = http.post("/v1/admin/provisioned-instances", json=instance).json()["id"]
        month = http.get("/v1/admin/usage").json()["from"][:7]
        sinks = http.get("/v1/admin/outbox").json()["data"]
    return {
        "account": ["local"],
        "name": ["local"],
        "model": ["demo", "gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash"],
        "id": [key, made, call.headers["x-request-id"], "demo"],
        "month": [month],
        "thread": ["th_audit_api_usage"],
        "sink": [sink["sink"] for sink in sinks] or ["audit-thread"],
        "scopes": ["inference"],
        "plan": ["pro"],
        "kind": ["refund"],
        "amount_usd": ["0.01"],
        "audience": ["https://gateway.example.com"],
    }


def with_known(case: Any, known: dict[str, list[str]], choice: int) -> None:
    """Puts names that lead somewhere into a request."""
    for values in (case.path_parameters, case.query, case.body):
        if not isinstance(values, dict):
            continue
        for name, value in list(values.items()):
            if isinstance(value, str) and name in known:
                values[name] = known[name][choice % len(known[name])]
            elif name == "suspended":
                values[name] = False  # or nobody could call any more


def events_fit(response: Any, chunk: jsonschema_rs.Validator) -> None:
    """A stream is chunks as documented and [DONE], or it ends with an error."""
    parts = [part for part in response.text.split("\n\n") if part and not part.startswith(":")]
    assert all(part.startswith("data: ") for part in parts), response.text
    *events, last = [part.removeprefix("data: ") for part in parts]
    for event in events:
        chunk.validate(json.loads(event))
    assert last == "[DONE]" or json.loads(last)["error"]["code"] == "provider_error", last


def failures_of(
    operation: Any, mode: GenerationMode, examples: int, call: Callable[[Any, int], Any], chunk: jsonschema_rs.Validator
) -> list[str]:
    """What is wrong with the answers to an operation's requests of one kind; the smallest request for it."""

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
    )
    @given(case=operation.as_strategy(generation_mode=mode), choice=integers(0, 7))
    def each(case: Any, choice: int) -> None:
        answer = call(case, choice)
        if "text/event-stream" in str(answer.headers["content-type"]):
            case.validate_response(answer, checks=[status_code_conformance, response_headers_conformance])
            events_fit(answer, chunk)
        else:
            case.validate_response(answer, checks=CHECKS)

    try:
        each()
    except Unsatisfiable:
        return []  # it takes nothing that could be broken
    except (Failure, FailureGroup, AssertionError, ValueError) as failure:
        return [f"{operation.label} ({mode}): {failure}"]
    return []


def told(served: ServedGateway, wrong: list[str]) -> str:
    """What is wrong, how to see it again, and what the gateway logged of it."""
    logged = [line for line in served.output().splitlines() if '"level": "error"' in line]
    return "\n\n".join([f"SPL_TEST_SEED={SEED}", *wrong, *logged[-5:]])


def validator(document: dict[str, Any], name: str) -> jsonschema_rs.Validator:
    """What one of the document's schemas says."""
    root = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema_rs.validator_for(root)


def nullable(schema: Any) -> Any:
    """OpenAI's schema says `nullable`, which JSON Schema does not know."""
    if isinstance(schema, list):
        return [nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    said = {name: nullable(each) for name, each in schema.items() if name != "nullable"}
    return {"anyOf": [said, {"type": "null"}]} if schema.get("nullable") is True else said


@pytest.mark.parametrize("mode", MODES, ids=["valid", "broken"])
def test_no_request_to_our_own_api_fails_or_is_answered_as_it_is_not_documented(
    served: ServedGateway, known: dict[str, list[str]], mode: GenerationMode
) -> None:
    document = httpx2.get(f"{served.url}/openapi.json").json()
    operator, chunk = {"authorization": f"Bearer {served.operator_key}"}, validator(document, "ChatChunk")

    def call(case: Any, choice: int) -> Any:
        if choice:
            with_known(case, known, choice)
        return case.call(base_url=served.url, headers=operator)

    wrong: list[str] = []
    operations = [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]
    assert len(operations) > 50
    for operation in operations:
        if operation.label not in LEFT_OUT:
            wrong += failures_of(operation, mode, EXAMPLES, call, chunk)
    assert not wrong, told(served, wrong)
    assert served.process.poll() is None


@pytest.mark.parametrize("mode", MODES, ids=["valid", "broken"])
def test_no_chat_request_that_openai_has_a_schema_for_fails(served: ServedGateway, mode: GenerationMode) -> None:
    document = nullable(json.loads(SUBSET.read_text()))
    caller, chunk = {"authorization": f"Bearer {served.key}"}, validator(document, "CreateChatCompletionStreamResponse")
    wrong: list[str] = []
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        examples = CHAT_EXAMPLES if operation.method == "post" else EXAMPLES
        wrong += failures_of(
            operation, mode, examples, lambda case, _: case.call(base_url=served.base_url, headers=caller), chunk
        )
    assert not wrong, told(served, wrong)
    assert served.process.poll() is None
