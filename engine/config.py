"""The configuration of a home: `sealmint.toml`, checked once at start; after that nobody sees a dictionary."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from engine.algorithms import SignatureAlgorithm
from engine.errors import ConfigurationInvalid, HomeUnusable
from engine.fault_points import FAULT_POINTS

CONFIGURATION_NAME = "sealmint.toml"


LaneName = Literal["urgent", "live", "crl", "pre-signing", "issuance"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoreSection(_Section):
    """Where the record is kept; `{home}` stands for the home directory."""

    url: str = "sqlite:///{home}/store.sqlite"
    """Or `postgresql+psycopg://sealmint@host/database`; the password in a passfile (docs/postgresql.md)."""
    owner_url: str | None = None
    """The same database, as the role that owns the tables, for migrations. None: `url` may do that too."""
    read_url: str | None = None
    """The same record, as a role that only reads, for what only reads; a replica may do. None: `url`."""


class TokenSection(_Section):
    """The PKCS#11 token and how it is treated."""

    module: Path
    label: str
    serial: str | None = None
    pin_file: Annotated[str, Field(min_length=1)] = "{home}/secrets/token-pin"
    """Where the PIN is read from; the word `prompt` stands for asking at the terminal."""
    environment: dict[str, str] = {}
    """What the module wants to find in its environment, such as SOFTHSM2_CONF."""
    call_timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds after which a C_Sign counts as stuck. A guess: a hundred times what a slow network HSM takes."""
    max_stuck: Annotated[int, Field(ge=1)] = 3
    """Stuck sessions after which the worker process is replaced. A guess."""
    health_seconds: Annotated[float, Field(ge=0)] = 30.0
    """Between two looks at every key, with a test signature where the key may make one; 0: none. A guess: a token that
    is sick is noticed before the next CRL is due."""


class LanesSection(_Section):
    """How the processes of a host share the token (docs/pool-sizing.md)."""

    enabled: bool = True
    """Without lanes every process decides alone."""
    parallel: Annotated[int | None, Field(ge=1, le=1_024)] = None
    """Calls the token works on at once: the knee of `sealmint pool sweep`. None: as many as there are sessions."""
    live_objective: Annotated[float, Field(gt=0)] = 0.05
    """Seconds: while the 99th percentile of live answers, waiting and signing, is above it, bulk lanes give way."""
    weights: dict[LaneName, Annotated[int, Field(ge=1, le=1_000)]] = {}
    """Shares of lanes that all have work waiting; those not named keep their own: urgent 16, live 8, crl 4,
    pre-signing 2, issuance 1. A guess."""


class ControlSection(_Section):
    """How running processes are looked at and steered from beside them."""

    directory: str = "{home}/run/control"
    """Where each process has its socket; for the owner only."""


class OperatorSection(_Section):
    """The operator's page and the metrics for monitoring."""

    listen: str = "127.0.0.1:9480"
    token_file: str = "{home}/secrets/operator-token"  # noqa: S105 - a path
    """What a browser or a collector of metrics shows to be let in; made at the first start."""
    tls_certificate: str | None = None
    """With it the page is served by TLS: the certificate with its chain, PEM."""
    tls_key: str | None = None
    """Its private key, PEM."""
    client_ca: str | None = None
    """The certificates, PEM, that let a client in without the token."""


class KeysSection(_Section):
    """The labels of the keys in the token. The CA key signs certificates and CRLs, nothing else (CPS 6.1.9)."""

    ca: str = "ca"
    ocsp: str = "ocsp"
    audit: str = "audit"
    operations: str = "operations"
    development_root: str = "development-root"


class X509Section(_Section):
    """Profiles and signature algorithm."""

    profiles: str | None = None
    """A profile file; without it the shipped CPS set is used."""
    signature_algorithm: SignatureAlgorithm = SignatureAlgorithm.RSA_PKCS1_SHA256


class CardCentreSection(_Section):
    """Whose signature a card file must bear."""

    trusted: list[str] = ["{home}/card-centre/card-centre.der"]


class IssuanceSection(_Section):
    """How a run is worked off."""

    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Worker processes; without it one for each CPU."""
    sessions: Annotated[int, Field(ge=1, le=256)] = 1
    """PKCS#11 sessions of each worker (bench.issuance: with a CPU-bound token one a process is best; with a
    network HSM more: docs/pool-sizing.md)."""
    lease_seconds: Annotated[int, Field(ge=10)] = 120
    """How long a unit is held without a heartbeat. A guess: far longer than a unit takes; what a dead process of
    this host held is freed at once and waits for nothing."""


class CrlSection(_Section):
    """When CRLs are made and what is in them."""

    directory: str = "{home}/crl"
    """Where the files appear; the web server reads them there."""
    daily_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "02:30"
    """Taipei time of the scheduled CRL of every scope (CPS 4.4.10: every day). A guess: the quietest hour."""
    validity_hours: Annotated[int, Field(ge=25)] = 48
    """thisUpdate to nextUpdate. A guess: one missed day does not make relying parties refuse everything."""
    on_change_minutes: Annotated[int, Field(ge=0)] = 10
    """How long after a change of status its CRLs are out at the latest."""
    delta: bool = False
    """Whether changes between two scheduled CRLs go out as delta CRLs (RFC 5280 section 5.2.4)."""
    expired_certificates: bool = False
    """Whether expired certificates stay listed, announced by expiredCertsOnCRL (X.509 9.5.2.5)."""


def _none_if_so_named(value: object) -> object:
    """TOML has no null: the word stands for it."""
    return None if value == "none" else value


class OcspSection(_Section):
    """What OCSP answers are made of, and by whom."""

    status_store: str = "{home}/status-store"
    """The directory of this host's copy of the status (LMDB)."""
    validity_hours: Annotated[int, Field(ge=2, le=240)] = 48
    """thisUpdate to nextUpdate of a pre-signed answer. A guess: RFC 9919 asks for days rather than weeks."""
    hashes: list[Literal["sha1", "sha256"]] = ["sha1", "sha256"]
    """The CertID hashes that one signature covers."""
    signers: Annotated[int, Field(ge=1, le=64)] = 2
    """Processes that sign answers ahead, each for a share of the cards (bench.presign: with two, the token of a host
    with two CPUs is never kept waiting; one with two sessions makes nine tenths of that)."""
    sessions: Annotated[int, Field(ge=1, le=64)] = 1
    """PKCS#11 sessions of each."""
    archive_cutoff_years: Annotated[int, Field(ge=1, le=30)] | None = None
    """How long answers are given after a certificate expired (RFC 6960 section 4.4.4); none: not at all."""
    nonce: Literal["live", "live-or-ignore", "ignore"] = "live"
    """Whether a nonce is echoed by a live signature, or left out (RFC 9654 section 2.1); `live-or-ignore`: left out
    where the live signer is away or has too much to do, instead of tryLater."""
    extended_revoke: bool = False
    """Whether a serial that was never issued is `revoked` (RFC 6960 section 4.4.8) instead of `unknown`."""
    stale_seconds: Annotated[int, Field(ge=10)] = 60
    """After how long without a sign of life from the follower this host answers tryLater only: it cannot know of
    withdrawals then. A guess: a restart of the follower takes less; a heartbeat comes every few seconds."""
    live_signer: Annotated[str | None, BeforeValidator(_none_if_so_named)] = "{home}/run/live-signer.socket"
    """Where the live signer is: a Unix socket, or tls://host:port; none: there is no live signer."""
    live_tls_certificate: str | None = None
    """With tls://, at both ends: the own certificate with its chain, PEM."""
    live_tls_key: str | None = None
    """Its private key, PEM."""
    live_tls_ca: str | None = None
    """The certificates, PEM, that the other end's must come from: a CA for this and nothing else."""
    live_sessions: Annotated[int, Field(ge=1, le=64)] = 2
    """PKCS#11 sessions of the live signer."""
    live_waiting: Annotated[int, Field(ge=1)] = 256
    """Live answers that may wait for the token at once; more get tryLater. A guess."""
    live_timeout: Annotated[float, Field(gt=0)] = 5.0
    """Seconds a relying party waits for a live answer before it gets tryLater. A guess: below usual client limits."""
    certificate_renewal_days: Annotated[int, Field(ge=8)] = 60
    """How long before the responder certificate ends a new key and certificate take over. A guess: CPS 4.7's two
    months."""


class RespondersSection(_Section):
    """How the responders treat HTTP."""

    max_age: Annotated[int, Field(ge=0)] = 300
    """Seconds a cache may keep an OCSP answer: behind caches the bound of a withdrawal (docs/ocsp-cycle.md)."""
    connections: Annotated[int, Field(ge=1)] = 4_096
    """Open connections of one listener process; more are refused. A guess."""
    idle_seconds: Annotated[float, Field(gt=0)] = 30.0
    """How long a connection may stay without a request. A guess."""
    request_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long one request may take to arrive. A guess: a slow sender keeps a connection no longer."""
    proxies: list[str] = []
    """Networks, such as `10.0.0.0/24`, whose connections begin with a PROXY protocol header that names the client."""


class FeedSection(_Section):
    """How what is published gets from the CA host to a public host (CPS 2.6.3, 6.7)."""

    directory: str = "{home}/feed"
    """On the CA host: who may read the feed, and the certificate it is served with. On a public host: its own
    certificate, and that of the CA host."""
    socket: str = "{home}/run/feed.socket"
    """On the CA host: where the process that signs the feed is asked by the one that serves it."""
    url: str | None = None
    """On a public host: where the feed is, `https://host:port`; `--from` goes before it."""
    poll_seconds: Annotated[float, Field(gt=0, le=10)] = 0.25
    """On the CA host: between two looks for something new while a reader waits. A guess: half of it is what a change
    waits here on average."""
    wait_seconds: Annotated[int, Field(ge=1, le=60)] = 20
    """How long a reader that follows waits for something new before it asks again. A guess."""


class RepositorySection(_Section):
    """The public copy of what the CA publishes."""

    directory: str = "{home}/repository"
    """Certificate index and documents."""


class MeteringSection(_Section):
    """Counting OCSP answers by relying party (CPS 4.4.12)."""

    enabled: bool = False
    accounts: str = "{home}/usage/accounts.json"
    """Who may ask; the feed brings it."""
    spool: str = "{home}/usage/spool"
    """Where counts are appended; the CA host fetches them."""
    collected: str = "{home}/usage/collected"
    """On the CA host: what was fetched, by host."""
    flush_seconds: Annotated[float, Field(ge=1, le=3600)] = 10.0
    """What a killed process loses at most, and how exact a quota is: counts are exchanged twice in it. A guess."""
    anonymous: bool = False
    """Whether those without an account are answered as well, uncounted."""


class FaultPointsSection(_Section):
    """Where a test has this home's processes killed, each place once (docs/chaos.md)."""

    kill: list[str] = []
    """Names of engine/fault_points.py."""
    marks: str = "{home}/run/fault-points"
    """The directory in which a place leaves a file when it kills, and does so no more."""

    @field_validator("kill")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        unknown = sorted(set(names) - FAULT_POINTS.keys())
        if unknown:
            raise ValueError(f"no such fault point: {', '.join(unknown)}")
        return names


class HostConfiguration(_Section):
    """What every home has that answers relying parties, the CA's own and a public one."""

    role: Literal["authority", "public"] = "authority"
    x509: X509Section = X509Section()
    crl: CrlSection = CrlSection()
    ocsp: OcspSection = OcspSection()
    responders: RespondersSection = RespondersSection()
    feed: FeedSection = FeedSection()
    repository: RepositorySection = RepositorySection()
    metering: MeteringSection = MeteringSection()
    control: ControlSection = ControlSection()
    operator: OperatorSection = OperatorSection()


class Configuration(HostConfiguration):
    """Everything in the `sealmint.toml` of a CA host."""

    role: Literal["authority"] = "authority"
    store: StoreSection = StoreSection()
    token: TokenSection
    lanes: LanesSection = LanesSection()
    keys: KeysSection = KeysSection()
    card_centre: CardCentreSection = CardCentreSection()
    issuance: IssuanceSection = IssuanceSection()
    fault_points: FaultPointsSection = FaultPointsSection()


class PublicOcspSection(OcspSection):
    """What differs where there is no token: nobody signs live, so a nonce is left out (RFC 9654 section 2.1)."""

    nonce: Literal["live", "live-or-ignore", "ignore"] = "ignore"
    stale_seconds: Annotated[int, Field(ge=10)] = 300
    """Longer than on the CA host: a new start of the feed, or of a firewall, is no reason to answer nobody. Still no
    more than what caches are told. A guess."""
    live_signer: Annotated[str | None, BeforeValidator(_none_if_so_named)] = None


class PublicConfiguration(HostConfiguration):
    """Everything in the `sealmint.toml` of a public host: no token, no record, no key of the CA's."""

    role: Literal["public"]
    ocsp: OcspSection = PublicOcspSection()

    @field_validator("ocsp", mode="before")
    @classmethod
    def _as_public(cls, value: object) -> object:
        return PublicOcspSection.model_validate(value) if isinstance(value, dict) else value


def load_configuration(home: Path) -> Configuration:
    """Read and check the configuration of a CA's home, with `{home}` replaced by its path.

    Raises:
        HomeUnusable: there is no configuration: the directory is no home yet; or it is that of a public host.
        ConfigurationInvalid: the file is not TOML, has an unknown key, or a value out of range.
    """
    configuration = load_host_configuration(home)
    if not isinstance(configuration, Configuration):
        raise HomeUnusable(
            "this is the home of a public host: it has no token and no record",
            place=str(home),
            rule='this command works where role = "authority"',
        )
    return configuration


def load_public_configuration(home: Path) -> PublicConfiguration:
    """As `load_configuration`, for the home of a public host."""
    configuration = load_host_configuration(home)
    if not isinstance(configuration, PublicConfiguration):
        raise HomeUnusable(
            "this is the home of a CA, which reads no feed",
            place=str(home),
            rule='this command works where role = "public"',
        )
    return configuration


def load_host_configuration(home: Path) -> Configuration | PublicConfiguration:
    """Read and check the configuration of a home of either kind; `role` says which.

    Raises:
        HomeUnusable: there is no configuration: the directory is no home yet.
        ConfigurationInvalid: the file is not TOML, has an unknown key, or a value out of range.
    """
    path = home / CONFIGURATION_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise HomeUnusable(
            "this directory is no sealmint home; make one with: sealmint init --home DIR", place=str(home)
        ) from error
    except OSError as error:
        raise HomeUnusable(
            "the configuration cannot be read", place=str(path), value=error.strerror
        ) from error
    try:
        document = tomllib.loads(text)
        form = PublicConfiguration if document.get("role") == "public" else Configuration
        configuration = form.model_validate(document)
        return form.model_validate(_expand(configuration.model_dump(), str(home.absolute())))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(
            "the configuration is not TOML", place=str(path), rule=str(error)
        ) from error
    except ValidationError as error:
        raise invalid_from(error, path) from error


def _expand(value: Any, home: str) -> Any:
    """Put the home's path where `{home}` stands, in what the file gives and in the defaults alike."""
    if isinstance(value, dict):
        return {name: _expand(part, home) for name, part in value.items()}
    if isinstance(value, list):
        return [_expand(part, home) for part in value]
    if isinstance(value, str):
        return value.replace("{home}", home)
    return Path(_expand(str(value), home)) if isinstance(value, Path) else value


def invalid_from(error: ValidationError, path: Path) -> ConfigurationInvalid:
    """Turn pydantic's error into ours: the first fault with its key, value and rule."""
    fault = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    more = error.error_count() - 1
    return ConfigurationInvalid(
        "a setting is wrong" + (f" (and {more} more)" if more else ""),
        place=f"{path}, key {key or '(top level)'}",
        value=None if fault["type"] == "extra_forbidden" else fault.get("input"),  # there it may be a PIN
        rule=fault["msg"],
    )
