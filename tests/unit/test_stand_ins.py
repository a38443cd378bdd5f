"""What stands for a key within one process, and for nothing anywhere else."""

from gateway_core.stand_ins import StandIns


def test_a_stand_in_names_its_key_and_stays_the_same() -> None:
    ours = StandIns()
    bearer = ours.bearer("key_7Qm2xKd90aVb")
    assert bearer == ours.bearer("key_7Qm2xKd90aVb")
    assert ours.bearer_id(bearer) == "key_7Qm2xKd90aVb"


def test_another_process_or_another_key_is_nothing() -> None:
    ours, theirs = StandIns(), StandIns()
    bearer = ours.bearer("key_1")
    assert theirs.bearer_id(bearer) is None
    for forged in (
        bearer.replace("key_1", "key_2"),
        bearer[:-1],
        bearer + "0",
        "sk-within-key_1.",
        "sk-within-",
        "sk-",
    ):
        assert ours.bearer_id(forged) is None
    assert ours.bearer_id("sk-within-key_1.\u00e9") is None
