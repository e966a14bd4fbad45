from __future__ import annotations

import jwt
import pytest

from adapters.fleet.passes import LEEWAY_S, LIFE_S, Passes
from domain.errors import UnauthenticatedError

# Throwaway, as everything here.
SECRET = "s" * 32
NOW_MS = 1_700_000_000_000
BODY = b'{"events": []}'


def signed(**changed: object) -> str:
    """A pass with other claims than it should have; None leaves one out."""
    good = Passes(SECRET).sign("a", "POST", "/internal/events", BODY, now_ms=NOW_MS)
    claims = jwt.decode(
        good.partition(" ")[2], options={"verify_signature": False, "verify_aud": False}
    )
    claims |= changed
    kept = {name: value for name, value in claims.items() if value is not None}
    return "Bearer " + jwt.encode(kept, SECRET, algorithm="HS256")


def check(header: str, *, body: bytes = BODY, path: str = "/internal/events", ms: int = 0) -> str:
    return Passes(SECRET).check(header, "POST", path, body, now_ms=NOW_MS + ms)


def test_a_pass_names_its_server() -> None:
    assert check(signed()) == "a"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x.y.z",
        "Basic YTpi",
        signed(iss=None),
        signed(exp=None),
        signed(sha256=None),
        signed(sub=None),
        signed(aud="other"),
        signed(exp="soon"),
        signed(sub="GET /internal/events"),
        Passes("t" * 32).sign("a", "POST", "/internal/events", BODY, now_ms=NOW_MS),
        "Bearer "
        + jwt.encode({"iss": "a", "sub": "POST /internal/events"}, None, algorithm="none"),
    ],
)
def test_no_other_pass_is_good(header: str) -> None:
    with pytest.raises(UnauthenticatedError):
        check(header)


def test_a_pass_is_for_one_body_and_one_path() -> None:
    with pytest.raises(UnauthenticatedError):
        check(signed(), body=BODY + b" ")
    with pytest.raises(UnauthenticatedError):
        check(signed(), path="/internal/fleet")


def test_a_pass_ends_with_leeway_for_clocks() -> None:
    last_ms = (LIFE_S + LEEWAY_S - 1) * 1_000

    assert check(signed(), ms=last_ms) == "a"
    with pytest.raises(UnauthenticatedError, match="too old"):
        check(signed(), ms=last_ms + 1_000)
