"""One client of the API: of the server at an address, of the one on the home, or of a gateway in this process."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from gateway_core.cli.failure import CUT_SHORT, UNAVAILABLE, ApiFailure, Failure
from gateway_core.cli.target import Target

#: A slow model's plain answer and the backup of a large store take long; connecting does not.
_TIMEOUT = httpx2.Timeout(3600.0, connect=5.0)

#: How long a server that has the home may take until it answers.
_PATIENCE = 5.0


class Api:
    """Requests as one bearer. Every refusal is raised as an `ApiFailure` with the gateway's message and request id."""

    def __init__(self, http: httpx2.AsyncClient, *, hint: str = "") -> None:
        self._http = http
        #: What to do about a 401.
        self._hint = hint

    async def get(self, path: str, **params: Any) -> Any:
        """GET; parameters that are None are left out."""
        return await self._call("GET", path, params=params)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """POST a JSON object; fields that are None are left out."""
        return await self._call("POST", path, body=body)

    async def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """PATCH with exactly the fields given; None means null."""
        return await self._call("PATCH", path, body=body, keep_null=True)

    async def delete(self, path: str) -> Any:
        """DELETE."""
        return await self._call("DELETE", path)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        keep_null: bool = False,
    ) -> Any:
        if body is not None and not keep_null:
            body = _given(body)
        with _transport_errors(self._http):
            answer = await self._http.request(method, path, params=_given(params or {}), json=body)
        if not answer.is_success:
            raise self._refusal(answer.status_code, answer.headers, answer.content)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise Failure(f"{self._http.base_url} answered with something that is not JSON: is it a gateway?") from None

    async def pages(self, path: str, limit: int | None = None, **params: Any) -> AsyncIterator[Mapping[str, Any]]:
        """Every record of a listing in order, a page at a time; `limit` in all. `after` is where to begin.

        A page that fails after others came is a `Failure` with `CUT_SHORT`.
        """
        left, begun = limit, False
        while left is None or left > 0:
            try:
                page = await self.get(path, **params, limit=min(left or 1000, 1000))
            except Failure as error:
                raise Failure(f"cut short: {error.message}", CUT_SHORT) if begun else error from None
            for row in page["data"]:
                begun = True
                yield row
            if left is not None:
                left -= len(page["data"])
            if page.get("next_after") is None:
                return
            params["after"] = page["next_after"]

    async def events(self, path: str, body: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """The events of a streamed answer as they come. One that ends without `[DONE]` is a `Failure`."""
        with _transport_errors(self._http):
            async with self._http.stream("POST", path, json=_given(body)) as answer:
                if not answer.is_success:
                    raise self._refusal(answer.status_code, answer.headers, await answer.aread())
                async for line in answer.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    data = line[5:].strip()
                    if data == "[DONE]":
                        return
                    event = json.loads(data)
                    if "error" in event:
                        raise Failure(_message(event["error"], None), CUT_SHORT)
                    yield event
        raise Failure("the answer ended early: the connection was lost before it was complete", CUT_SHORT)

    def _refusal(self, status: int, headers: httpx2.Headers, content: bytes) -> ApiFailure:
        try:
            error = json.loads(content)["error"]
            code, text = error.get("code"), _message(error, headers.get("x-request-id"))
        except (ValueError, KeyError, TypeError, AttributeError):
            code, text = None, f"{self._http.base_url} answered with status {status}: is it a gateway?"
        if status == 401 and self._hint:
            text = f"{text} {self._hint}"
        return ApiFailure(text, status=status, error_code=code)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _message(error: Mapping[str, Any], request_id: str | None) -> str:
    request_id = error.get("request_id") or request_id
    param = f"{error['param']}: " if error.get("param") and error["param"] not in error["message"] else ""
    more = " `spl models` lists what can be called." if error.get("code") == "model_not_found" else ""
    reference = ", ".join(filter(None, [error.get("code"), request_id]))
    return f"{param}{error['message']}{more}" + (f" [{reference}]" if reference else "")


class _transport_errors:  # noqa: N801  # reads as the statement it is used in
    """Turns what a connection met into one line."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._where = str(http.base_url).rstrip("/")

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx2.TimeoutException):
            raise Failure(f"{self._where} did not answer in time", UNAVAILABLE) from None
        if isinstance(error, httpx2.ConnectError):
            raise Failure(f"no gateway answers at {self._where}: {error}. Is it running?", UNAVAILABLE) from None
        if isinstance(error, httpx2.HTTPError):
            raise Failure(f"the connection to {self._where} was lost: {error}", CUT_SHORT) from None


@asynccontextmanager
async def connect(target: Target, *, server_for: str | None = None) -> AsyncIterator[Api]:
    """The API that `target` names. Raises Failure where there is none, saying what to do."""
    if target.url is not None:
        async with _remote(target.url) as api:
            yield api
        return
    from gateway_core.cli.locate import locate

    async with (
        locate(target, patience=_PATIENCE, server_for=server_for) as found,
        _client(found.url, found.operator_key, transport=found.transport, trust_env=False) as http,
    ):
        yield Api(http)


@asynccontextmanager
async def _remote(url: str) -> AsyncIterator[Api]:
    key = os.environ.get("SYNCROPEL_API_KEY", "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise Failure("SYNCROPEL_API_KEY is no key: it has characters that none has", UNAVAILABLE)
    hint = "Is SYNCROPEL_API_KEY a key of that gateway?" if key else "Set SYNCROPEL_API_KEY to a key of that gateway."
    async with _client(url, key) as http:
        yield Api(http, hint=hint)


def _client(
    url: str, key: str | None, *, transport: httpx2.AsyncBaseTransport | None = None, trust_env: bool = True
) -> httpx2.AsyncClient:
    headers = {"user-agent": "spl"} | ({"authorization": f"Bearer {key}"} if key else {})
    return httpx2.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT, transport=transport, trust_env=trust_env)
