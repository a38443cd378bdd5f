"""What is due is taken, once, and nothing is taken long before it is due."""

from hypothesis import given
from hypothesis import strategies as st

from gateway_core.slots import Slots

WIDTH = 0.5
TIMES = st.floats(0, 50)
STEPS = st.lists(st.tuples(st.sampled_from(["put", "drop", "take"]), TIMES), max_size=40)


@given(STEPS)
def test_everything_is_taken_when_it_is_due_and_not_a_slot_before(steps: list[tuple[str, float]]) -> None:
    slots: Slots[int] = Slots(WIDTH)
    waiting: dict[int, float] = {}
    now = 0.0
    for number, (step, value) in enumerate(steps):
        if step == "put":
            waiting[number] = now + value
            slots.put(number, waiting[number])
        elif step == "drop" and waiting:
            number = min(waiting)
            slots.drop(number, waiting.pop(number))
        elif step == "take":
            now += value
            taken = slots.take(now)
            assert len(set(taken)) == len(taken)
            assert {thing for thing, when in waiting.items() if when <= now} <= set(taken)
            for thing in taken:
                assert waiting.pop(thing) < now + WIDTH
        end = slots.next_end()
        if waiting:
            first = min(waiting.values())
            assert end is not None
            assert first <= end <= first + WIDTH
        else:
            assert end is None


def test_what_was_taken_may_be_dropped_all_the_same() -> None:
    slots: Slots[str] = Slots(WIDTH)
    slots.put("a", 1.0)
    assert slots.take(1.0) == ["a"]
    slots.drop("a", 1.0)
    slots.drop("b", 7.0)
    assert slots.take(9.0) == []
