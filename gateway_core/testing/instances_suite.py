"""What every store must do with instances and their revoked bearers: a part of `StoreSuite`."""

from typing import Any

import msgspec
import pytest

from gateway_core.errors import Conflict, NotFound
from gateway_core.money import Units
from gateway_core.store_ports import Store
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Instance


def instance(name: str = "one", **changes: Any) -> Instance:
    """A self-hosted instance of the sample account."""
    made = Instance(f"inst_{name}", "acct_sample", "self_host", name, samples.STARTED_AT, pinned_keys='{"keys":[]}')
    return msgspec.structs.replace(made, **changes)


class InstancesSuite:
    """The contract of `ports.Instances`."""

    async def test_instances_are_found_listed_and_changed(self, store: Store) -> None:
        """Everything reads back; a change is seen at once, by whoever had read the instance before."""
        instances = store.instances
        await store.directory.create_account(samples.account(id="acct_other", name="other"), "test")
        first = instance("a", cap=Units(5), push_url="https://a.example")
        second = instance("b", pinned_keys=None, jwks_url="https://b.example/jwks", kind="gateway")
        third = instance("c", account_id="acct_other", kind="instance")
        for each in (third, first, second):
            await instances.add(each, "test")
        assert [await instances.find(each.id) for each in (first, second, third)] == [first, second, third]
        assert await instances.find("inst_unknown") is None
        assert await instances.page() == [first, second, third]
        assert await instances.page("acct_sample") == [first, second]
        assert await instances.page(after="inst_a", limit=1) == [second]
        changed = msgspec.structs.replace(first, name="new", pinned_keys="{}", push_url=None, cap=None, revoked_at=9)
        await instances.update(changed, "test", "instance.revoke")
        assert await instances.find("inst_a") == changed
        logged = [(entry.action, entry.subject) for entry in await store.directory.log_entries(2)]
        assert logged == [("instance.revoke", "inst_a"), ("instance.add", "inst_b")]

    async def test_an_instance_needs_an_account_and_an_id_of_its_own(self, store: Store) -> None:
        """What is refused changes nothing."""
        instances = store.instances
        await instances.add(instance("a"), "test")
        with pytest.raises(Conflict):
            await instances.add(instance("a", kind="gateway"), "test")
        with pytest.raises(NotFound):
            await instances.add(instance("b", account_id="acct_nobody"), "test")
        with pytest.raises(NotFound):
            await instances.update(instance("b"), "test", "instance.update")
        assert await instances.page() == [instance("a")]

    async def test_an_account_s_records_have_one_home(self, store: Store) -> None:
        """A second push URL is refused until the first instance is revoked."""
        instances = store.instances
        assert await instances.home("acct_sample") is None
        first = instance("a", push_url="https://a.example")
        second = instance("b", push_url="https://b.example")
        await instances.add(first, "test")
        assert await instances.home("acct_sample") == first
        with pytest.raises(Conflict):
            await instances.add(second, "test")
        await instances.update(msgspec.structs.replace(first, revoked_at=1), "test", "instance.revoke")
        assert await instances.home("acct_sample") is None
        await instances.add(second, "test")
        assert await instances.home("acct_sample") == second
        with pytest.raises(Conflict):
            await instances.update(first, "test", "instance.update")

    async def test_the_generation_rises_with_every_change_of_who_is_trusted(self, store: Store) -> None:
        """A set that was fetched again and is the same is no change; another set is."""
        instances = store.instances
        await instances.add(instance("a", pinned_keys=None, jwks_url="https://a.example"), "test")
        seen = [instances.generation]
        await instances.keep_jwks("inst_a", '{"keys":[1]}', 10)
        seen.append(instances.generation)
        await instances.keep_jwks("inst_a", '{"keys":[1]}', 20)
        assert instances.generation == seen[-1]
        found = await instances.find("inst_a")
        assert found is not None
        assert (found.jwks, found.jwks_fetched_at) == ('{"keys":[1]}', 20)
        await instances.revoke_jti("inst_a", "jti_1", samples.STARTED_AT + 1, "test")
        seen.append(instances.generation)
        await instances.update(found, "test", "instance.update")
        seen.append(instances.generation)
        assert seen == sorted(set(seen))

    async def test_a_revoked_bearer_is_its_issuer_s_only_and_forgotten_in_time(
        self, store: Store, clock: ManualClock
    ) -> None:
        """Revoking one twice is revoking it once."""
        instances = store.instances
        await instances.add(instance("a"), "test")
        for _ in range(2):
            await instances.revoke_jti("inst_a", "jti_1", samples.STARTED_AT + 1000, "test")
        assert await instances.is_revoked("inst_a", "jti_1")
        assert not await instances.is_revoked("inst_b", "jti_1")
        assert not await instances.is_revoked("inst_a", "jti_2")
        clock.advance(2)
        await instances.revoke_jti("inst_a", "jti_2", samples.STARTED_AT + 9000, "test")
        assert not await instances.is_revoked("inst_a", "jti_1")
