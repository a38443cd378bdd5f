"""What people do with an account's money, and what operators do, in a browser: by mouse, keyboard, without scripts."""

import csv
import re
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Browser, Page, expect


def test_usage_is_drawn_and_can_be_read(owner: Page, console: Any) -> None:
    owner.goto(console.url + "/usage")
    expect(owner.locator(".uplot canvas")).to_have_count(2)
    expect(owner.locator(".u-legend").first).to_contain_text(re.compile(r"Spent\$0\.0"))
    table = owner.get_by_role("table").filter(has_text="Day (UTC)")
    expect(table).not_to_be_visible()
    owner.get_by_text("By day as a table").click()
    expect(table.get_by_role("row")).to_have_count(31)
    owner.get_by_role("link", name="7 days").click()
    expect(owner.locator("#by-day-table tbody tr")).to_have_count(7)
    owner.get_by_role("link", name="gpt-4o", exact=True).click()
    owner.wait_for_url(re.compile(r"/usage/records\?model=gpt-4o"))
    expect(owner.get_by_label("Model", exact=True)).to_have_value("gpt-4o")


def test_usage_without_scripts(browser: Browser, console: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{console.url}/sign-in")
    page.get_by_label("API key").fill(console.owner)
    page.get_by_role("button", name="Sign in").click()
    page.goto(console.url + "/usage")
    expect(page.locator("#by-day-table")).to_be_visible()
    expect(page.locator(".charts")).not_to_be_visible()
    page.goto(console.url + "/usage/records")
    page.get_by_label("Model", exact=True).select_option("claude-sonnet-4-6")
    page.get_by_role("button", name="Look").click()
    expect(page.locator("td[data-label=Model]").first).to_have_text("claude-sonnet-4-6")
    assert set(page.locator("td[data-label=Model]").all_inner_texts()) == {"claude-sonnet-4-6"}
    page.locator("tbody th a").first.click()
    expect(page.get_by_text("Verified:")).to_be_visible()
    context.close()


def test_a_call_is_found_and_its_charge_adds_up(owner: Page, console: Any) -> None:
    request_id = console.call("gpt-4o")
    owner.goto(console.url + "/usage/records")
    owner.get_by_label("Request id").fill(request_id)
    owner.get_by_role("button", name="Look").click()
    owner.wait_for_url(re.compile(r"/usage/records/\d+"))
    expect(owner.get_by_text(request_id)).to_be_visible()
    expect(owner.get_by_text("Verified:")).to_be_visible()
    units = [
        int(text.replace(",", "")) for text in owner.locator(".charge tbody td[data-label=Units]").all_inner_texts()
    ]
    sums = [
        int(text.replace(",", "")) for text in owner.locator(".charge tfoot td[data-label=Units]").all_inner_texts()
    ]
    assert sum(units) == sums[0] == sums[1] + sums[2] > 0
    at = owner.url
    owner.get_by_role("link", name=re.compile("← Record")).click()
    expect(owner).not_to_have_url(at)
    expect(owner.get_by_text("Verified:")).to_be_visible()


def test_calls_are_downloaded(owner: Page, console: Any, tmp_path: Path) -> None:
    owner.goto(console.url + "/usage/records?model=claude-sonnet-4-6")
    with owner.expect_download() as begun:
        owner.get_by_role("button", name="Download CSV").click()
    file = tmp_path / begun.value.suggested_filename
    begun.value.save_as(file)
    assert file.name == "calls-acme.csv"
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["model"] for row in rows} == {"claude-sonnet-4-6"}
    assert all(row["request_id"].startswith("req_") for row in rows)


def test_times_are_the_readers(owner: Page, console: Any) -> None:
    owner.goto(console.url + "/usage/records")
    shown = owner.locator("tbody time").first
    assert (shown.get_attribute("title") or "").endswith(" UTC")
    zoned = owner.evaluate(
        "time => new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit'}).format(new Date(time))",
        shown.get_attribute("datetime"),
    )
    assert zoned in shown.inner_text()


def test_from_the_menu_to_a_records_chain_by_keyboard(owner: Page, console: Any) -> None:
    owner.goto(console.url)

    def tab_to(what: str) -> None:
        for _ in range(60):
            owner.keyboard.press("Tab")
            if re.search(what, owner.evaluate("document.activeElement.textContent.trim()") or ""):
                return
        raise AssertionError(f"the keyboard never gets to {what}")

    tab_to("^Usage$")
    owner.keyboard.press("Enter")
    owner.wait_for_url(re.compile("/usage$"))
    tab_to("^Every call$")
    owner.keyboard.press("Enter")
    owner.wait_for_url(re.compile("/usage/records"))
    tab_to(r"^\d+ \w+ \d{4}")
    owner.keyboard.press("Enter")
    owner.wait_for_url(re.compile(r"/usage/records/\d+"))
    tab_to("Record 1|Record 2|Record 3|← Record")
    owner.keyboard.press("Enter")
    expect(owner.get_by_text("Verified:")).to_be_visible()


def test_an_invoice_is_printed(owner: Page, console: Any) -> None:
    owner.goto(console.url + "/subscription")
    expect(owner.get_by_role("heading", name="pro active")).to_be_visible()
    expect(owner.get_by_label("Credit used")).to_be_visible()
    owner.get_by_role("link", name=re.compile(r"^\d{4}-\d\d$")).first.click()
    owner.evaluate("window.print = () => { window.printed = true; }")
    owner.get_by_role("button", name="Print").click()
    assert owner.evaluate("window.printed") is True
    owner.emulate_media(media="print")
    expect(owner.get_by_role("navigation", name="Pages")).not_to_be_visible()
    expect(owner.get_by_text("Due, rounded once to whole cents")).to_be_visible()


# ---------------------------------------------------------------- operators


def test_an_operator_takes_care_of_an_account(operator: Page, console: Any) -> None:
    operator.get_by_role("link", name="Accounts").click()
    operator.get_by_label("Name", exact=True).fill("by-hand")
    operator.get_by_role("button", name="Create the account").click()
    operator.get_by_role("heading", name="by-hand").wait_for()
    operator.get_by_role("button", name="Begin a subscription").click()
    operator.get_by_role("button", name="Begin the subscription").click()
    expect(operator.get_by_text("The subscription of by-hand has begun.")).to_be_visible()
    operator.get_by_label("Monthly cap in USD").fill("12.50")
    operator.get_by_role("button", name="Save").click()
    expect(operator.get_by_text("$12.50")).to_be_visible()
    operator.get_by_role("button", name="Suspend the account").click()
    operator.get_by_role("button", name="Leave it as it is").click()
    expect(operator.get_by_text("may call")).to_be_visible()
    operator.get_by_role("button", name="Suspend the account").click()
    operator.get_by_role("button", name="Suspend the account").click()
    expect(operator.get_by_text("suspended", exact=True)).to_be_visible()
    operator.get_by_role("link", name="Log").click()
    expect(operator.locator("tbody tr").first).to_contain_text("account.suspend")
    operator.get_by_role("link", name="Accounts").click()
    operator.get_by_label("Name or id").fill("BY-HA")
    operator.get_by_role("button", name="Find").click()
    expect(operator.locator("tbody tr")).to_have_count(1)


def test_errors_come_by_themselves(operator: Page, console: Any) -> None:
    operator.goto(console.url + "/errors")
    operator.locator("#said").wait_for()
    headers = {"authorization": "Bearer sk-nobody"}
    answer = httpx2.get(f"{console.served.url}/v1/usage", headers=headers)
    expect(operator.get_by_text(answer.headers["x-request-id"])).to_be_visible(timeout=15_000)
    assert operator.locator("#said").get_attribute("aria-live") == "polite"


def test_what_does_not_change_is_not_said_again(operator: Page, console: Any) -> None:
    """A screen reader hears of what is new alone: the sentence's node stays while it says the same."""
    operator.goto(console.url + "/providers")
    operator.evaluate("document.getElementById('said').firstChild.mark = true")
    with operator.expect_response(re.compile("/providers/now")):
        pass
    expect(operator.locator(".htmx-request")).to_have_count(0)
    assert operator.evaluate("document.getElementById('said').firstChild.mark") is True


def test_a_session_that_ended_leads_to_the_way_in(context: Any, console: Any, watched: Any) -> None:
    """While a page asks for its live part: the link's session ends, and the page goes to where one signs in."""
    watched.expected.append("401")
    page = context.new_page()
    console.sign_in(page)
    page.goto(console.url + "/outbox")
    other = context.new_page()
    other.goto(console.url)
    other.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/sign-in"))
