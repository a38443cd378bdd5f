"""Log lines: one JSON object each, with the request's id, and nothing secret in them."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.errors import ConfigError
from gateway_core.key_text import new_key_text
from gateway_core.logs import JsonFormatter, configure, current_request, redact


def line(message: str, *arguments: object, error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("gateway_core.test", logging.WARNING, __file__, 1, message, arguments, info)
    return JsonFormatter().format(record)


def test_a_line_says_when_who_and_what() -> None:
    token = current_request.set("req_1")
    try:
        fields = json.loads(line("%d files", 3))
    finally:
        current_request.reset(token)
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "level": "warning",
        "logger": "gateway_core.test",
        "message": "3 files",
        "request_id": "req_1",
    }
    assert "request_id" not in json.loads(line("outside"))


@given(st.text())
def test_nothing_forges_a_line(text: str) -> None:
    written = line("%s", text)
    assert written.isascii()
    assert written.isprintable()
    json.loads(written)


def test_bearers_are_taken_out() -> None:
    secret = new_key_text()
    for text in (
        secret,
        f"x={secret};",
        "Authorization: Bearer abc.def",
        "eyJhbGciOiJub25lIn0.e30.",
        "sk-proj-abcdef123",
    ):
        assert json.loads(line("got %s", text))["message"].count("[redacted]") == 1
    assert secret not in redact(f"{secret} {secret}")
    assert redact("sk- and bearer") == "sk- and bearer"


def raising(error: Exception, cause: BaseException | None = None) -> None:
    raise error from cause


def failure(error: Exception, cause: BaseException | None = None) -> BaseException:
    with pytest.raises(type(error)) as caught:
        raising(error, cause)
    return caught.value


def test_an_error_says_where_and_not_what_a_client_sent() -> None:
    text = json.loads(line("failed", error=failure(ValueError("a prompt"))))["exception"]
    assert "test_logs.py" in text
    assert "ValueError" in text
    assert "a prompt" not in text


def test_an_error_about_the_machine_says_why() -> None:
    text = json.loads(line("failed", error=failure(ConfigError("no such file"))))["exception"]
    assert "ConfigError: no such file" in text


def test_a_cause_is_named() -> None:
    error = failure(ConfigError("bad"), cause=failure(KeyError("a prompt")))
    text = json.loads(line("failed", error=error))["exception"]
    assert text.index("ConfigError: bad") < text.index("because of") < text.index("KeyError")
    assert "a prompt" not in text


@pytest.fixture
def root() -> Iterator[Any]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_everything_goes_to_one_stream(root: Any) -> None:
    stream = io.StringIO()
    configure(stream)
    logging.getLogger("spl_x").info("one")
    logging.getLogger("uvicorn.error").info("too much")
    assert [json.loads(each)["message"] for each in stream.getvalue().splitlines()] == ["one"]
