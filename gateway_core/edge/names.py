"""Finding an account by what an operator calls it."""

from gateway_core.errors import InsufficientScope, NotFound
from gateway_core.store_ports import Directory
from gateway_core.types import Account, Principal

ACCOUNT_ID = "acct_"


async def find_account(directory: Directory, name: str, param: str | None = None) -> Account:
    """The account of that id or name. Raises NotFound naming `param`, where it was a parameter that named it."""
    account = await directory.account(name) if name.startswith(ACCOUNT_ID) else None
    account = account or await directory.account_named(name)
    if account is None:
        raise NotFound("There is no such account.", param=param)
    return account


async def account_for(directory: Directory, caller: Principal | None, name: str | None) -> Account:
    """The caller's own account, or for an operator the one that is named. Raises InsufficientScope, NotFound."""
    if caller is None:  # the gate let somebody in whom it did not name
        raise InsufficientScope("This needs a key.")
    own = await directory.account(caller.account_id)
    if own is not None and (name is None or name in (own.id, own.name)):
        return own
    if "operator" not in caller.scopes:
        raise InsufficientScope("Another account needs a key with the scope `operator`.")
    return await find_account(directory, name or caller.account_id, None if name is None else "account")
