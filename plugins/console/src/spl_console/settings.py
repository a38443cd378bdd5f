"""`[plugins.console]`."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

_PATH = re.compile(r"(/[a-z0-9][a-z0-9_-]{0,40}){1,3}", re.ASCII)


class ConsoleSettings(msgspec.Struct, frozen=True):
    """`[plugins.console]`: where the console is, and how long somebody stays signed in."""

    #: False: there is none.
    enabled: bool = True
    #: What its pages' addresses begin with.
    path: str = "/console"
    #: What stands at the top of each page.
    title: Annotated[str, Meta(min_length=1, max_length=40)] = "LLM gateway"
    #: A session ends this long after the sign-in, whatever happens,
    session_hours: Annotated[float, Meta(gt=0, le=168)] = 12.0
    #: and this long after the last request.
    idle_minutes: Annotated[float, Meta(gt=0, le=1440)] = 60.0

    def __post_init__(self) -> None:
        """Refuses a path that is none, or the API's own."""
        if not _PATH.fullmatch(self.path) or self.path.split("/")[1] in {"v1", "healthz", "readyz", "metrics"}:
            raise ValueError('path: expected one such as "/console", and none of the API\'s own')
