"""A client of the API as a test is one: what it expects of an answer is said with the request."""

from typing import Any, Self

import httpx2


class ApiCaller:
    """One bearer's client; without a secret nobody's."""

    def __init__(self, http: httpx2.Client, secret: str | None) -> None:
        self.http = http
        self.headers = {} if secret is None else {"authorization": f"Bearer {secret}"}

    def request(self, method: str, path: str, **fields: Any) -> httpx2.Response:
        """The answer, whatever it is."""
        headers = {**self.headers, **fields.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **fields)

    def other(self, minted: Any) -> Self:
        """Who has a key that was minted."""
        return type(self)(self.http, minted["secret"])

    def ok(self, method: str, path: str, body: Any = None, status: int = 200, **fields: Any) -> Any:
        """The JSON of an answer that is expected, and that nobody may keep."""
        answer = self.request(method, path, json=body, **fields)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    def refused(self, status: int, code: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The error of a refusal that is expected."""
        answer = self.request(method, path, json=body)
        assert answer.status_code == status, answer.text
        error: dict[str, Any] = answer.json()["error"]
        assert error["code"] == code
        return error

    def mint(self, **fields: Any) -> Any:
        """A new key, its secret with it."""
        return self.ok("POST", "/v1/keys", {"name": "k", **fields}, 201)
