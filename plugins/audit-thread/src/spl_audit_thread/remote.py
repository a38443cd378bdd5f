"""Records for elsewhere: pushed to the instance that an account's records have their home on."""

from collections.abc import Callable

import msgspec

from gateway_core.errors import OutsideError
from gateway_core.services import Services
from gateway_core.types import Instance, Record

_REMEMBERED = 10_000


class Pusher:
    """Sends records to the push URL of an account's instance, by a bearer of this gateway's for that instance alone."""

    def __init__(self, services: Services) -> None:
        self._instances = services.store.instances
        self._outside = services.outside
        self._signer = services.signer
        #: Instance → a source of bearers for it.
        self._bearers: dict[str, Callable[[], str]] = {}

    async def has_home(self, account_id: str) -> bool:
        """Whether an instance wants this account's records sent."""
        home = await self._instances.home(account_id)
        return home is not None and home.push_url is not None

    async def push(self, record: Record) -> None:
        """Returns at once where the account's records live here. Raises OutsideError where they were not taken."""
        home = await self._instances.home(record.account_id)
        if home is None or home.push_url is None:
            return
        answer = await self._outside.ask(
            "POST",
            f"{home.push_url}/v1/threads/{record.thread}/records",
            {"authorization": f"Bearer {self._bearer(home)}", "content-type": "application/json"},
            msgspec.json.encode({"id": record.id, "body": record.body}),
        )
        if answer.status not in (200, 201):
            raise OutsideError(f"answered with status {answer.status}")

    def _bearer(self, home: Instance) -> str:
        source = self._bearers.get(home.id)
        if source is None:
            if len(self._bearers) >= _REMEMBERED:
                self._bearers.clear()
            source = self._bearers[home.id] = self._signer.source("records", home.id, "records:write")
        return source()
