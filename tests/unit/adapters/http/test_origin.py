from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from adapters.http.origin import Origins, household, networks_of

PROXY, CALLER, FORGED = "10.0.0.1", "93.184.216.34", "8.8.8.8"
TRUSTED = networks_of("10.0.0.0/24, fd00::/8, 192.0.2.1")


def origin(*headers: tuple[str, str], peer: str = PROXY) -> str:
    request = make_mocked_request("GET", "/", headers=CIMultiDict(headers))
    return Origins(TRUSTED).of(request.clone(remote=peer))


def forwarded_for(value: str, *, peer: str = PROXY) -> str:
    return origin(("X-Forwarded-For", value), peer=peer)


def test_without_a_proxy_the_peer_is_who_asks() -> None:
    assert origin(peer=CALLER) == CALLER


def test_what_a_peer_we_do_not_trust_says_is_not_believed() -> None:
    assert forwarded_for(FORGED, peer=CALLER) == CALLER


def test_by_default_nobody_is_trusted() -> None:
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": FORGED})

    assert Origins().of(request.clone(remote=PROXY)) == PROXY


def test_a_trusted_proxy_says_who_asks() -> None:
    assert forwarded_for(CALLER) == CALLER


def test_the_right_most_address_that_is_no_proxy_counts() -> None:
    assert forwarded_for(f"{FORGED}, {CALLER}, 192.0.2.1, 10.0.0.9") == CALLER


def test_where_all_are_proxies_the_farthest_counts() -> None:
    assert forwarded_for("10.0.0.7, 10.0.0.8") == "10.0.0.7"


def test_what_is_no_address_ends_the_walk_at_the_last_good_one() -> None:
    assert forwarded_for(f"{FORGED}, unknown, 10.0.0.9") == "10.0.0.9"


def test_all_lines_of_the_header_are_one() -> None:
    lines = [("X-Forwarded-For", FORGED), ("X-Forwarded-For", f"{CALLER}, 10.0.0.9")]

    assert origin(*lines) == CALLER


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("93.184.216.34:5060", "93.184.216.34"),
        ("[2606:2800:220:1::1]:5060", "2606:2800:220:1::1"),
        ("[2606:2800:220:1::1]", "2606:2800:220:1::1"),
        ("2606:2800:220:1::1", "2606:2800:220:1::1"),
        ("::ffff:93.184.216.34", "93.184.216.34"),
        ("fe80::1%eth0", "fe80::1"),
        ("", PROXY),
        ("93.184.216.34:port", PROXY),
        ("93.184.216", PROXY),
        ("<script>", PROXY),
    ],
)
def test_an_address_is_read_in_every_form_proxies_write(written: str, meant: str) -> None:
    assert forwarded_for(written) == meant


@pytest.mark.parametrize(
    "value",
    [
        f"for={CALLER}",
        f'For="{CALLER}:4711"; proto=https; by=10.0.0.1',
        f"proto=https;for={CALLER}",
        f"for={FORGED}, for={CALLER}, for=10.0.0.9",
        f'for="{FORGED}, for={CALLER}',
    ],
)
def test_the_standard_header_says_the_same(value: str) -> None:
    assert origin(("Forwarded", value)) == CALLER


@pytest.mark.parametrize("value", ["for=_hidden", "for=unknown", "by=8.8.8.8", ";;==,"])
def test_a_standard_header_without_an_address_leaves_the_peer(value: str) -> None:
    assert origin(("Forwarded", value)) == PROXY


def test_a_v6_address_stands_in_quotes_there() -> None:
    value = 'for="[2606:2800:220:1::1]:4711"'

    assert origin(("Forwarded", value)) == "2606:2800:220:1::1"


def test_two_headers_that_disagree_are_both_not_believed() -> None:
    assert origin(("X-Forwarded-For", CALLER), ("Forwarded", f"for={FORGED}")) == PROXY


def test_two_headers_that_agree_are_believed() -> None:
    assert origin(("X-Forwarded-For", CALLER), ("Forwarded", f"for={CALLER}")) == CALLER


def test_ten_thousand_hops_are_walked_no_farther_than_anybody_has_proxies() -> None:
    assert forwarded_for(", ".join([CALLER] + ["10.0.0.9"] * 10_000)) == "10.0.0.9"


def test_a_local_socket_has_no_address() -> None:
    assert origin(peer="") == ""


def test_one_line_of_ipv6_is_one_caller() -> None:
    assert household("2606:2800:220:1::1") == household("2606:2800:220:1:ffff::9")


def test_two_lines_of_ipv6_are_two_callers() -> None:
    assert household("2606:2800:220:1::1") != household("2606:2800:220:2::1")


def test_two_addresses_of_ipv4_are_two_callers() -> None:
    assert household("93.184.216.34") != household("93.184.216.35")


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.test", "10.0.0.1/8"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"bits|appear"):
        networks_of(text)
