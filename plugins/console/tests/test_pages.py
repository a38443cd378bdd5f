"""Who may open what: every page and act, asked for by everybody; and nobody's rows but one's own."""

import re
from typing import Any

import pytest
from spl_console.page import Page

from gateway_core.config_file import load
from gateway_core.gateway import Gateway
from gateway_core.home import Home

#: The whole console. A page that is not here, or needs something else, fails the first test.
EXPECTED = {
    "GET /sign-in": "nobody",
    "POST /sign-in": "nobody",
    "GET /link": "nobody",
    "POST /link": "nobody",
    "POST /sign-out": "inference",
    "POST /theme": "nobody",
    "GET ": "inference",
    "GET /keys": "owner",
    "POST /keys": "owner",
    "GET /keys/minted": "owner",
    "GET /keys/{id}/revoke": "owner",
    "POST /keys/{id}/revoke": "owner",
    "GET /models": "inference",
    "GET /models/limits": "inference",
    "GET /tokenizer": "inference",
    "POST /tokenizer": "inference",
    "POST /tokenizer/tokens": "inference",
    "GET /playground": "inference",
    "POST /playground": "inference",
    "POST /playground/stream": "inference",
    "GET /playground/calls/{id}": "inference",
}

#: Role → what it has.
ROLES = {
    "nobody": set(),
    "application": {"inference"},
    "owner": {"inference", "owner"},
    "operator": {"inference", "owner", "operator"},
}


def filled(path: str) -> str:
    return re.sub(r"{\w+(:\w+)?}", "x", path)


def test_the_list_of_pages_is_this_one(bench: Any) -> None:
    assert {f"{page.method} {page.path}": page.needs for page in bench.console.pages} == EXPECTED
    assert all(page.summary for page in bench.console.pages)


async def test_every_page_lets_in_whom_it_names(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of routes × roles, printed with `-rA`."""
    visitors = {who: bench.visitor() if who == "nobody" else await bench.signed_in(who) for who in ROLES}
    for page in bench.console.pages:
        row = []
        for who, has in ROLES.items():
            leaves = page.path == "/sign-out" and who != "nobody"
            told = await seen(page, await bench.signed_in(who) if leaves else visitors[who])
            row.append(told)
            expected = "in" if page.needs == "nobody" or page.needs in has else "sign in" if not has else "403"
            assert told == expected, (page.method, page.path, who)
        print(f"{page.method:5} {page.path or '/':28} {page.needs:10} " + " ".join(f"{each:9}" for each in row))


async def seen(page: Page, visitor: Any) -> str:
    """in, 403, or sent to sign in."""
    path = filled(page.path)
    if page.script:
        answer = await visitor.script(page.method, path, None if page.method == "GET" else {})
    elif page.method == "GET":
        answer = await visitor.get(path)
    else:
        answer = await visitor.post(path)
    if answer.status_code == 403:
        assert "needs a key" in answer.text or "for operators" in answer.text, answer.text
        return "403"
    sent = answer.headers.get("location", answer.headers.get("hx-redirect", ""))
    if "/sign-in?why=first" in sent:
        assert answer.status_code == (401 if page.script else 303)
        return "sign in"
    assert answer.status_code not in {401, 503} or page.path in {"/sign-in", "/link"}, (page.path, answer.text)
    return "in"


async def test_every_route_of_the_console_is_a_page_or_a_file(bench: Any) -> None:
    found = {f"{route.method} {route.path}" for route in bench.gateway.app.routes if "console" in route.path}
    pages = {f"{page.method} /console{page.path}" for page in bench.console.pages}
    rest = {"GET /console/assets/{digest}/{name}", "GET /console/{rest:path}", "POST /v1/console/links"}
    assert found == pages | rest


async def test_an_account_sees_its_own_rows_only(bench: Any) -> None:
    """Every page with an id in it, asked with the ids of another account; and every page that lists."""
    theirs = (await bench.operate("GET", "/v1/keys?account=acme"))["data"]
    other = await bench.signed_in("other")
    call = await bench.signed_in("owner")
    streamed = await call.script("POST", "/playground/stream", chat())
    assert streamed.status_code == 200
    ids = {"keys": [key["id"] for key in theirs], "calls": [streamed.headers["x-request-id"]]}
    assert (await call.script("GET", f"/playground/calls/{ids['calls'][0]}")).status_code == 200
    for page in bench.console.pages:
        if "{id}" not in page.path:
            continue
        kind = "keys" if page.path.startswith("/keys") else "calls"
        for each in ids[kind]:
            path = page.path.replace("{id}", each)
            if page.script:
                answer = await other.script(page.method, path)
            else:
                answer = await (other.get(path) if page.method == "GET" else other.post(path))
            told = (page.path, answer.text)
            assert answer.status_code == 404 or (answer.status_code, answer.json()) == (202, {"settled": False}), told
    for page in bench.console.pages:
        if page.method == "GET" and "{id}" not in page.path:
            text = (await other.get(page.path)).text
            assert not any(key["id"] in text or key["hint"] in text for key in theirs), page.path
    assert [key["revoked_at"] for key in (await bench.operate("GET", "/v1/keys?account=acme"))["data"]] == [None] * 3
    assert (await other.get("/keys?account=acme")).status_code == 403
    assert (await other.post("/keys", name="x", account="acme")).status_code == 403
    assert "owner" in (await (await bench.signed_in("operator")).get("/keys?account=acme")).text


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": "user", "content": "Hello"}], "stream": True, **more}


async def test_what_is_not_there_is_a_page(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    answer = await visitor.get("/nothing/at/all")
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert (await visitor.get("/")).headers["location"] == "/console"


async def test_a_failure_is_a_page_with_the_requests_id(bench: Any) -> None:
    visitor = await bench.signed_in("application")
    answer = await visitor.get("/keys")
    assert answer.status_code == 403
    assert answer.headers["x-request-id"] in answer.text


async def test_pages_say_what_browsers_may_do(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    for path in ("", "/keys", "/tokenizer", "/nothing", "/sign-in"):
        answer = await visitor.get(path)
        if answer.status_code == 303:
            continue
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", answer.text), path


def test_there_is_no_console_where_it_is_off(tmp_path: Any) -> None:
    file = tmp_path / "off.toml"
    file.write_text('include = ["shipped:self-host.toml"]\n[plugins.console]\nenabled = false\n')
    gateway = Gateway.assemble(load(file), Home(tmp_path / "home"))
    assert [route.path for route in gateway.app.routes if "console" in route.path] == []


async def test_pages_answer_forms_without_scripts(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    tokens = await visitor.post("/tokenizer", model="gpt-4o", text="The café's 𝒳\r\nend")
    assert tokens.status_code == 200
    assert tokens.text.count('class="t t') == int(re.findall(r'id="count">(\d+)<', tokens.text)[0])
    answer = await visitor.post("/playground", model="gpt-4o", message="Write 12 words about ledgers.", limit="20")
    assert answer.status_code == 200, answer.text
    assert "gateway relays" in answer.text
    refused = await visitor.post("/playground", model="gpt-4o", message="Hello", limit="many")
    assert (refused.status_code, "whole number" in refused.text) == (400, True)


def test_no_call_passes_anything_of_the_consoles(bench: Any) -> None:
    """Its presence costs a call nothing: it has no part in any decision or observation of one."""
    (found,) = [each for each in bench.gateway.plugins.report if each.name == "console"]
    assert set(found.hooks) == {"register_routes", "register_commands"}
