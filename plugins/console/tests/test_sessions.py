"""Who is signed in, for how long, and what ends it."""

from typing import Any

import pytest
from spl_console.sessions import LINK_SECONDS, Links, Sessions


class Now:
    """Seconds that a test turns."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def test_a_session_ends_when_it_is_idle_and_when_it_is_old() -> None:
    now = Now()
    sessions = Sessions(now, longest=100, idle=40)
    idle, _ = sessions.begin("key_1")
    used, begun = sessions.begin("key_1")
    for now.at in (30.0, 60.0, 90.0):
        assert sessions.find(used) is begun
    assert sessions.find(idle) is None
    now.at = 100.0
    assert sessions.find(used) is None
    assert len(sessions) == 0


def test_one_key_cannot_end_everybody_elses_sessions() -> None:
    sessions = Sessions(Now(), longest=100, idle=100)
    other, _ = sessions.begin("key_other")
    cookies = [sessions.begin("key_1")[0] for _ in range(40)]
    assert sessions.find(other) is not None
    assert [sessions.find(cookie) is not None for cookie in cookies] == [False] * 8 + [True] * 32


def test_sessions_are_bounded() -> None:
    sessions = Sessions(Now(), longest=100, idle=100)
    first, _ = sessions.begin("key_0")
    for number in range(1, 4097):
        sessions.begin(f"key_{number}")
    assert len(sessions) == 4096
    assert sessions.find(first) is None


def test_one_key_cannot_end_everybody_elses_links() -> None:
    links = Links(Now())
    theirs = links.make("key_2")
    own = [links.make("key_1") for _ in range(300)]
    assert links.take(theirs) == "key_2"
    assert (links.take(own[0]), links.take(own[-1])) == (None, "key_1")


def test_a_link_works_once_and_soon() -> None:
    now = Now()
    links = Links(now)
    first, second = links.make("key_1"), links.make("key_2")
    assert links.take(first) == "key_1"
    assert links.take(first) is None
    assert links.take("x") is None
    now.at = float(LINK_SECONDS)
    assert links.take(second) is None


# ---------------------------------------------------------------- over HTTP


async def test_signing_in_with_a_key_and_out(bench: Any) -> None:
    visitor = bench.visitor()
    answer = await visitor.sign_in(bench.keys["owner"])
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("spl-console=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert bench.keys["owner"] not in cookie
    assert (await visitor.get("")).status_code == 200
    kept = dict(visitor.http.cookies)
    assert (await visitor.post("/sign-out")).status_code == 303
    assert not dict(visitor.http.cookies)
    visitor.http.cookies.update(kept)
    assert "/sign-in" in (await visitor.get("")).headers["location"]


@pytest.mark.parametrize("key", ["", "sk-nothing", "x" * 5000, "sk-\u00e9", "sk-within-key_operator.0"])
async def test_a_wrong_key_stays_outside(bench: Any, key: str) -> None:
    answer = await bench.visitor().post("/sign-in", key=key)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "unknown, revoked or expired" in answer.text


async def test_wrong_keys_count_against_the_address(bench: Any) -> None:
    limit = bench.gateway.services.config.server.failures_per_minute
    visitor, neighbour = bench.visitor("192.0.2.9"), bench.visitor("192.0.2.10")
    for _ in range(limit):
        assert (await visitor.post("/sign-in", key="sk-guess")).status_code == 401
    assert (await visitor.post("/sign-in", key=bench.keys["owner"])).status_code == 429
    assert (await neighbour.sign_in(bench.keys["owner"])).status_code == 303


async def test_a_key_for_records_does_not_sign_in(bench: Any) -> None:
    answer = await bench.visitor().post("/sign-in", key=bench.keys["writer"])
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_revoking_the_key_ends_its_sessions(bench: Any) -> None:
    visitor, key = await bench.signed_in("owner"), bench.keys["owner"]
    (row,) = [
        row for row in (await bench.operate("GET", "/v1/keys?account=acme"))["data"] if row["hint"][-4:] == key[-4:]
    ]
    await bench.operate("DELETE", f"/v1/keys/{row['id']}")
    answer = await visitor.get("/models")
    assert "why=ended" in answer.headers["location"]
    assert len(bench.console.sessions) == 0
    script = await visitor.script("GET", "/models/limits")
    assert script.status_code == 401
    assert "/sign-in" in script.headers["hx-redirect"]


async def test_suspending_the_account_ends_them_too(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    await bench.operate("PATCH", "/v1/admin/accounts/acme", {"suspended": True})
    answer = await visitor.get("/models")
    assert answer.status_code == 403
    assert "suspended" in answer.text
    assert len(bench.console.sessions) == 0


async def test_a_session_ends_by_itself(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    bench.clock.advance(3599)
    assert (await visitor.get("")).status_code == 200
    bench.clock.advance(3601)
    assert "/sign-in" in (await visitor.get("")).headers["location"]


async def test_a_link_signs_in_once(bench: Any) -> None:
    made = await bench.operate("POST", "/v1/console/links", {})
    path = made["url"].partition("/console")[2]
    visitor = bench.visitor()
    page = await visitor.get(path)
    assert page.status_code == 200
    token = path.partition("token=")[2]
    assert token in page.text
    assert (await visitor.post("/link", token=token)).status_code == 303
    assert "Overview" in (await visitor.get("")).text
    assert (await bench.visitor().post("/link", token=token)).status_code == 401


async def test_what_waits_for_a_page_that_nobody_opens_is_bounded(bench: Any) -> None:
    owner = await bench.signed_in("owner")
    for _ in range(20):
        assert (await owner.http.get("/console/keys/minted", follow_redirects=False)).status_code == 303
    assert (await owner.get("/keys")).text.count("shown once, when it is minted") == 8


async def test_nobody_is_sent_elsewhere(bench: Any) -> None:
    for to in (
        "https://evil.example",
        "//evil.example",
        "/console\\@evil.example",
        "/v1/keys",
        "/consoles",
        "/console\n",
    ):
        answer = await bench.visitor().post("/sign-in", key=bench.keys["owner"], next=to)
        assert answer.headers["location"] == "/console", to
    answer = await bench.visitor().post("/sign-in", key=bench.keys["owner"], next="/console/models?a=b")
    assert answer.headers["location"] == "/console/models?a=b"


async def test_behind_tls_the_cookie_is_bound_to_the_host(bench: Any) -> None:
    visitor = bench.visitor(url="https://gateway.test")
    answer = await visitor.sign_in(bench.keys["owner"])
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-spl-console=")
    assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert (await visitor.get("")).status_code == 200


# ---------------------------------------------------------------- acts that nobody meant


async def test_every_act_wants_the_sessions_token(bench: Any) -> None:
    visitor = await bench.signed_in("operator")
    for page in bench.console.pages:
        if page.method == "GET" or page.path in {"/sign-in", "/link", "/theme"}:
            continue
        path = page.path.replace("{id}", "x").replace("{name}", "x")
        for shown in ("", "wrong", visitor.csrf + "x"):
            if page.script:
                answer = await visitor.http.post(f"/console{path}", json={}, headers={"x-csrf-token": shown})
            else:
                answer = await visitor.http.post(f"/console{path}", data={"csrf": shown})
            assert answer.status_code == 403, (page.path, shown)
            assert "earlier session" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://gateway.test"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://gateway.test.evil.example"},
    ],
)
async def test_another_site_does_nothing(bench: Any, headers: dict[str, str]) -> None:
    visitor = await bench.signed_in("operator")
    for page in bench.console.pages:
        if page.method == "GET":
            continue
        answer = await visitor.post(page.path.replace("{id}", "x"), headers, key=bench.keys["owner"])
        assert answer.status_code == 403, page.path
        assert "another site" in answer.text
    assert (await visitor.get("")).status_code == 200


async def test_our_own_pages_may(bench: Any) -> None:
    visitor = await bench.signed_in("owner")
    for headers in ({"sec-fetch-site": "same-origin"}, {"origin": "http://gateway.test"}):
        assert (await visitor.post("/keys", headers, name="x")).status_code == 303
