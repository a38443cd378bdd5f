"""What stands in the menu, in this order, and who may open it."""

from typing import Literal

import msgspec

Needs = Literal["nobody", "inference", "owner", "operator"]
"""Who may open a page: `nobody` has to be signed in, or somebody whose key has that scope."""


class NavItem(msgspec.Struct, frozen=True):
    """A page's place in the menu; shown to whom may open it. `path` follows the console's own."""

    path: str
    label: str
    needs: Needs
    group: str = ""


NAV = (
    NavItem("", "Overview", "inference"),
    NavItem("/keys", "API keys", "owner"),
    NavItem("/models", "Models", "inference"),
    NavItem("/usage", "Usage", "owner"),
    NavItem("/subscription", "Subscription", "owner"),
    NavItem("/tokenizer", "Tokenizer", "inference"),
    NavItem("/playground", "Playground", "inference"),
    NavItem("/accounts", "Accounts", "operator", "Operators"),
    NavItem("/providers", "Providers", "operator", "Operators"),
    NavItem("/limits", "Limits", "operator", "Operators"),
    NavItem("/errors", "Errors", "operator", "Operators"),
    NavItem("/outbox", "Outbox", "operator", "Operators"),
    NavItem("/plugins", "Plugins", "operator", "Operators"),
    NavItem("/log", "Log", "operator", "Operators"),
)
