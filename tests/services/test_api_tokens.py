"""Tokens (JWT): whose are believed, what they let do, and every forged one is refused with 401 and a stable code."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from api import tokens as api_tokens
from api.settings import ApiSettings
from db import grants
from db.pool import Connection, connect
from tests.api import AGENT, KEY_SECRET, OTHER_VIN, PARTNER, VIN, Api, serving, streaming

ISSUER, AUDIENCE = "https://login.example", "tcu-api"
SUBJECT = "person-1"
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CONSENTS = f"//api/v1/childcare/vehicles/{VIN}/consents"
POLICY = f"//api/v1/childcare/vehicles/{VIN}/curfew/policy"
HISTORY = f"/vehicles/{VIN}/sos/history"


def key_set(**public: ec.EllipticCurvePublicKey) -> str:
    keys = [
        jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True) | {"kid": kid, "use": "sig"} for kid, key in public.items()
    ]
    rsa_key = jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True) | {"kid": "rsa"}
    symmetric = {"kty": "oct", "kid": "symmetric", "k": base64.urlsafe_b64encode(b"known to all" * 4).decode()}
    return json.dumps({"keys": [*keys, rsa_key, symmetric]})


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + 300,
        "roles": ["owner", "guardian", "driver", "agent", "partner"], "scope": "openid tcu:read tcu:write",
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(*, key: Any = KEY, algorithm: str = "ES256", header: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": "first"} | (header or {}))


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def unsigned(header: object, payload: object, signature: bytes = b"") -> str:
    return f"{part(header)}.{part(payload)}.{part(signature)}"


def signed_with_the_public_key() -> str:
    """Algorithm confusion: the public key, known to all, taken for a shared secret (RFC 8725 §2.1)."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    said = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'first'})}.{part(claims())}"
    return f"{said}.{part(hmac.digest(pem, said.encode(), hashlib.sha256))}"


def brings_its_own_key() -> str:
    own = jwt.algorithms.ECAlgorithm.to_jwk(OTHER_KEY.public_key(), as_dict=True)
    return token(key=OTHER_KEY, header={"jwk": own, "jku": "http://127.0.0.1:1/keys"})


def deep() -> str:
    return f"{part(b'[' * 1500)}.e30."


def forged_tokens() -> dict[str, str]:
    """Return tokens by the code that refuses them; made when asked for, since most are valid but for one thing."""
    return {
        "TOKEN_ALGORITHM none": unsigned({"alg": "none", "kid": "first"}, claims()),
        "TOKEN_ALGORITHM nOnE": unsigned({"alg": "nOnE", "kid": "first"}, claims()),
        "TOKEN_ALGORITHM confusion": signed_with_the_public_key(),
        "TOKEN_ALGORITHM a good key of another kind": token(key=RSA_KEY, algorithm="RS256", header={"kid": "rsa"}),
        "TOKEN_KEY_UNKNOWN its type is another": token(header={"kid": "rsa"}),
        "TOKEN_KEY_UNKNOWN symmetric": token(header={"kid": "symmetric"}),
        "TOKEN_KEY_UNKNOWN a path": token(header={"kid": "../../dev/null"}),
        "TOKEN_KEY_UNKNOWN no kid": jwt.encode(claims(), KEY, algorithm="ES256"),
        "TOKEN_SIGNATURE another key": token(key=OTHER_KEY),
        "TOKEN_SIGNATURE own key": brings_its_own_key(),
        "TOKEN_SIGNATURE changed": token(sub="somebody").split(".")[0]
        + "." + part(claims()) + "." + token(sub="somebody").split(".")[2],
        "TOKEN_SIGNATURE taken off": token().rsplit(".", 1)[0] + ".",
        "TOKEN_MALFORMED critical": token(header={"crit": ["b64"], "b64": False}),
        "TOKEN_MALFORMED no JSON": "a.b.c",
        "TOKEN_MALFORMED no text": ".".join(map(part, (b"\xff\xfe", b"\xff", b"x"))),
        "TOKEN_MALFORMED deep": deep(),
        "TOKEN_MALFORMED nobody": token(sub=""),
        "TOKEN_MALFORMED no text for a subject": token(sub="\ud800"),
        "TOKEN_MALFORMED a NUL in the subject": token(sub="a\x00b"),
        "TOKEN_MALFORMED roles": token(roles="operator"),
        "TOKEN_EXPIRED": token(exp=int(time.time()) - 60),
        "TOKEN_NOT_YET_VALID nbf": token(nbf=int(time.time()) + 600),
        "TOKEN_NOT_YET_VALID iat": token(iat=int(time.time()) + 600),
        "TOKEN_AUDIENCE": token(aud="another-api"),
        "TOKEN_AUDIENCE list": token(aud=["another-api", "third"]),
        "TOKEN_ISSUER": token(iss="https://login.example.evil"),
        "TOKEN_TOO_LARGE": token(filler="x" * 5000),
        **{f"TOKEN_CLAIM_MISSING {name}": token(**{name: None}) for name in ("exp", "iat", "sub", "aud", "iss")},
    }  # fmt: skip


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    file.write_text(key_set(first=KEY.public_key()))
    return file


@pytest.fixture
def api(database_url: str, keys_file: Path) -> Iterator[Api]:
    with serving(database_url, **trusting(str(keys_file))) as served:
        yield served


def trusting(keys: str) -> dict[str, Any]:
    return {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_algorithm": "ES256", "jwt_keys": keys}


def grant(api: Api, role: str, **rights: Any) -> int:
    with connect(api.database_url, name="tests") as conn:
        return grants.add(conn, SUBJECT, role=role, granted_at=datetime.now(UTC), **rights)


def status(api: Api, path: str, bearer: str, method: str = "GET", body: Any = None) -> int:
    return int(api.call(method, path, body, token=bearer).status_code)


def test_a_forged_or_unfit_token_is_refused_with_a_stable_code(api: Api) -> None:
    grant(api, "owner", vin=VIN)
    for name, forged in forged_tokens().items():
        answer = api.call("GET", HISTORY, token=forged)
        assert (answer.status_code, answer.json()["code"]) == (401, name.split()[0]), name
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="tcu", error="invalid_token"', name
        assert forged not in answer.text
    assert status(api, HISTORY, token()) == 200


def test_a_clock_may_be_thirty_seconds_off(api: Api) -> None:
    grant(api, "owner", vin=VIN)
    now = int(time.time())
    assert status(api, HISTORY, token(exp=now - 20)) == 200
    assert status(api, HISTORY, token(iat=now + 20)) == 200
    assert status(api, HISTORY, token(exp=now - 31)) == 401


def test_an_audience_may_be_one_of_several(api: Api) -> None:
    grant(api, "owner", vin=VIN)
    assert status(api, HISTORY, token(aud=["another-api", AUDIENCE])) == 200


def test_a_token_lets_do_what_was_granted_in_the_roles_that_it_names(api: Api) -> None:
    assert status(api, HISTORY, token()) == 404  # nothing was granted
    grant(api, "guardian", vin=VIN)
    grant(api, "driver", vin=OTHER_VIN)
    bearer = token(jti="after the grants")
    assert status(api, HISTORY, bearer) == 200
    assert status(api, CONSENTS, bearer, "PUT", {"granted": True}) == 403  # guardian of this one
    assert status(api, CONSENTS.replace(VIN, OTHER_VIN), bearer, "PUT", {"granted": True}) == 200
    assert status(api, POLICY.replace(VIN, OTHER_VIN), bearer, "PUT", {}) == 403  # driver of that one
    assert status(api, HISTORY, token(roles=["driver"])) == 404
    assert status(api, HISTORY, token(roles=[])) == 404
    assert status(api, HISTORY, token(roles=["operator", "guardian"])) == 200
    assert status(api, "/sos/stats", token(roles=["operator", "guardian"])) == 403
    me = api.call("GET", "//api/v1/me", token=bearer).json()
    assert (me["role"], me["vins"], me["everyVehicle"]) == ("guardian", [VIN, OTHER_VIN], False)


def test_a_token_of_a_counselor_or_partner_speaks_for_whom_it_was_granted(api: Api) -> None:
    grant(api, "agent", every_vehicle=True, agent_id=AGENT)
    bearer = token(roles=["agent"])
    assert status(api, f"/sos/agents/{AGENT}/incidents", bearer) == 200
    assert status(api, "/sos/agents/AGENT_002/incidents", bearer) == 404
    grant(api, "partner", partner=PARTNER)
    confirm = f"/partners/{PARTNER}/dispatch/confirm"
    unknown = api.call(
        "POST", confirm, {"cid": "RSA_20260307_001", "status": "ACCEPTED"}, token=token(roles=["partner"])
    )
    assert unknown.status_code in {404, 422}
    other = confirm.replace(PARTNER, "HYUNDAI_ROAD")
    assert api.call("POST", other, {}, token=token(roles=["partner"])).json()["detail"] == "there is no such partner"


def test_a_scope_bounds_what_a_token_is_for(api: Api) -> None:
    grant(api, "owner", vin=VIN)
    reading = token(scope="tcu:read")
    assert status(api, HISTORY, reading) == 200
    refused = api.call("POST", f"/vehicles/{VIN}/rsa/request", {"serviceType": "TOWING"}, token=reading)
    assert (refused.status_code, refused.json()["code"]) == (403, "INSUFFICIENT_SCOPE")
    assert status(api, HISTORY, token(scope="tcu:write")) == 403
    assert status(api, HISTORY, token(scope=None)) == 403


def test_a_new_key_of_the_issuer_is_found_and_a_withdrawn_one_refused(
    api: Api, keys_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant(api, "owner", vin=VIN)
    after = token(key=OTHER_KEY, header={"kid": "second"})
    assert status(api, HISTORY, token()) == 200
    assert status(api, HISTORY, after) == 401
    keys_file.write_text(key_set(first=KEY.public_key(), second=OTHER_KEY.public_key()))
    assert status(api, HISTORY, after) == 401  # it was asked for a moment ago
    monkeypatch.setattr(api_tokens, "UNKNOWN_S", 0)
    assert status(api, HISTORY, after) == 200
    keys_file.write_text(key_set(second=OTHER_KEY.public_key()))
    monkeypatch.setattr(api_tokens, "FRESH_S", 0)
    assert status(api, HISTORY, token(jti="late")) == 401
    keys_file.write_text("{")  # what was read before stays
    assert status(api, HISTORY, token(key=OTHER_KEY, header={"kid": "second"}, jti="later")) == 200


class _Issuer(BaseHTTPRequestHandler):
    asked: int

    def do_GET(self) -> None:
        type(self).asked += 1
        body = key_set(first=KEY.public_key()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_keys_come_from_a_url_and_strange_key_ids_do_not_make_it_be_asked_again_and_again(database_url: str) -> None:
    _Issuer.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Issuer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with serving(database_url, **trusting(f"http://127.0.0.1:{server.server_port}/keys")) as api:
            grant(api, "owner", vin=VIN)
            assert status(api, HISTORY, token()) == 200
            for n in range(20):
                assert status(api, HISTORY, token(header={"kid": f"strange {n}"})) == 401
            assert _Issuer.asked <= 2
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_pem_file_serves_an_issuer_with_one_key(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "issuer.pem"
    file.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with serving(database_url, **trusting(str(file))) as api:
        grant(api, "owner", vin=VIN)
        assert status(api, HISTORY, jwt.encode(claims(), KEY, algorithm="ES256")) == 200
        assert status(api, HISTORY, token(key=OTHER_KEY)) == 401
        assert status(api, HISTORY, signed_with_the_public_key()) == 401


def test_a_stream_ends_when_the_grant_is_revoked_and_when_the_token_expires(api: Api, conn: Connection) -> None:
    number = grant(api, "owner", vin=VIN)
    with streaming(api, token=token()) as stream:
        assert grants.revoke(conn, number, at=datetime.now(UTC))
        conn.commit()
        revoked_at_s = time.monotonic()
        assert stream.next() is None
        assert time.monotonic() - revoked_at_s < 5
    grant(api, "owner", vin=VIN)
    soon = token(exp=int(time.time()) - 28, jti="soon")  # two seconds of leeway are left
    with streaming(api, token=soon) as stream:
        assert stream.next() is None


def test_settings_that_tell_half_of_an_issuer_are_refused() -> None:
    told = {"database_url": "postgresql://localhost/none", "key_secret": KEY_SECRET}
    with pytest.raises(ValidationError, match="or none"):
        ApiSettings(**told, jwt_issuer=ISSUER)
    with pytest.raises(ValidationError, match="https"):
        ApiSettings(**told, **trusting("http://keys.example/set"))
    with pytest.raises(ValidationError, match="jwt_algorithm"):
        ApiSettings(**told, **trusting("keys.json") | {"jwt_algorithm": "HS256"})


def test_without_an_issuer_no_token_is_believed(database_url: str) -> None:
    with serving(database_url) as api:
        answer = api.call("GET", HISTORY, token=token())
        assert (answer.status_code, answer.json()["code"]) == (401, "KEY_UNKNOWN")
