"""How a command fails: one line on standard error and an exit code that a script can go by."""

FAILED = 1
"""The gateway refused, a check found something, or an answer was an error."""

USAGE = 2
"""The command line itself is wrong."""

UNAVAILABLE = 3
"""The home, the configuration or the server cannot be used; nothing was done."""

CUT_SHORT = 4
"""What was printed is incomplete."""

INTERRUPTED = 130
"""Ctrl-C."""


class Failure(Exception):
    """Ends the command. `message` says what, where and what to do next; `code` is one of this module's."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class ApiFailure(Failure):
    """The gateway's own refusal, with what it said of it."""

    def __init__(self, message: str, *, status: int, error_code: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
