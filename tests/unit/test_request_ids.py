"""Request ids whose random bytes are drawn for many at once."""

from gateway_core.ids import RequestIds, new_id, request_id


def random_part(identifier: str) -> str:
    return identifier[-16:]


def test_none_is_made_twice_over_several_draws() -> None:
    ids = RequestIds()
    made = [ids.new() for _ in range(5_000)]
    assert len({random_part(each) for each in made}) == len(made)


def test_they_look_like_any_other_id() -> None:
    made = RequestIds().new()
    assert made.startswith("req_")
    assert len(made) == len(request_id()) == len(new_id("req_")) == 30


def test_two_makers_share_nothing() -> None:
    one, two = RequestIds(), RequestIds()
    assert {random_part(one.new()) for _ in range(500)}.isdisjoint({random_part(two.new()) for _ in range(500)})
