"""A real browser on a real gateway. Every page that a test opens is watched: no request leaves the gateway's origin,
no script fails, nothing is refused by the Content-Security-Policy."""

import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, StorageState, expect, sync_playwright

from gateway_core.testing.server import PATIENCE, ServedGateway, serving

expect.set_options(timeout=PATIENCE * 1000)

CHROMIUM = "chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = Path(__file__).parents[2] / "test-results" / "console"
AXE = gzip.decompress((Path(__file__).parent / "vendor" / "axe.min.js.gz").read_bytes()).decode()

CONFIG = """
include = ["shipped:self-host.toml"]
[tiers.self-host]
requests_per_minute = 600
[providers.slow]
plugin = "provider-demo"
delay_ms = 40
[models."claude-sonnet-4-6"]
routes = [{ provider = "demo", model = "demo" }]
price = { input = "3.00", output = "15.00" }
[models."gpt-4o"]
routes = [{ provider = "demo", model = "demo" }]
price = { input = "2.50", cached_input = "1.25", output = "10.00" }
tokenizer = "o200k_base"
[models."slow-model"]
routes = [{ provider = "slow", model = "demo" }]
price = { input = "1.00", output = "5.00" }
[plans.pro]
fee_usd = "20"
credit_usd = "10"
cap_usd = "200"
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs the browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.service(CHROMIUM))


@dataclass(frozen=True)
class Console:
    """The gateway that the tests look at, with an account that has called models."""

    served: ServedGateway
    #: A key of the account `acme`: manages keys and sees the bill.
    owner: str
    #: Another that may only call models.
    application: str

    @property
    def url(self) -> str:
        """The console's first page."""
        return f"{self.served.url}/console"

    def mint(self, account: str, *options: str) -> str:
        """A new key's secret."""
        printed = self.served.spl("keys", "mint", "--account", account, *options, "-o", "json")
        return str(json.loads(printed)["secret"])

    def call(self, model: str, key: str | None = None) -> str:
        """Makes a plain call, by default with the application's key; gives its request id."""
        messages = [{"role": "user", "content": "Write 400 words about ledgers."}]
        answer = httpx2.post(
            f"{self.served.url}/v1/chat/completions",
            headers={"authorization": f"Bearer {key or self.application}"},
            json={"model": model, "messages": messages},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-request-id"])

    def sign_in(self, page: Page, key: str | None = None) -> None:
        """With a key, or as the operator by a link."""
        if key is None:
            page.goto(self.served.spl("console", "login").strip())
        else:
            page.goto(f"{self.url}/sign-in")
            page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(re.compile(r"/console$"))


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """One gateway for the tests of a module."""
    with serving(tmp_path_factory.mktemp("console") / "home", config=CONFIG) as served:
        yield seeded(served)


def seeded(served: ServedGateway) -> Console:
    """An account on a plan with two keys and some calls."""
    served.spl("account", "create", "acme")
    served.spl("subscription", "start", "acme", "--plan", "pro")
    console = Console(served, "", "")
    owner = console.mint("acme", "--name", "office", "--scope", "owner")
    application = console.mint("acme", "--name", "website", "--cap-usd", "5", "--expires", "5d")
    found = Console(served, owner, application)
    for model in ("gpt-4o", "claude-sonnet-4-6", "gpt-4o"):
        found.call(model)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without anything of its own on the network.

    Not for the whole session: Playwright keeps an event loop running in this thread until it is stopped, and no test
    of another folder could run one of its own.
    """
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=ARGUMENTS)
        yield found
        found.close()


class Watched:
    """What a context did that it should not have."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.foreign: list[str] = []
        self.errors: list[str] = []
        #: What the test expects the browser to complain of, as a part of its message.
        self.expected: list[str] = []

    def watch(self, page: Page) -> None:
        """From now on."""
        page.on("request", lambda request: self._asked(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._said(said))

    def _said(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.errors.append(f"{said.text} {said.location['url']}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.foreign.append(url)

    def verdict(self) -> None:
        """Fails the test where something was wrong."""
        assert self.foreign == []
        assert [each for each in self.errors if not any(part in each for part in self.expected)] == []


@pytest.fixture
def watched(console: Console) -> Iterator[Watched]:
    """The verdict on what the test's pages did."""
    found = Watched(console.served.url)
    yield found
    found.verdict()


@pytest.fixture
def context(browser: Browser, watched: Watched) -> Iterator[BrowserContext]:
    """A browser that has never been here."""
    made = browser.new_context(viewport={"width": 1200, "height": 800}, timezone_id="America/New_York", locale="en-GB")
    made.set_default_timeout(PATIENCE * 1000)
    made.on("page", watched.watch)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Its first page."""
    return context.new_page()


@pytest.fixture(scope="module")
def owners_state(console: Console, browser: Browser) -> StorageState:
    """What a browser keeps once the account's owner has signed in."""
    context = browser.new_context()
    console.sign_in(context.new_page(), console.owner)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def owner(page: Page, owners_state: StorageState) -> Page:
    """A page of a browser in which the account's owner has signed in."""
    page.context.add_cookies(cast("Any", owners_state["cookies"]))
    return page


@pytest.fixture
def operator(console: Console, page: Page) -> Page:
    """A page on which the operator has signed in."""
    console.sign_in(page)
    return page


@pytest.fixture
def shot() -> Callable[[Page, str], None]:
    """Keeps a picture of a whole page under a name, for people to look at."""

    def take(page: Page, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    return take


@pytest.fixture
def serious() -> Callable[[Page], list[str]]:
    """What axe finds serious or critical on a page: the rule, and the first element that breaks it."""

    def look(page: Page) -> list[str]:
        page.evaluate(AXE)
        found: dict[str, Any] = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{each['id']} ({each['impact']}): {each['nodes'][0]['html'][:200]} {each['nodes'][0]['failureSummary']}"
            for each in found["violations"]
            if each["impact"] in {"serious", "critical"}
        ]

    return look


@pytest.fixture
def overflow() -> Callable[[Page], int]:
    """CSS pixels by which a page is wider than its window."""

    def look(page: Page) -> int:
        wide: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wide

    return look


WINDOWS: dict[str, tuple[Literal["light", "dark"], int]] = {
    "light": ("light", 1200),
    "dark": ("dark", 1200),
    "phone": ("light", 360),
}


@pytest.fixture(params=WINDOWS)
def window(request: pytest.FixtureRequest, browser: Browser, watched: Watched) -> Iterator[tuple[str, Page]]:
    """A browser of one theme and width: its name, and a page of it."""
    theme, width = WINDOWS[request.param]
    made = browser.new_context(viewport={"width": width, "height": 780}, color_scheme=theme)
    made.set_default_timeout(PATIENCE * 1000)
    made.on("page", watched.watch)
    yield request.param, made.new_page()
    made.close()


@pytest.fixture
def right(serious: Callable[[Page], list[str]], overflow: Callable[[Page], int]) -> Callable[[Page], None]:
    """right(page): nothing serious for axe, nothing wider than the window."""

    def look(page: Page) -> None:
        assert serious(page) == []
        assert overflow(page) <= 0

    return look
