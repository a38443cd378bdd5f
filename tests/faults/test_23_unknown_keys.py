"""Fault 23: nothing in an answer tells which part of a bearer was wrong. (The reads are counted in test_bearers.)"""

import httpx2
import pytest

from gateway_core import jwt
from gateway_core.clock import SystemClock
from gateway_core.key_text import new_key_text
from gateway_core.testing.server import ServedGateway


def _jwt(gateway: ServedGateway) -> str:
    key = jwt.new_key()
    return jwt.sign(
        key,
        issuer=jwt.instance_id(key),
        purpose="inference",
        audience=gateway.url,
        scope="inference",
        jti="jti_1",
        now_ms=SystemClock().now_ms(),
        seconds=600,
    )


@pytest.mark.parametrize("path", ["/v1/models", "/v1/keys", "/v1/admin/instances", "/v1/audit/records"])
def test_every_bad_bearer_gets_one_answer(path: str, running_server: ServedGateway) -> None:
    key, unknown = running_server.key, new_key_text()
    revoked = running_server.spl("keys", "mint", "--name", f"revoked {path}", "-o", "json").split('"')
    secret, key_id = revoked[revoked.index("secret") + 2], revoked[revoked.index("id") + 2]
    running_server.spl("keys", "revoke", key_id)
    bad = {
        "unknown": unknown,
        "a known id": key[:18] + unknown[18:],
        "a wrong checksum": key[:-1] + ("A" if key[-1] != "A" else "B"),
        "cut": key[:-1],
        "revoked": secret,
        "another make": "sk-proj-abcdefghijklmnopqrstuvwxyz",
        "no make at all": "nonsense",
        "an unknown issuer": _jwt(running_server),
        "a jwt of nobody": "eyJhbGciOiJub25lIn0.e30.",
    }
    told = {}
    for what, bearer in bad.items():
        answer = httpx2.get(running_server.url + path, headers={"authorization": f"Bearer {bearer}"})
        error = {name: value for name, value in answer.json()["error"].items() if name != "request_id"}
        told[what] = (answer.status_code, sorted(answer.headers), str(error))
    assert len(set(map(str, told.values()))) == 1, told
    assert told["unknown"][0] == 401
