"""Settings from an environ mapping: read once, every problem told at once, no surprises later."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from adapters.base_settings import X402Settings, read_x402
from adapters.environ import ConfigError, Reader
from adapters.fleet_settings import FleetSettings, read_fleet
from adapters.http.gate import RATE_MAX
from adapters.http.origin import Network, networks_of
from adapters.refund_settings import read_refunds
from adapters.room_settings import RoomSettings, read_rooms
from adapters.solana_settings import SolanaSettings, read_solana
from adapters.tempo_settings import TempoSettings, read_tempo
from adapters.tron_settings import TronSettings, read_tron
from domain.cosignature import WitnessKey
from domain.gateway import RefundTerms

PREFIX = "PAYPHONE_"
HUB = "https://huggingface.co"
DENOISE = ("analysis", "on", "off")
LEVELS = ("debug", "info", "warning", "error")

__all__ = ["ConfigError", "RoomSettings", "Settings", "X402Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where to listen (port 0: the system chooses) and what the world calls us.

    An empty URL means the address we listen on; `stt` and `tts` then are that too. No URL ends in
    a slash. `trusted_proxies` are believed about who asks; `ip_rate_max` is requests a second that
    nobody signed for, an address. `region_header` is what a trusted proxy writes a caller's region
    into.
    """

    host: str
    port: int
    public_url: str
    stt_url: str
    tts_url: str
    trusted_proxies: tuple[Network, ...] = ()
    region_header: str = ""
    ip_rate_max: int = RATE_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """The data folder (keys); `database` is where the ledger is, "" for there."""

    data: Path
    database: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsSettings:
    """What a customer may do; times in ms."""

    pause_allowance_ms: int
    units_max: int
    api_rate_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSettings:
    """Where weights lie (by default the user's cache) and come from; how denoised audio is used."""

    models_dir: Path
    hub_url: str
    denoise: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessSettings:
    """Who cosigns our log's heads: where it is asked (no slash at the end), and its key."""

    url: str
    key: WitnessKey


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """`level` of the program's own lines; `name` of the transparency log (empty: our host)."""

    level: str
    name: str
    witnesses: tuple[WitnessSettings, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. `warnings` are allowed and unwise."""

    sandbox: bool
    http: HttpSettings
    storage: StorageSettings
    x402: X402Settings | None
    solana: SolanaSettings | None
    tempo: TempoSettings | None
    tron: TronSettings | None
    refunds: RefundTerms
    rooms: RoomSettings | None
    fleet: FleetSettings
    terms: TermsSettings
    speech: SpeechSettings
    log: LogSettings
    warnings: tuple[str, ...]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read `PAYPHONE_*`, `HF_ENDPOINT`, `XDG_CACHE_HOME`; ConfigError names every problem."""
        reader = Reader(environ)
        sandbox = reader.switch("PAYPHONE_SANDBOX")
        http = _http(reader)
        settings = cls(
            sandbox=sandbox,
            http=http,
            storage=StorageSettings(
                data=Path(reader.text("PAYPHONE_DATA", "payphone-data")),
                database=reader.url(
                    "PAYPHONE_DATABASE", schemes=("postgresql", "postgres"), secret=True
                ),
            ),
            x402=read_x402(reader, sandbox=sandbox),
            solana=read_solana(reader, sandbox=sandbox),
            tempo=read_tempo(reader, sandbox=sandbox),
            tron=read_tron(reader, sandbox=sandbox),
            refunds=read_refunds(reader),
            rooms=read_rooms(reader, sandbox=sandbox),
            fleet=read_fleet(reader),
            terms=_terms(reader),
            speech=_speech(reader),
            log=LogSettings(
                level=reader.choice("PAYPHONE_LOG_LEVEL", LEVELS, default="info"),
                name=reader.pattern(
                    "PAYPHONE_LOG_NAME", r"[^\s+]{1,200}", "a name without + or spaces"
                ),
                witnesses=_witnesses(reader),
            ),
            warnings=_warnings(http, sandbox=sandbox),
        )
        _refuse_unknown(reader, environ)
        reader.finish()
        return settings

    def check_speech_server(self) -> None:
        """ConfigError where a speech server with these settings would have no gateway."""
        reader = Reader({})
        if not self.fleet.gateways:
            reader.missing("PAYPHONE_GATEWAY_URL", "the gateway's URL (or --gateway)")
        if not self.fleet.secret:
            reader.missing("PAYPHONE_FLEET_SECRET", "what the gateway was given")
        reader.finish()

    def check_serving(self, *, speech: bool = True) -> None:
        """ConfigError where a gateway with these settings could take no payment, or not serve."""
        reader = Reader({})
        if not speech and not self.fleet.secret:
            reader.missing(
                "PAYPHONE_FLEET_SECRET", "a secret that speech servers share with this gateway"
            )
        if not self.sandbox and not (self.x402 or self.solana or self.tempo or self.tron):
            reader.missing(
                "PAYPHONE_X402_PAY_TO",
                "an address to be paid at, there or on another rail (or --sandbox)",
            )
        reader.finish()


def _http(reader: Reader) -> HttpSettings:
    web = ("https", "http")
    return HttpSettings(
        host=reader.pattern("PAYPHONE_HOST", r"[0-9A-Za-z.:_-]{1,255}", "a host", "127.0.0.1"),
        port=reader.count("PAYPHONE_PORT", least=0, most=65_535, default=8402),
        public_url=reader.url("PAYPHONE_PUBLIC_URL", schemes=web),
        stt_url=reader.url("PAYPHONE_STT_URL", schemes=web, path=False),
        tts_url=reader.url("PAYPHONE_TTS_URL", schemes=web, path=False),
        trusted_proxies=_proxies(reader),
        region_header=reader.pattern(
            "PAYPHONE_REGION_HEADER", r"[A-Za-z0-9-]{1,64}", "the name of a header"
        ),
        ip_rate_max=reader.count("PAYPHONE_IP_RATE_MAX", least=1, most=1_000_000, default=RATE_MAX),
    )


def _proxies(reader: Reader) -> tuple[Network, ...]:
    """Everybody is no proxy: anybody could then write where they come from."""
    name = "PAYPHONE_TRUSTED_PROXIES"
    expected = "addresses or networks (192.0.2.0/24), separated by commas, not everybody's"
    try:
        networks = networks_of(reader.text(name))
    except ValueError:
        reader.problem(name, expected)
        return ()
    if any(network.prefixlen == 0 for network in networks):
        reader.problem(name, expected)
    return networks


def _witnesses(reader: Reader) -> tuple[WitnessSettings, ...]:
    """`URL=KEY,URL=KEY`; a verifier key has no comma in it."""
    name = "PAYPHONE_WITNESSES"
    found = []
    for text in filter(None, reader.text(name).split(",")):
        url, _, key = text.strip().partition("=")
        try:
            parts = urlsplit(url)
            whole = parts.scheme in ("https", "http") and parts.hostname and not parts.fragment
            found.append(WitnessSettings(url=url.rstrip("/"), key=WitnessKey.parse(key)))
        except ValueError:
            whole = False
        if not whole:
            reader.problem(name, "witnesses as URL=KEY, separated by commas")
            return ()
    if len({witness.key for witness in found}) != len(found):
        reader.problem(name, "each witness once")
    return tuple(found)


def _terms(reader: Reader) -> TermsSettings:
    pause_minutes = reader.count(
        "PAYPHONE_PAUSE_ALLOWANCE_MINUTES", least=0, most=24 * 60, default=60
    )
    return TermsSettings(
        pause_allowance_ms=pause_minutes * 60_000,
        units_max=reader.count("PAYPHONE_SESSIONS_MAX", least=1, most=100_000, default=10),
        api_rate_max=reader.count("PAYPHONE_API_RATE_MAX", least=1, most=100_000, default=5),
    )


def _speech(reader: Reader) -> SpeechSettings:
    cache = Path(reader.text("XDG_CACHE_HOME") or Path.home() / ".cache")
    return SpeechSettings(
        models_dir=Path(reader.text("PAYPHONE_MODELS_DIR") or cache / "payphone" / "models"),
        hub_url=reader.url("HF_ENDPOINT", schemes=("https", "http")) or HUB,
        denoise=reader.choice("PAYPHONE_DENOISE", DENOISE, default="analysis"),
    )


def _warnings(http: HttpSettings, *, sandbox: bool) -> tuple[str, ...]:
    """What a production gateway can do and had better not."""
    if sandbox:
        return ()
    urls = {
        "PAYPHONE_PUBLIC_URL": http.public_url,
        "PAYPHONE_STT_URL": http.stt_url,
        "PAYPHONE_TTS_URL": http.tts_url,
    }
    return tuple(
        f"{name} is plain http: payments, signatures and speech can be read on the way"
        for name, url in urls.items()
        if url.startswith("http://")
    )


def _refuse_unknown(reader: Reader, environ: Mapping[str, str]) -> None:
    """A misspelt name would be silence; say which name was meant."""
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in reader.asked:
            near = difflib.get_close_matches(name, reader.asked, n=1)
            hint = f"a known name, perhaps {near[0]}" if near else "a known name"
            reader.problem(name, hint, hidden=True)
