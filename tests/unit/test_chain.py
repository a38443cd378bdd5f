"""The chain's check, as a property: whatever single thing is changed, removed, added or moved is found."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_core.audit import genesis, link
from gateway_core.chain import ChainCheck, Fault

Row = tuple[int, str, bytes, str]
ACCOUNT = "acct_1"

bodies = st.binary(min_size=1, max_size=24)
chains = st.lists(bodies, min_size=1, max_size=12)


def chain(found: list[bytes], pruned: int = 0, before: bytes = genesis(ACCOUNT)) -> list[Row]:
    rows, last = [], before
    for number, body in enumerate(found, pruned + 1):
        last = link(last, number, f"rec_{number}", body)
        rows.append((number, f"rec_{number}", body, last.hex()))
    return rows


def checked(rows: list[Row], head: Row, check: ChainCheck | None = None) -> Fault | None:
    check = check or ChainCheck(ACCOUNT)
    for row in rows:
        if fault := check.take(*row):
            return fault
    return check.end(head[0], head[3])


@given(chains)
def test_a_whole_chain_agrees(found: list[bytes]) -> None:
    rows = chain(found)
    assert checked(rows, rows[-1]) is None


@given(chains, chains)
def test_a_chain_whose_beginning_was_removed_agrees(removed: list[bytes], left: list[bytes]) -> None:
    rows = chain(removed + left)
    last = rows[len(removed) - 1]
    assert checked(rows[len(removed) :], rows[-1], ChainCheck(ACCOUNT, last[0], last[3])) is None


@given(chains, st.data())
def test_any_change_of_a_record_is_found_where_it_is(found: list[bytes], data: st.DataObject) -> None:
    rows = chain(found)
    place = data.draw(st.integers(0, len(rows) - 1), "place")
    number, record_id, body, hash_ = rows[place]
    bit = data.draw(st.integers(0, len(body) * 8 - 1), "bit")
    flipped = bytearray(body)
    flipped[bit // 8] ^= 1 << bit % 8
    other = ("0" if hash_[0] != "0" else "1") + hash_[1:]
    changed = data.draw(
        st.sampled_from(
            [
                (number, record_id, bytes(flipped), hash_),
                (number, record_id + "x", body, hash_),
                (number, record_id, body, other),
                (number, record_id, body + b" ", hash_),
            ]
        ),
        "changed",
    )
    fault = checked([*rows[:place], changed, *rows[place + 1 :]], rows[-1])
    assert fault is not None
    assert fault.sequence == number


@given(chains, st.data())
def test_any_record_that_is_missing_is_named(found: list[bytes], data: st.DataObject) -> None:
    rows = chain(found)
    place = data.draw(st.integers(0, len(rows) - 1), "place")
    fault = checked([*rows[:place], *rows[place + 1 :]], rows[-1])
    assert fault is not None
    assert fault.sequence == place + 1
    assert "missing" in fault.what


@given(st.lists(bodies, min_size=2, max_size=12), st.data())
def test_any_two_records_that_changed_places_are_found(found: list[bytes], data: st.DataObject) -> None:
    rows = chain(found)
    one, two = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=2, unique=True), "places")
    first = min(one, two)
    moved = list(rows)
    moved[one], moved[two] = moved[two], moved[one]
    fault = checked(moved, rows[-1])
    assert fault is not None
    assert fault.sequence == first + 1
    # With their numbers put right the contents still are not.
    renumbered = [(number, *row[1:]) for number, row in enumerate(moved, 1)]
    fault = checked(renumbered, rows[-1])
    assert fault is not None
    assert fault.sequence == first + 1


@given(chains, bodies, st.data())
def test_any_record_that_was_put_in_is_found(found: list[bytes], body: bytes, data: st.DataObject) -> None:
    rows = chain(found)
    place = data.draw(st.integers(0, len(rows)), "place")
    last = bytes.fromhex(rows[place - 1][3]) if place else genesis(ACCOUNT)
    new = (place + 1, "rec_new", body, link(last, place + 1, "rec_new", body).hex())
    fault = checked([*rows[:place], new, *rows[place:]], rows[-1])
    assert fault is not None
    assert fault.sequence in (place + 1, place + 2)


@given(chains)
def test_another_account_s_chain_is_none(found: list[bytes]) -> None:
    rows = chain(found)
    assert checked(rows, rows[-1], ChainCheck("acct_2")) == Fault(
        1, "its id, its body or its hash was changed, or another record is in its place"
    )


def test_the_head_is_held_to_the_last_record() -> None:
    rows = chain([b"{}", b"[]"])
    assert checked(rows, (2, "", b"", "00" * 32)) == Fault(2, "the chain's head has another hash than its last record")
    fault = checked(rows, rows[0])
    assert fault is not None
    assert (fault.sequence, "beyond" in fault.what) == (2, True)
