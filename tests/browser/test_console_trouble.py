"""A gateway that is slow, or gone, while somebody looks at it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway_core.testing.server import PATIENCE, serving


@pytest.fixture
def failing(console: Any, tmp_path: Path) -> Iterator[Any]:
    """A gateway of this test's own, which it may stop."""
    config = (console.served.home / "test.toml").read_text()
    with serving(tmp_path / "home", config=config) as served:
        yield type(console)(served, "", "")


@pytest.fixture
def looked_at(browser: Browser, failing: Any) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    failing.sign_in(page)
    yield page
    context.close()


def test_a_slow_gateway_is_waited_for(failing: Any, looked_at: Page) -> None:
    """While it stands still the page says that what it shows is old; when it goes on the last text is shown."""
    looked_at.goto(failing.url + "/tokenizer?model=gpt-4o")
    looked_at.get_by_label("Text", exact=True).fill("one")
    expect(looked_at.locator("#count")).to_have_text("1")
    os.kill(failing.served.process.pid, signal.SIGSTOP)
    try:
        looked_at.get_by_label("Text", exact=True).fill("one two")
        expect(looked_at.locator("#tokens.stale")).to_be_visible()
        looked_at.get_by_label("Text", exact=True).fill("one two three")
        expect(looked_at.locator("#characters")).to_have_text("13")
        expect(looked_at.locator("#count")).to_have_text("1")
    finally:
        os.kill(failing.served.process.pid, signal.SIGCONT)
    expect(looked_at.locator("#count")).to_have_text("3")
    expect(looked_at.locator("#tokens.stale")).to_have_count(0)


def test_a_gateway_that_is_gone_is_said(failing: Any, looked_at: Page, shot: Any) -> None:
    """What was typed stays, and the page says what is the matter."""
    looked_at.goto(failing.url + "/playground?model=gpt-4o")
    looked_at.get_by_label("Message", exact=True).fill("Hello")
    tokens = looked_at.context.new_page()
    tokens.goto(failing.url + "/tokenizer?model=gpt-4o")
    failing.served.stop()
    looked_at.get_by_role("button", name="Send").click()
    expect(looked_at.locator("#state")).to_contain_text("does not answer")
    expect(looked_at.get_by_label("Message", exact=True)).to_have_value("Hello")
    expect(looked_at.get_by_role("button", name="Send")).to_be_enabled()
    shot(looked_at, "playground-gone")
    tokens.get_by_label("Text", exact=True).fill("one two")
    expect(tokens.locator("#note")).to_contain_text("does not answer")


def test_a_stream_that_breaks_off_is_said(failing: Any, looked_at: Page) -> None:
    looked_at.goto(failing.url + "/playground?model=slow-model")
    looked_at.get_by_label("Message", exact=True).fill("Write 400 words about ledgers.")
    looked_at.get_by_role("button", name="Send").click()
    expect(looked_at.locator("#answer")).to_contain_text("gateway relays")
    failing.served.process.kill()
    expect(looked_at.locator("#state")).to_contain_text("broke off")
    expect(looked_at.locator("#answer")).to_contain_text("gateway relays")


def test_a_live_part_says_how_old_it_is(failing: Any, looked_at: Page, shot: Any) -> None:
    """When nobody answers any more what is shown stays, and the page says so; when somebody does again, it goes on."""
    looked_at.goto(failing.url + "/providers")
    expect(looked_at.locator("#live table")).to_be_visible()
    expect(looked_at.locator("#as-of")).to_be_hidden()
    failing.served.stop()
    expect(looked_at.locator("#as-of")).to_contain_text("does not answer")
    expect(looked_at.locator("#live table")).to_be_visible()
    shot(looked_at, "providers-gone")


def test_a_slow_live_part_is_asked_for_once(failing: Any, looked_at: Page) -> None:
    """No request is sent while another waits, and the page comes back by itself."""
    looked_at.goto(failing.url + "/errors")
    asked: list[str] = []
    os.kill(failing.served.process.pid, signal.SIGSTOP)
    try:
        # One that was on its way already is the one that waits.
        looked_at.on("request", lambda request: asked.append(request.url) if request.url.endswith("/now") else None)
        expect(looked_at.locator(".htmx-request")).to_have_count(1)
        looked_at.wait_for_timeout(6000)
        assert len(asked) <= 1
    finally:
        os.kill(failing.served.process.pid, signal.SIGCONT)
    expect(looked_at.locator(".htmx-request")).to_have_count(0)
    expect(looked_at.locator("#as-of")).to_be_hidden()
