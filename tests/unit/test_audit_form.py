"""A record that is filled in has the bytes of one that is encoded whole, whatever it says."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.audit import CallRecord, RecordForm, record_body
from gateway_core.ids import request_id
from gateway_core.money import Units
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement
from gateway_core.types import Settlement, Usage

COUNTS = st.integers(0, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def usages(estimated: bool) -> st.SearchStrategy[Usage]:
    return st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.just(estimated))


@st.composite
def alike(draw: st.DrawFn) -> list[Settlement]:
    """Calls that differ in nothing but what a call has of its own."""
    common = {
        "provider": draw(TEXTS),
        "upstream_model": draw(TEXTS),
        "outcome": draw(st.sampled_from(["ok", "cut", "failed"])),
        "stream_state": draw(st.sampled_from([None, "completed", "client_disconnect"])),
        "error_code": draw(st.none() | TEXTS),
        "billed_by": draw(st.sampled_from(["gateway", "upstream"])),
    }
    held = hold(
        model=draw(TEXTS),
        tier=draw(TEXTS),
        endpoint=draw(TEXTS),
        bearer_id=draw(TEXTS),
        rates=samples.rates(price_id=draw(TEXTS)),
    )
    estimated = draw(st.booleans())
    return [
        settlement(
            msgspec.structs.replace(held, id=request_id()),
            draw(COUNTS),
            usage=draw(usages(estimated)),
            generated=draw(usages(estimated)),
            latency_ms=draw(COUNTS),
            ttft_ms=draw(st.none() | COUNTS),
            served_at=draw(st.integers(0, 4_102_444_800_000)),
            **common,
        )
        for _ in range(draw(st.integers(1, 3)))
    ]


@given(alike(), st.data())
def test_a_form_gives_the_bytes_that_the_encoder_gives(calls: list[Settlement], data: st.DataObject) -> None:
    form = RecordForm(calls[0])
    for call in calls:
        overage = Units(data.draw(st.integers(0, call.charge)))
        credit = Units(call.charge - overage)
        assert form.body(call, credit, overage) == record_body(call, credit, overage)


def test_what_means_something_to_a_template_is_said_as_it_is() -> None:
    held = hold(request_id(), model="50%d %b %% %(x)s", bearer_id="key_\0%")
    call = settlement(held, 7, provider="%", upstream_model="\\%\x7f×", error_code="\0\0b")
    assert RecordForm(call).body(call, Units(3), Units(4)) == record_body(call, Units(3), Units(4))


def test_a_record_is_what_sqlite_binds_without_a_copy() -> None:
    call = settlement(hold(request_id()))
    assert type(RecordForm(call).body(call, Units(0), call.charge)) is bytearray


def test_what_a_call_has_of_its_own_is_named_in_the_records_order() -> None:
    assert [name for name in CallRecord.__annotations__ if name in RecordForm.OWN] == list(RecordForm.OWN)
