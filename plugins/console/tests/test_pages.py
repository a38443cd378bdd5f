"""Who may open what: every page and act, asked for by everybody; and nobody's rows but one's own."""

import re
from pathlib import Path
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
    "GET /usage": "owner",
    "GET /usage/records": "owner",
    "GET /usage/records.csv": "owner",
    "GET /usage/records/{sequence}": "owner",
    "GET /usage/calls/{id}": "owner",
    "GET /subscription": "owner",
    "GET /subscription/invoices/{month}": "owner",
    "GET /accounts": "operator",
    "POST /accounts": "operator",
    "GET /accounts/{id}": "operator",
    "POST /accounts/{id}": "operator",
    "GET /accounts/{id}/{act}": "operator",
    "POST /accounts/{id}/{act}": "operator",
    "GET /providers": "operator",
    "GET /providers/now": "operator",
    "GET /limits": "operator",
    "GET /limits/now": "operator",
    "GET /errors": "operator",
    "GET /errors/now": "operator",
    "GET /outbox": "operator",
    "GET /outbox/now": "operator",
    "POST /outbox/retry": "operator",
    "GET /outbox/sinks/{sink}": "operator",
    "GET /plugins": "operator",
    "GET /log": "operator",
}

README = Path(__file__).parents[1] / "README.md"

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


#: Who asks for a page with an id of the account `acme` in it.
ASKING = ("nobody", "application", "owner", "other", "operator")


async def test_an_account_sees_its_own_rows_only(bench: Any) -> None:
    """Every page with an id in it, asked by everybody with the ids of `acme`: nobody but its owner and operators gets
    there. The README has the whole table; who opens pages without an id is asked above."""
    ids = await ids_of(bench, "acme")
    visitors = {who: bench.visitor() if who == "nobody" else await bench.signed_in(who) for who in ASKING}
    told: dict[str, dict[str, str]] = {}
    for page in sorted(bench.console.pages, key=lambda page: page.method):
        name = f"{page.method} {page.path or '/'}"
        if "{" not in page.path:
            told[name] = {who: "yes" if expected(page, who) == "404" else expected(page, who) for who in ASKING}
            continue
        told[name] = {who: await reached(page, visitors[who], ids) for who in ASKING}
        for who, what in told[name].items():
            assert what == expected(page, who), (name, who, what)
    assert table(told) in README.read_text(), "the README's table is to be:\n" + table(told)
    rows = (await bench.operate("GET", "/v1/keys?account=acme"))["data"]
    # What others asked for was not done: only the owner's and the operator's own requests revoked one.
    assert [row["name"] for row in rows if row["revoked_at"] is not None] == ["spare"]


async def test_what_lists_lists_nobody_elses(bench: Any) -> None:
    """Every page without an id, and with the id of another account in its query."""
    ids = await ids_of(bench, "acme")
    rows = (await bench.operate("GET", "/v1/keys?account=acme"))["data"]
    secrets = {ids["call"], *[row["id"] for row in rows], *[row["hint"] for row in rows]}
    other = await bench.signed_in("other")
    for page in bench.console.pages:
        if page.method != "GET" or "{" in page.path:
            continue
        text = (await other.get(page.path)).text
        assert not any(each in text for each in secrets), page.path
        if page.needs != "owner" or page.path == "/keys/minted":
            continue
        for name in ("acme", ids["account"], "nobody"):
            answer = await other.get(f"{page.path}?account={name}")
            assert answer.status_code == 403, (page.path, name)
            assert not any(each in answer.text for each in secrets), page.path
        assert (await (await bench.signed_in("operator")).get(f"{page.path}?account=acme")).status_code == 200, (
            page.path
        )
    for path in (f"/usage/records/{ids['sequence']}", f"/usage/calls/{ids['call']}", "/subscription/invoices/2026-11"):
        assert (await other.get(f"{path}?account=acme")).status_code == 403
    found = await other.get(f"/usage/records?request={ids['call']}")
    assert (found.status_code, "no call of that request id" in found.text) == (404, True)
    assert (await other.get(f"/usage/records?key={rows[0]['id']}")).text.count("<tr>") == 0
    assert (await other.post("/keys", name="x", account="acme")).status_code == 403


async def ids_of(bench: Any, account: str) -> dict[str, str]:
    """One id of each kind. The other account has called nothing, so no place in a chain is its own, too."""
    owner = await bench.signed_in("owner")
    streamed = await owner.script("POST", "/playground/stream", chat())
    assert streamed.status_code == 200
    assert (await owner.script("GET", f"/playground/calls/{streamed.headers['x-request-id']}")).status_code == 200
    spare = await bench.operate("POST", "/v1/keys", {"name": "spare", "account": account, "scopes": ["inference"]})
    found = await bench.operate("GET", f"/v1/admin/accounts/{account}")
    return {
        "key": spare["id"],
        "call": streamed.headers["x-request-id"],
        "account": found["id"],
        "sequence": "1",
        "month": "2026-11",
        "act": "suspend",
        "sink": "none",
    }


async def reached(page: Page, visitor: Any, ids: dict[str, str]) -> str:
    """In a word: what the page says to whom."""
    kind = {"keys": "key", "usage": "call", "playground": "call", "accounts": "account"}.get(
        page.path.split("/")[1], ""
    )
    path = page.path.format(**{**ids, "id": ids.get(kind, "")})
    if page.path.startswith("/accounts/"):
        path = path.replace("/suspend", "/resume")
    if page.script:
        answer = await visitor.script(page.method, path)
    else:
        answer = await (visitor.get(path) if page.method == "GET" else visitor.post(path))
    if "/sign-in?" in answer.headers.get("location", answer.headers.get("hx-redirect", "")):
        return "sign in"
    if answer.status_code == 202:
        return "404"  # the playground asks until the call is settled: for what is not one's own that is never
    return "yes" if answer.status_code in {200, 303, 400, 409} else str(answer.status_code)


def expected(page: Page, who: str) -> str:
    """What the page is to say to whom."""
    if page.needs == "nobody":
        return "yes"
    if who == "nobody":
        return "sign in"
    if page.needs not in {**ROLES, "other": ROLES["owner"]}[who]:
        return "403"
    mine = who == "owner" or (who == "application" and page.path.startswith("/playground"))
    if page.path == "/subscription/invoices/{month}":
        return "yes"  # of its own account, whoever asks
    if who == "operator":
        # Rows of another account need its name in the query: without one these are the operator's own account's.
        of_all = page.path.startswith(("/keys/", "/accounts/"))
        return "yes" if of_all else "404"
    return "yes" if mine else "404"


def table(told: dict[str, dict[str, str]]) -> str:
    """As Markdown."""
    head = "| page | nobody | application key of A | owner of A | owner of B | operator |\n|---|---|---|---|---|---|\n"
    rows = [f"| `{name}` | " + " | ".join(row[who] for who in ASKING) + " |\n" for name, row in sorted(told.items())]
    return head + "".join(rows)


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


@pytest.mark.parametrize("path", ["/tokenizer/tokens", "/playground/stream"])
async def test_what_is_for_a_script_takes_no_form(bench: Any, path: str) -> None:
    visitor = await bench.signed_in("owner")
    token = {"x-csrf-token": visitor.csrf}
    refused = await visitor.post(path, headers=token, model="gpt-4o", text="x")
    assert (refused.status_code, list(refused.json())) == (400, ["error"])
    assert (await visitor.post(path, model="gpt-4o", text="x")).status_code == 403


def test_no_call_passes_anything_of_the_consoles(bench: Any) -> None:
    """Its presence costs a call nothing: it has no part in any decision or observation of one."""
    (found,) = [each for each in bench.gateway.plugins.report if each.name == "console"]
    assert set(found.hooks) == {"register_routes", "register_commands"}
