"""What stands in the menu, in this order."""

import msgspec


class NavItem(msgspec.Struct, frozen=True):
    """A page's place in the menu; shown to whom may open it. `path` follows the console's own."""

    path: str
    label: str
    needs: str
    group: str = ""


NAV = (
    NavItem("", "Overview", "inference"),
    NavItem("/keys", "API keys", "owner"),
    NavItem("/models", "Models", "inference"),
    NavItem("/tokenizer", "Tokenizer", "inference"),
    NavItem("/playground", "Playground", "inference"),
)
