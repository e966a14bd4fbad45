"""Speech to text bought with the request, by PyPI's `dtelecom-stt` as it is, on both chains."""

from __future__ import annotations

import asyncio
import gc
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path

import jiwer
import pytest
from dtelecom_stt import STTClient
from dtelecom_stt.exceptions import PaymentError
from dtelecom_stt.stream import Stream
from dtelecom_stt.types import SessionInfo
from x402.mechanisms.svm.constants import NETWORK_CONFIGS, SOLANA_MAINNET_CAIP2

from adapters.cli.customer import Customer
from adapters.sandbox.wallets import fresh_evm_wallet
from engines.models.store import ModelStore
from tests.e2e.conftest import GatewayProcess
from tests.e2e.test_english_samples import CACHE, plain
from tests.e2e.test_english_samples import _wav as recorded

# The library under it leaves its line to a Solana node open; that is told as some test's own.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SAMPLE = "quick_brown_fox"
FIVE_MINUTES = 30_000


@pytest.fixture(scope="module")
def sentence(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A recording as the client wants it, and its words."""
    store = ModelStore(CACHE)
    store.fetch(["english-samples"])
    folder = store.path("english-samples")
    sound = recorded(folder / f"{SAMPLE}.wav")
    pcm = array("h", (round(32_767 * max(-1.0, min(1.0, value))) for value in sound))
    path = tmp_path_factory.mktemp("sound") / "sentence.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm.tobytes())
    return path, (folder / f"{SAMPLE}.txt").read_text("utf-8")


@pytest.fixture(scope="module", autouse=True)
def _lines_left_open() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def client(gateway: GatewayProcess) -> STTClient:
    return STTClient(gateway.secret_key, url=gateway.url)


@pytest.fixture
def solana_client(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> STTClient:
    """It has no setting for the node it asks; the library under it has one."""
    play = gateway.ready["sandbox"]
    monkeypatch.setitem(NETWORK_CONFIGS[SOLANA_MAINNET_CAIP2], "rpc_url", play["solana_rpc_url"])  # type: ignore[arg-type]  # the library's typed dictionary
    return STTClient(play["solana_secret_key"], url=gateway.url)


async def said(stream: Stream, path: Path) -> str:
    return " ".join([heard.text async for heard in stream.transcribe_file(str(path))])


async def test_prices_and_health_are_told(client: STTClient) -> None:
    prices = await client.pricing()

    assert (prices.price_per_minute_usd, prices.min_price_usd) == (0.006, 0.03)
    assert (prices.min_minutes, prices.max_minutes) == (5, 120)
    assert (prices.currency, prices.network) == ("USDC", "eip155:8453")
    assert (await client.health())["status"] in ("ok", "degraded")


async def test_a_wallet_on_base_pays_and_is_heard(
    client: STTClient, sentence: tuple[Path, str]
) -> None:
    path, words = sentence

    async with client.session(minutes=5, language="en") as stream:
        text = await said(stream, path)

    assert jiwer.wer(plain(words), plain(text)) <= 0.2


async def test_a_wallet_on_solana_pays_and_is_heard(
    solana_client: STTClient, sentence: tuple[Path, str]
) -> None:
    path, words = sentence

    async with solana_client.session(minutes=5, language="en") as stream:
        text = await said(stream, path)

    assert jiwer.wer(plain(words), plain(text)) <= 0.2


async def test_time_that_runs_out_is_bought_while_the_line_is_open(
    gateway: GatewayProcess, client: STTClient
) -> None:
    """A minute and a second were bought: the client hears of the last minute, and pays for more."""
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.10")
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 61 / 60})
        stream = Stream(
            ws_url=gateway.url.replace("http", "ws", 1) + "/v1/stream",
            session_info=SessionInfo(
                session_id=ticket["session_id"],
                session_key=ticket["token"],
                ws_url="",
                remaining_seconds=61,
                minutes=1,
                price_usd="0.01",
            ),
            client=client,
            language="en",
            auto_extend=True,
        )
        await stream._connect()

        reserved = 0
        async with asyncio.timeout(30):
            while reserved <= FIVE_MINUTES:
                await asyncio.sleep(0.2)
                listed = await customer.call("GET", "/v1/account/sessions?limit=10&offset=0")
                reserved = next(
                    int(session["reserved_microcredits"])
                    for session in listed["sessions"]
                    if session["id"] == ticket["session_id"]
                )
        await stream.close()
        ended = await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end", {})

    # 61 seconds and five minutes; of that a second or so was used.
    assert reserved == 6_100 + FIVE_MINUTES
    assert int(ended["charged_microcredits"]) < 6_100
    charged, refunded = int(ended["charged_microcredits"]), int(ended["refunded_microcredits"])
    assert charged + refunded == reserved


async def test_a_wallet_without_money_is_told_why(gateway: GatewayProcess) -> None:
    poor = STTClient(fresh_evm_wallet().secret_key, url=gateway.url)

    with pytest.raises(PaymentError, match="does not hold enough USDC"):
        async with poor.session(minutes=5):
            pass
