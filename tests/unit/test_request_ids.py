"""Request ids whose random bytes are drawn for many at once, and ids that are listed in their order."""

from collections import Counter

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


def test_other_ids_are_in_the_order_they_were_made_in_within_a_millisecond_too() -> None:
    made = [new_id("acct_") for _ in range(5_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_two_makers_share_nothing() -> None:
    one, two = RequestIds(), RequestIds()
    assert {random_part(one.new()) for _ in range(500)}.isdisjoint({random_part(two.new()) for _ in range(500)})


def test_an_id_begins_with_its_instant_and_has_only_crockford_s_characters() -> None:
    ids = RequestIds()
    for _ in range(1_000):
        before, made, after = new_id("req_"), ids.new(), new_id("req_")
        assert before[:14] <= made[:14] <= after[:14]
        assert set(made[4:]) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_each_random_character_is_as_likely() -> None:
    ids = RequestIds()
    drawn = Counter("".join([random_part(ids.new()) for _ in range(4_000)]))
    assert len(drawn) == 32
    assert 1_600 < min(drawn.values()) <= max(drawn.values()) < 2_400  # of 2,000, nine times what chance moves it
