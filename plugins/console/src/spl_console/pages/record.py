"""One record: what its call was charged for, line by line, and its place in the chain."""

import msgspec
from starlette.responses import Response

from gateway_core.chain import ChainCheck, Fault
from gateway_core.errors import NotFound
from gateway_core.money import TOKENS_PER_PRICE
from gateway_core.pricing import rates_at
from gateway_core.store_ports import CallRow, RecordQuery
from gateway_core.types import Account, Record, TokenRates, Usage
from spl_console.calls import KINDS, OUTCOMES, STATES, body_of, in_words
from spl_console.page import Page, Visit
from spl_console.render import places_of
from spl_console.whose import account_of, key_names, named


class Line(msgspec.Struct, frozen=True):
    """One class of tokens: how many, at how much, and what that comes to, in units."""

    name: str
    tokens: int
    price: int
    amount: int


class Place(msgspec.Struct, frozen=True):
    """A record's place in the chain of its account. Hashes in hex."""

    previous_hash: str
    #: The record before, as far as it is kept.
    has_previous: bool
    has_next: bool
    fault: Fault | None
    head: int


async def show(visit: Visit) -> Response:
    """The record of that sequence."""
    account = await account_of(visit)
    record, previous, following = await _around(visit, account, visit.request.path_params["sequence"])
    body = body_of(record)
    call = await _call(visit, account, record)
    lines = [] if call is None else lines_of(call)
    computed = sum(line.amount for line in lines)
    names = await key_names(visit, {body.key_id} if body.key_id else set())
    return visit.render(
        "record.html",
        account=account,
        owner=named(visit, account),
        record=record,
        body=body,
        said=msgspec.json.decode(record.body),
        words=in_words(body),
        kind=KINDS.get(body.outcome, "plain"),
        outcome=OUTCOMES.get(body.outcome, body.outcome),
        state=STATES.get(body.stream_state or "plain", body.stream_state),
        call=call,
        price=None if call is None else _price(call),
        lines=lines,
        places=places_of([computed, *[line.amount for line in lines]]),
        price_places=places_of([line.price * TOKENS_PER_PRICE for line in lines]),
        spared=0 if call is None else computed - call.settlement.charge,
        key=names.get(body.key_id, ""),
        place=await _place(visit, account, record, previous, following),
    )


def lines_of(call: CallRow) -> list[Line]:
    """What the charge is the sum of: each class of tokens at its price, and what was not charged of that."""
    settlement = call.settlement
    usage, each = settlement.usage, _price(call)
    cached = min(max(usage.cached, 0), usage.input)
    written = min(max(usage.cache_write, 0), usage.input - cached)
    found = [
        Line("Input", usage.input - cached - written, each.input, (usage.input - cached - written) * each.input),
        Line("Input, from a cache", cached, each.cached_input, cached * each.cached_input),
        Line("Input, written to a cache", written, each.cache_write, written * each.cache_write),
        Line(_output_name(usage), usage.output, each.output, usage.output * each.output),
    ]
    return [line for place, line in enumerate(found) if line.tokens or place in {0, 3}]


def _output_name(usage: Usage) -> str:
    return f"Output, {usage.reasoning:,} of it reasoning" if usage.reasoning else "Output"


def _price(call: CallRow) -> TokenRates:
    return rates_at(call.settlement.usage.input, call.settlement.hold.rates)


async def _around(visit: Visit, account: Account, text: str) -> tuple[Record, Record | None, Record | None]:
    """The record, and its neighbours where they are."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 18):
        raise NotFound("There is no such record.")
    sequence = int(text)
    query = RecordQuery(account.id, after=max(0, sequence - 2), limit=3)
    near: dict[int, Record] = {each.sequence: each for each in await visit.services.store.records.read(query)}
    if sequence not in near:
        raise NotFound("There is no such record of this account: it was never made, or retention has removed it.")
    return near[sequence], near.get(sequence - 1), near.get(sequence + 1)


async def _call(visit: Visit, account: Account, record: Record) -> CallRow | None:
    """The ledger's row of the call that the record is of; None for one that was made elsewhere, or of another kind."""
    row = await visit.services.store.ledger.find(record.id)
    if row is None or row.settlement.hold.account_id != account.id or row.settled.sequence != record.sequence:
        return None
    return row


async def _place(
    visit: Visit, account: Account, record: Record, previous: Record | None, following: Record | None
) -> Place:
    ends = await visit.services.store.records.ends(account.id)
    if previous is not None:
        before = previous.hash
    elif record.sequence == ends.pruned_sequence + 1:
        before = ends.pruned_hash
    else:
        before = ""
    fault: Fault | None = Fault(record.sequence - 1, "the record before it is missing")
    if before:
        check = ChainCheck(account.id, record.sequence - 1, before)
        fault = check.take(record.sequence, record.id, bytes(record.body), record.hash)
    return Place(before, previous is not None, following is not None, fault, ends.sequence)


PAGES = (Page("GET", "/usage/records/{sequence}", "owner", show, "A record, its charge and its place in the chain."),)
