"""What people do in the console, page by page, in a real browser."""

import re
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

# ---------------------------------------------------------------- in and out


def test_signing_in_and_out(console: Any, page: Page, watched: Any) -> None:
    watched.expected.append("401")
    page.goto(console.url + "/models")
    expect(page.get_by_role("status")).to_have_text("Sign in to open that page.")
    page.get_by_label("API key").fill("sk-of-somebody-else")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown, revoked or expired")
    page.get_by_label("API key").fill(console.owner)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_have_text("You are signed out.")
    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_link_from_the_command_line_works_once(console: Any, page: Page, browser: Browser, watched: Any) -> None:
    watched.expected.append("401")
    link = console.served.spl("console", "login").strip()
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    other = browser.new_context().new_page()
    other.goto(link)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("alert")).to_contain_text("used before")
    other.context.close()


def test_the_theme_is_a_choice_that_stays(console: Any, owner: Page) -> None:
    owner.goto(console.url)
    owner.get_by_role("button", name="Dark").click()
    expect(owner.locator("html")).to_have_attribute("data-theme", "dark")
    owner.goto(console.url + "/models")
    expect(owner.locator("html")).to_have_attribute("data-theme", "dark")
    dark = owner.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    owner.get_by_role("button", name="Light").click()
    assert owner.url == console.url + "/models"
    assert owner.evaluate("getComputedStyle(document.documentElement).backgroundColor") != dark


def test_a_revoked_key_ends_what_is_open(console: Any, page: Page, watched: Any) -> None:
    """The live part of a page that is open leads to the way in; so does the next click."""
    watched.expected.append("401")
    key = console.mint("acme", "--name", "short-lived")
    console.sign_in(page, key)
    page.goto(console.url + "/models")
    console.served.spl("keys", "revoke", f"key_{key[len('sk-spl') :][:12]}")
    page.wait_for_url(re.compile("/sign-in"))
    expect(page.get_by_role("alert")).to_contain_text("no longer works")


# ---------------------------------------------------------------- keys


def test_minting_using_and_revoking_a_key(console: Any, owner: Page) -> None:
    owner.context.grant_permissions(["clipboard-read", "clipboard-write"])
    owner.goto(console.url + "/keys")
    owner.get_by_label("Name").fill("laptop <script>alert(1)</script>")
    owner.get_by_label("Monthly cap").fill("2.50")
    owner.get_by_label("Expires").select_option("30d")
    owner.get_by_label("Only these").check()
    owner.get_by_label("gpt-4o", exact=True).check()
    owner.get_by_role("button", name="Mint the key").click()
    secret = owner.locator("#secret").text_content() or ""
    assert secret.startswith("sk-")
    owner.get_by_role("button", name="Copy").first.click()
    expect(owner.get_by_role("button", name="Copied")).to_be_visible()
    assert owner.evaluate("navigator.clipboard.readText()") == secret
    curl = owner.locator("#curl").text_content() or ""
    assert secret in curl
    assert f"{console.served.base_url}/chat/completions" in curl
    assert '"model": "gpt-4o"' in curl
    for snippet in ("#python", "#node"):
        expect(owner.locator(snippet)).to_contain_text(secret)
        expect(owner.locator(snippet)).to_contain_text(console.served.base_url)
    owner.reload()
    expect(owner.get_by_role("status")).to_contain_text("shown once")
    assert secret not in owner.content()
    row = owner.get_by_role("row").filter(has_text="laptop <script>")
    expect(row).to_contain_text("$2.50")
    expect(row).to_contain_text("gpt-4o")
    assert called(console, secret, "gpt-4o") == 200
    assert called(console, secret, "claude-sonnet-4-6") == 404
    row.get_by_role("link", name="Revoke").click()
    expect(owner.get_by_role("heading", level=1)).to_contain_text("Revoke laptop")
    assert called(console, secret, "gpt-4o") == 200
    owner.get_by_role("button", name="Revoke the key").click()
    expect(owner.get_by_role("status")).to_contain_text("is revoked")
    assert called(console, secret, "gpt-4o") == 401
    expect(owner.get_by_role("row").filter(has_text="laptop <script>")).to_contain_text("revoked")


def called(console: Any, key: str, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx2.post(f"{console.served.base_url}/chat/completions", headers=headers, json=body)
    return int(answer.status_code)


def test_the_curl_line_works_as_it_stands(console: Any, owner: Page) -> None:
    import subprocess

    owner.goto(console.url + "/keys")
    owner.get_by_label("Name").fill("curl")
    owner.get_by_role("button", name="Mint the key").click()
    line = owner.locator("#curl").text_content() or ""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert '"choices"' in done.stdout


def test_what_is_wrong_with_a_key_stands_beside_what_was_typed(console: Any, owner: Page, watched: Any) -> None:
    watched.expected.append("400")
    owner.goto(console.url + "/keys")
    owner.get_by_label("Name").fill("cheap")
    owner.get_by_label("Monthly cap").fill("five")
    owner.get_by_role("button", name="Mint the key").click()
    expect(owner.get_by_role("alert")).to_contain_text("cap_usd")
    expect(owner.get_by_label("Name")).to_have_value("cheap")
    expect(owner.get_by_label("Monthly cap")).to_have_attribute("aria-invalid", "true")


def test_a_key_by_keyboard_alone(console: Any, page: Page) -> None:
    """From the way in to a secret, without a mouse."""
    page.goto(f"{console.url}/sign-in?next=%2Fconsole%2Fkeys")
    press, typed = page.keyboard.press, page.keyboard.type
    expect(page.get_by_label("API key")).to_be_focused()
    typed(console.owner)
    press("Enter")
    page.get_by_role("heading", level=1, name="API keys").wait_for()
    press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    press("Enter")
    until(page, page.get_by_label("Name"))
    typed("keyboard")
    until(page, page.get_by_label("Expires"))
    press("ArrowDown")
    until(page, page.get_by_role("button", name="Mint the key"))
    press("Enter")
    expect(page.locator("#secret")).to_contain_text("sk-")
    press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none" or page.evaluate("getComputedStyle(document.activeElement).boxShadow") != "none"


def until(page: Page, target: Any) -> None:
    """Tabs to an element."""
    for _ in range(80):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached by the keyboard")


# ---------------------------------------------------------------- models


def test_models_with_prices_and_live_limits(console: Any, page: Page) -> None:
    # An account of its own: what others have called a minute ago would come back while it is looked at.
    console.served.spl("account", "create", "looks-on")
    caller = console.mint("looks-on", "--name", "k", "--scope", "owner")
    console.sign_in(page, caller)
    page.goto(console.url + "/models")
    row = page.get_by_role("row").filter(has_text="gpt-4o")
    expect(row).to_contain_text("$2.50")
    expect(row).to_contain_text("$10.00")
    left = row.locator("[id^=rpm-] .num")
    expect(left).to_contain_text("of 600")
    expect(left).to_have_text("600 of 600")
    assert called(console, caller, "gpt-4o") == 200
    expect(left).to_have_text("599 of 600")
    row.get_by_role("link", name="Try it").click()
    expect(page.get_by_label("Model", exact=True)).to_have_value("gpt-4o")


# ---------------------------------------------------------------- tokenizer


TEXTS = {
    "latin": "The quick brown fox.",
    "chinese": "今天的天气很好，我们去公园散步吧。",
    "hindi": "नमस्ते दुनिया",
    "arabic": "مرحبا بالعالم",
    "emoji": "👩‍🚀🏳️‍🌈 and 🇳🇴",
    "mathematics": "𝒳 ∈ ℝⁿ",
    "code": "def f(x):\n\treturn {'a': x ** 2}  # ok\n",
    "combining": "e\u0301 vs é",
}


def test_tokens_are_the_models_own(console: Any, owner: Page) -> None:
    """What is coloured is the whole text, in as many tokens as the API says, in any script."""
    owner.goto(console.url + "/tokenizer?model=gpt-4o")
    headers = {"authorization": f"Bearer {console.owner}"}
    shown = owner.locator("#tokens .t")
    for name, text in TEXTS.items():
        body = {"model": "gpt-4o", "text": text}
        told = httpx2.post(f"{console.served.base_url}/tokenize-text", headers=headers, json=body).json()
        owner.get_by_label("Text", exact=True).fill(text)
        expect(owner.locator("#bytes")).to_have_text(str(len(text.encode())))
        expect(owner.locator("#count")).to_have_text(str(told["count"]))
        expect(shown).to_have_count(told["count"])
        expect(shown.first).to_have_attribute("title", re.compile(f"id {told['tokens'][0]['id']} "))
        found = shown.evaluate_all("all => all.map(each => [each.title, each.textContent, each.className])")
        for (title, shown_text, kind), token in zip(found, told["tokens"], strict=True):
            data = bytes(token["bytes"])
            assert title.startswith(f"id {token['id']} · bytes {data.hex(' ').upper()}"), name
            cut = "\N{REPLACEMENT CHARACTER}" in token["text"]
            assert ("part" in kind.split()) is cut, name
            assert shown_text == (data.hex(" ").upper() if cut else token["text"]), name
    expect(owner.locator("#costs tr[data-model='gpt-4o'] td").last).to_have_text(re.compile(r"^\$0\.0000\d+$"))


def test_a_part_of_a_character_says_of_which(console: Any, owner: Page) -> None:
    owner.goto(console.url + "/tokenizer?model=gpt-4o")
    owner.get_by_label("Text", exact=True).fill("𝒳")
    parts = owner.locator("#tokens .t.part")
    expect(parts.first).to_have_attribute("title", re.compile("a part of 𝒳"))


def test_a_hundred_kilobytes_without_a_stutter(console: Any, owner: Page) -> None:
    """While it is coloured and scrolled through no task holds up the page, and the rest is there when it is reached."""
    owner.goto(console.url + "/tokenizer?model=gpt-4o")
    owner.evaluate(
        """() => {
            window.longest = 0;
            new PerformanceObserver((found) => {
                for (const each of found.getEntries()) window.longest = Math.max(window.longest, each.duration);
            }).observe({ type: "longtask" });
        }"""
    )
    text = "The ledger counts each word once, और फिर 一次。 " * 2000
    assert len(text.encode()) > 100_000
    owner.evaluate(
        """text => {
            const area = document.getElementById("text");
            area.value = text;
            area.dispatchEvent(new Event("input"));
        }""",
        text,
    )
    tokens = owner.locator("#tokens")
    expect(owner.locator("#count")).not_to_have_text("0")
    expect(owner.locator("#bytes")).to_have_text(f"{len(text.encode()):,}")
    shown = owner.locator("#tokens .t").count()
    total = int((owner.locator("#count").text_content() or "").replace(",", ""))
    assert 0 < shown < total / 5
    tokens.evaluate("element => element.scrollTo(0, element.scrollHeight)")
    expect(owner.locator("#tokens .t").nth(shown + 100)).to_be_attached()
    # A stutter that a person would see; how fast the machine is otherwise is not this test's matter.
    assert owner.evaluate("window.longest") < 1000


def test_a_model_without_a_published_vocabulary_says_so(console: Any, owner: Page) -> None:
    owner.goto(console.url + "/tokenizer?model=claude-sonnet-4-6")
    owner.get_by_label("Text", exact=True).fill("Some words")
    expect(owner.locator("#note")).to_contain_text("approximation")


def test_typing_takes_nothing_from_the_accounts_minute(console: Any, owner: Page) -> None:
    def left() -> int:
        headers = {"authorization": f"Bearer {console.owner}"}
        rows = httpx2.get(f"{console.served.base_url}/capabilities", headers=headers).json()["data"]
        (found,) = [row["requests_per_minute"]["remaining"] for row in rows if row["model"] == "gpt-4o"]
        return int(found)

    owner.goto(console.url + "/tokenizer")
    before = left()
    for number in range(1, 4):
        owner.get_by_label("Text", exact=True).fill("word " * number)
        expect(owner.locator("#characters")).to_have_text(str(5 * number))
    assert left() >= before


# ---------------------------------------------------------------- playground


def test_a_streamed_call_with_its_cost(console: Any, owner: Page) -> None:
    owner.goto(console.url + "/playground?model=gpt-4o")
    owner.get_by_label("Message", exact=True).fill("Write 40 words about ledgers.")
    owner.get_by_label("Message", exact=True).press("Control+Enter")
    expect(owner.get_by_text("Done.")).to_be_visible()
    expect(owner.locator("#answer")).to_contain_text("gateway relays")
    expect(owner.locator("#tokens-out")).to_have_text("40")
    expect(owner.locator("#first")).to_have_text(re.compile(r"\d+ m?s"))
    identifier = (owner.locator("#which").text_content() or "").removeprefix("Request ")
    headers = {"authorization": f"Bearer {console.owner}"}
    call = httpx2.get(f"{console.served.base_url}/requests/{identifier}", headers=headers).json()
    assert call["tokens_output"] == 40
    shown = (owner.locator("#cost").text_content() or "").removesuffix("¢")
    assert float(shown) == pytest.approx(float(call["cost_usd"]) * 100)
    (mine,) = [row for row in keys(console) if row["name"] == "office"]
    assert call["key_id"] == mine["id"]


def keys(console: Any) -> Any:
    headers = {"authorization": f"Bearer {console.owner}"}
    return httpx2.get(f"{console.served.base_url}/keys", headers=headers).json()["data"]


def test_stop_shows_what_was_billed(console: Any, owner: Page) -> None:
    owner.goto(console.url + "/playground?model=slow-model")
    owner.get_by_label("Message", exact=True).fill("Write 400 words about ledgers.")
    owner.get_by_role("button", name="Send").click()
    expect(owner.locator("#answer")).to_contain_text("gateway relays each")
    owner.get_by_role("button", name="Stop").click()
    expect(owner.locator("#state")).to_contain_text("Billed for what had arrived")
    tokens = int((owner.locator("#tokens-out").text_content() or "0").replace(",", ""))
    assert 3 <= tokens < 400
    expect(owner.locator("#cost")).to_have_text(re.compile(r"^0\.\d+¢$"))
    identifier = (owner.locator("#which").text_content() or "").removeprefix("Request ")
    headers = {"authorization": f"Bearer {console.owner}"}
    call = httpx2.get(f"{console.served.base_url}/requests/{identifier}", headers=headers).json()
    assert (call["stream_state"], call["tokens_output"]) == ("client_disconnect", tokens)


def test_a_refusal_is_said_in_the_gateways_words(console: Any, page: Page, watched: Any) -> None:
    watched.expected.append("402")
    console.sign_in(page, console.mint("acme", "--name", "poor", "--cap-usd", "0.000001"))
    page.goto(console.url + "/playground?model=gpt-4o")
    page.get_by_label("Message", exact=True).fill("Hello")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#state")).to_contain_text("cap")


# ---------------------------------------------------------------- every page


def test_times_are_the_readers_with_utc_on_hover(console: Any, owner: Page) -> None:
    owner.goto(console.url + "/keys")
    row = owner.get_by_role("row").filter(has_text="website")
    time = row.locator("time").first
    title = time.get_attribute("title") or ""
    assert title.endswith(" UTC")
    hour = int(re.findall(r" (\d\d):", title)[0])
    shown = int(re.findall(r"(\d\d):\d\d", time.text_content() or "")[0])
    assert (hour - shown) % 24 in {4, 5}  # New York's


def test_pages_work_without_scripts(console: Any, browser: Browser, shot: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    console.sign_in(page, console.owner)
    page.goto(console.url + "/keys")
    page.get_by_label("Name").fill("scriptless")
    page.get_by_role("button", name="Mint the key").click()
    expect(page.locator("#secret")).to_contain_text("sk-")
    page.goto(console.url + "/tokenizer?model=gpt-4o")
    page.get_by_label("Text", exact=True).fill("The café's 𝒳")
    page.get_by_role("button", name="Count the tokens").click()
    assert page.locator("#tokens .t").count() == int(page.locator("#count").text_content() or "")
    page.goto(console.url + "/playground?model=gpt-4o")
    page.get_by_label("Message", exact=True).fill("Write 12 words about ledgers.")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer")).to_contain_text("gateway relays")
    expect(page.locator("#tokens-out")).to_have_text("12")
    shot(page, "playground-without-scripts")
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    context.close()
