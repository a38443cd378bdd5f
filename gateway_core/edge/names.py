"""Finding an account by what an operator calls it."""

from gateway_core.errors import NotFound
from gateway_core.ports import Directory
from gateway_core.types import Account

ACCOUNT_ID = "acct_"


async def find_account(directory: Directory, name: str) -> Account:
    """The account of that id or name. Raises NotFound."""
    account = await directory.account(name) if name.startswith(ACCOUNT_ID) else None
    account = account or await directory.account_named(name)
    if account is None:
        raise NotFound("There is no such account.")
    return account
