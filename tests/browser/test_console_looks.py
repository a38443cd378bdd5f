"""Every page in both themes and on a phone: nothing serious for axe, nothing wider than the window, a picture."""

from typing import Any

from playwright.sync_api import Browser

#: Page → its address. What needs an operator begins with "operator-".
PAGES = {
    "overview": "",
    "keys": "/keys",
    "models": "/models",
    "tokenizer": "/tokenizer",
    "playground": "/playground",
    "missing": "/nothing",
}


def test_the_way_in(window: Any, console: Any, right: Any, shot: Any) -> None:
    name, page = window
    page.goto(f"{console.url}/sign-in?why=out")
    shot(page, f"sign-in-{name}")
    right(page)
    page.goto(f"{console.url}/link?token=none")
    right(page)


def test_pages_of_an_owner(window: Any, console: Any, watched: Any, right: Any, shot: Any) -> None:
    name, page = window
    watched.expected.append("404")
    console.sign_in(page, console.owner)
    for title, path in PAGES.items():
        page.goto(console.url + path)
        shot(page, f"{title}-{name}")
        right(page)


def test_pages_of_an_application_key(window: Any, console: Any, watched: Any, right: Any, shot: Any) -> None:
    name, page = window
    watched.expected.append("403")
    console.sign_in(page, console.application)
    shot(page, f"overview-of-a-key-{name}")
    right(page)
    page.goto(console.url + "/keys")
    shot(page, f"refused-{name}")
    right(page)


def test_what_pages_become(window: Any, console: Any, right: Any, shot: Any) -> None:
    """A key that was just minted, one about to be revoked, a text in tokens, an answer."""
    name, page = window
    console.sign_in(page, console.owner)
    page.goto(console.url + "/keys")
    page.get_by_label("Name").fill(f"looks-{name}")
    page.get_by_role("button", name="Mint the key").click()
    shot(page, f"key-minted-{name}")
    right(page)
    page.goto(console.url + "/keys")
    page.get_by_role("link", name=f"Revoke looks-{name}", exact=True).click()
    shot(page, f"key-revoke-{name}")
    right(page)
    page.goto(console.url + "/tokenizer?model=gpt-4o")
    page.get_by_role("button", name="Example").click()
    page.locator("#tokens .t").first.wait_for()
    shot(page, f"tokenizer-full-{name}")
    right(page)
    page.goto(console.url + "/playground?model=gpt-4o")
    page.get_by_label("Message", exact=True).fill("Write 60 words about ledgers.")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("Done.").wait_for()
    shot(page, f"playground-full-{name}")
    right(page)


def test_the_menu_on_a_phone(browser: Browser, console: Any, watched: Any, serious: Any, shot: Any) -> None:
    made = browser.new_context(viewport={"width": 360, "height": 640})
    made.on("page", watched.watch)
    page = made.new_page()
    console.sign_in(page)
    menu = page.get_by_role("navigation", name="Pages")
    assert not menu.is_visible()
    page.get_by_role("button", name="Menu").click()
    assert menu.is_visible()
    shot(page, "menu-phone")
    assert serious(page) == []
    menu.get_by_role("link", name="Models").click()
    page.get_by_role("heading", name="Models").wait_for()
    assert not menu.is_visible()
    made.close()
