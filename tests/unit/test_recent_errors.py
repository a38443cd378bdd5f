"""The latest errors: newest first, bounded by code, and counted all."""

from gateway_core.edge.recent_errors import KEPT, RecentErrors
from gateway_core.testing.clock import ManualClock


def test_a_flood_of_one_code_hides_no_other() -> None:
    clock = ManualClock()
    errors = RecentErrors(clock)
    errors.note("req_first", 503, "provider_error", "provider")
    for number in range(10 * KEPT):
        clock.advance(1)
        errors.note(f"req_{number:04}", 401, "invalid_bearer", "auth")
    latest = errors.latest(None, 1000)
    assert len(latest) == KEPT + 1
    assert (latest[0].request_id, latest[-1].request_id) == (f"req_{10 * KEPT - 1:04}", "req_first")
    assert [row.at for row in latest] == sorted([row.at for row in latest], reverse=True)
    assert errors.counts == {"provider_error": 1, "invalid_bearer": 10 * KEPT}
    assert [row.request_id for row in errors.latest("provider_error", 10)] == ["req_first"]
    assert errors.latest("nothing", 10) == []
    assert len(errors.latest("invalid_bearer", 3)) == 3


def test_what_comes_within_a_millisecond_or_after_the_clock_was_set_back_is_in_the_order_in_which_it_came() -> None:
    clock = ManualClock()
    errors = RecentErrors(clock)
    made = ["req_c", "req_a", "req_d", "req_b"]
    for place, request_id in enumerate(made):
        if place == 3:
            clock.jump(-5)
        errors.note(request_id, 401, ("invalid_bearer", "model_not_found")[place % 2], "auth")
    assert [row.request_id for row in errors.latest(None, 3)] == made[:0:-1]
    assert [row.request_id for row in errors.latest("invalid_bearer", 3)] == ["req_d", "req_c"]
