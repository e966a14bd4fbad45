from __future__ import annotations

from pathlib import Path

import pytest

from adapters.config import (
    ConfigError,
    RoomSettings,
    Settings,
    WitnessSettings,
    X402Settings,
)
from adapters.room_settings import SANDBOX_ROOMS_KEY, SANDBOX_ROOMS_SECRET
from domain.cosignature import WitnessKey
from tests.fakes.log import SIGNER_KEY
from tests.fakes.witness import WITNESS_KEY

PAY_TO = "0x2222222222222222222222222222222222222222"
PAID = {
    "PAYPHONE_X402_PAY_TO": PAY_TO,
    "PAYPHONE_X402_FACILITATOR_URL": "https://facilitator.test/",
    "PAYPHONE_BASE_RPC_URL": "https://node.test/v1/token-in-the-path",
}
ROOMS = {
    "PAYPHONE_ROOMS": "livekit",
    "PAYPHONE_ROOMS_KEY": "APIown",
    "PAYPHONE_ROOMS_SECRET": "a secret of our own, thirty-two bytes and more",
    "PAYPHONE_ROOMS_WS_URL": "wss://rooms.test",
}


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refusal:
        Settings.from_environ(environ)
    return refusal.value.problems


def test_nothing_set_is_enough_to_read_settings() -> None:
    settings = Settings.from_environ({"PATH": "/bin", "HOME": "/home/x"})

    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8402)
    assert settings.storage.data == Path("payphone-data")
    assert settings.x402 is None
    assert settings.rooms is None
    assert (settings.terms.units_max, settings.terms.api_rate_max) == (10, 5)
    assert settings.terms.pause_allowance_ms == 3_600_000
    assert settings.speech.hub_url == "https://huggingface.co"
    assert settings.log.level == "info"
    assert settings.warnings == ()


def test_everything_can_be_set() -> None:
    settings = Settings.from_environ(
        PAID
        | ROOMS
        | {
            "PAYPHONE_HOST": "0.0.0.0",  # noqa: S104 (a value to read)
            "PAYPHONE_PORT": "0",
            "PAYPHONE_DATA": "/var/lib/payphone",
            "PAYPHONE_DATABASE": "postgresql://payphone@db.test/ledger",
            "PAYPHONE_SANDBOX": "0",
            "PAYPHONE_PUBLIC_URL": "https://gateway.test/",
            "PAYPHONE_STT_URL": "https://stt.test",
            "PAYPHONE_TTS_URL": "https://tts.test:8443/",
            "PAYPHONE_X402_NETWORK": "base-sepolia",
            "PAYPHONE_PAUSE_ALLOWANCE_MINUTES": "5",
            "PAYPHONE_SESSIONS_MAX": "100",
            "PAYPHONE_API_RATE_MAX": "50",
            "PAYPHONE_MODELS_DIR": "/srv/models",
            "PAYPHONE_LOG_LEVEL": "debug",
            "PAYPHONE_LOG_NAME": "gateway.test/log",
            "PAYPHONE_DENOISE": "off",
            "HF_ENDPOINT": "http://127.0.0.1:9999",
        }
    )

    assert settings.x402 == X402Settings(
        pay_to=PAY_TO,
        network="base-sepolia",
        facilitator_url="https://facilitator.test",
        rpc_url="https://node.test/v1/token-in-the-path",
    )
    assert settings.rooms == RoomSettings(
        kind="livekit",
        key=ROOMS["PAYPHONE_ROOMS_KEY"],
        secret=ROOMS["PAYPHONE_ROOMS_SECRET"],
        ws_url="wss://rooms.test",
    )
    assert settings.http.public_url == "https://gateway.test"
    assert settings.http.tts_url == "https://tts.test:8443"
    assert settings.storage.database == "postgresql://payphone@db.test/ledger"
    assert settings.terms.pause_allowance_ms == 300_000
    assert settings.speech.models_dir == Path("/srv/models")
    assert settings.speech.hub_url == "http://127.0.0.1:9999"
    assert settings.log.name == "gateway.test/log"


def test_every_problem_is_told_at_once() -> None:
    told = problems({"PAYPHONE_PORT": "99999", "PAYPHONE_LOG_LEVEL": "loud", "PAYPHONE_PROT": "1"})

    assert [line.split(":")[0].strip() for line in told] == [
        "PAYPHONE_PORT",
        "PAYPHONE_LOG_LEVEL",
        "PAYPHONE_PROT",
    ]
    assert "from 0 to 65535, got '99999'" in told[0]


def test_a_misspelt_name_is_refused_with_the_name_that_was_meant() -> None:
    (told,) = problems({"PAYPHONE_PUBLIC_ULR": "https://gateway.test"})

    assert "perhaps PAYPHONE_PUBLIC_URL" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYPHONE_PORT", "-1"),
        ("PAYPHONE_PORT", "80.5"),
        ("PAYPHONE_PORT", "http"),
        ("PAYPHONE_HOST", "two hosts"),
        ("PAYPHONE_SANDBOX", "maybe"),
        ("PAYPHONE_PUBLIC_URL", "gateway.test"),
        ("PAYPHONE_PUBLIC_URL", "wss://gateway.test"),
        ("PAYPHONE_PUBLIC_URL", "https://"),
        ("PAYPHONE_PUBLIC_URL", "https://gate way.test"),
        ("PAYPHONE_PUBLIC_URL", "https://gateway.test:port"),
        ("PAYPHONE_PUBLIC_URL", "https://gateway.test/#part"),
        ("PAYPHONE_PUBLIC_URL", "https://[::1"),
        ("PAYPHONE_STT_URL", "https://stt.test/v1/stream"),
        ("PAYPHONE_TTS_URL", "wss://tts.test"),
        ("PAYPHONE_DATABASE", "mysql://db.test/ledger"),
        ("PAYPHONE_DATABASE", "sqlite:///ledger.db"),
        ("PAYPHONE_X402_PAY_TO", "0x12"),
        ("PAYPHONE_X402_NETWORK", "ethereum"),
        ("PAYPHONE_X402_FACILITATOR_URL", "facilitator"),
        ("PAYPHONE_BASE_RPC_URL", "ftp://node.test"),
        ("PAYPHONE_ROOMS", "zoom"),
        ("PAYPHONE_PAUSE_ALLOWANCE_MINUTES", "1441"),
        ("PAYPHONE_SESSIONS_MAX", "0"),
        ("PAYPHONE_API_RATE_MAX", "0"),
        ("PAYPHONE_LOG_NAME", "two words"),
        ("PAYPHONE_LOG_NAME", "plus+sign"),
        ("PAYPHONE_DENOISE", "yes"),
        ("HF_ENDPOINT", "hub"),
    ],
)
def test_a_value_of_the_wrong_form_is_named(name: str, value: str) -> None:
    assert any(line.startswith(f"  {name}: expected") for line in problems({name: value}))


@pytest.mark.parametrize("missing", ["PAYPHONE_X402_FACILITATOR_URL", "PAYPHONE_BASE_RPC_URL"])
def test_being_paid_needs_a_facilitator_and_a_node(missing: str) -> None:
    (told,) = problems({name: value for name, value in PAID.items() if name != missing})

    assert missing in told


def test_money_is_not_sent_to_nobody() -> None:
    assert "not zero" in problems({**PAID, "PAYPHONE_X402_PAY_TO": "0x" + "0" * 40})[0]


@pytest.mark.parametrize("name", ["PAYPHONE_X402_PAY_TO", "PAYPHONE_X402_FACILITATOR_URL"])
def test_the_sandbox_does_not_start_beside_real_money(name: str) -> None:
    (told,) = problems({"PAYPHONE_SANDBOX": "1", name: PAID[name]})

    assert "sandbox" in told


def test_the_sandbox_brings_throwaway_rooms() -> None:
    settings = Settings.from_environ({"PAYPHONE_SANDBOX": "1"})

    assert settings.rooms == RoomSettings(
        kind="dtelecom",
        key=SANDBOX_ROOMS_KEY,
        secret=SANDBOX_ROOMS_SECRET,
        ws_url="ws://127.0.0.1:7880",
    )


def test_the_sandbox_takes_rooms_of_ones_own() -> None:
    settings = Settings.from_environ({"PAYPHONE_SANDBOX": "1", **ROOMS})

    assert settings.rooms is not None
    assert settings.rooms.kind == "livekit"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PAYPHONE_ROOMS_KEY", SANDBOX_ROOMS_KEY),
        ("PAYPHONE_ROOMS_SECRET", SANDBOX_ROOMS_SECRET),
        ("PAYPHONE_ROOMS_KEY", "devkey"),
        ("PAYPHONE_ROOMS_SECRET", "secret"),
    ],
)
def test_published_keys_do_not_start_outside_the_sandbox(name: str, value: str) -> None:
    assert any(name in line and "throwaway" in line for line in problems({**ROOMS, name: value}))


def test_a_short_livekit_secret_does_not_start_outside_the_sandbox() -> None:
    assert "32 bytes" in problems({**ROOMS, "PAYPHONE_ROOMS_SECRET": "short of it"})[0]


@pytest.mark.parametrize("secret", ["not base58: 0OIl", "2g", "3" * 44])
def test_a_dtelecom_secret_of_another_key_does_not_start(secret: str) -> None:
    told = problems({**ROOMS, "PAYPHONE_ROOMS": "dtelecom", "PAYPHONE_ROOMS_SECRET": secret})

    assert any("belongs to PAYPHONE_ROOMS_KEY" in line for line in told)
    assert secret not in "".join(told)


@pytest.mark.parametrize(
    "missing", ["PAYPHONE_ROOMS_KEY", "PAYPHONE_ROOMS_SECRET", "PAYPHONE_ROOMS_WS_URL"]
)
def test_half_a_room_server_is_none(missing: str) -> None:
    (told,) = problems({name: value for name, value in ROOMS.items() if name != missing})

    assert missing in told


def test_a_gateway_that_can_take_no_payment_does_not_serve() -> None:
    with pytest.raises(ConfigError, match="PAYPHONE_X402_PAY_TO"):
        Settings.from_environ({}).check_serving()


@pytest.mark.parametrize("environ", [{"PAYPHONE_SANDBOX": "1"}, PAID])
def test_a_gateway_that_can_take_payments_serves(environ: dict[str, str]) -> None:
    Settings.from_environ(environ).check_serving()


def test_plain_http_is_warned_of_outside_the_sandbox() -> None:
    url = {"PAYPHONE_PUBLIC_URL": "http://gateway.test"}

    assert "plain http" in Settings.from_environ(url).warnings[0]
    assert Settings.from_environ({**url, "PAYPHONE_SANDBOX": "1"}).warnings == ()


SECRETS = {
    "PAYPHONE_ROOMS_SECRET": "hush-hush-hush",
    "PAYPHONE_BASE_RPC_URL": "hush://node.test/hush-hush-hush",
    "PAYPHONE_X402_FACILITATOR_URL": "hush://node.test/hush-hush-hush",
    "PAYPHONE_DATABASE": "hush://user:hush-hush-hush@db.test",
    "PAYPHONE_UNKNOWN_SECRET": "hush-hush-hush",
}


def test_secrets_are_not_told() -> None:
    told = "\n".join(problems({**SECRETS, "PAYPHONE_ROOMS_KEY": "devkey"}))

    assert "hush" not in told


def test_secrets_are_not_in_the_settings_text() -> None:
    settings = Settings.from_environ(
        {**PAID, **ROOMS, "PAYPHONE_DATABASE": "postgresql://user:hush@db.test/ledger"}
    )

    text = repr(settings)
    assert ROOMS["PAYPHONE_ROOMS_SECRET"] not in text
    assert "token-in-the-path" not in text
    assert "hush" not in text


def test_witnesses_are_urls_with_their_keys() -> None:
    second = WitnessKey(name="second.test", public=bytes(32)).text

    settings = Settings.from_environ(
        {"PAYPHONE_WITNESSES": f"http://w.test/w1/={WITNESS_KEY.text}, https://s.test={second}"}
    )

    assert settings.log.witnesses == (
        WitnessSettings(url="http://w.test/w1", key=WITNESS_KEY),
        WitnessSettings(url="https://s.test", key=WitnessKey.parse(second)),
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://w.test", "witnesses as URL=KEY"),
        (f"w.test={WITNESS_KEY.text}", "witnesses as URL=KEY"),
        (f"ftp://w.test={WITNESS_KEY.text}", "witnesses as URL=KEY"),
        (f"http://w.test={SIGNER_KEY.text}", "witnesses as URL=KEY"),
        (",".join([f"http://w.test={WITNESS_KEY.text}"] * 2), "each witness once"),
    ],
)
def test_what_is_no_witness_is_told(value: str, expected: str) -> None:
    (problem,) = problems({"PAYPHONE_WITNESSES": value})

    assert f"PAYPHONE_WITNESSES: expected {expected}" in problem


def test_a_database_may_be_found_at_a_socket_of_this_machine() -> None:
    url = "postgresql://payphone@/ledger?host=/run/postgresql"

    settings = Settings.from_environ({**PAID, "PAYPHONE_DATABASE": url})

    assert settings.storage.database == url
