"""Fault 18: clients leave at any byte, by FIN, RST, half-close or after a stall. `scripts/soak disconnects`: 10,000."""

from pathlib import Path

from gateway_core.testing.openai_fixture import UpstreamHandle
from scripts.trials.disconnect import SCRIPTS, WAYS, Trial

CLIENTS = 240
SEED = 18


def test_18_what_was_received_is_billed_once_however_the_client_leaves(
    tmp_path: Path, openai_upstream: UpstreamHandle
) -> None:
    trial = Trial(openai_upstream, tmp_path, SEED)
    trial.run(CLIENTS)
    print(f"seed {SEED}: {trial.report()}")
    assert {model for model, _ in trial.differences} == set(SCRIPTS)
    assert {how for _, how in trial.differences} == set(WAYS)
    assert trial.states["client_disconnect"] > CLIENTS // 4
    # Who only closed his own half has read all that was sent: what is billed is that, to the token.
    assert all(one.most == 0 for (_, how), one in trial.differences.items() if how == "half_close")
    openai_upstream.wait_for(lambda log: all(entry["state"] != "open" for entry in log))
