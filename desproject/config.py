"""The configuration: every value comes from the environment and is checked at start, all faults in one message."""

import socket
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from desproject import key_sources
from desproject.lib import features
from desproject.lib.crypto import Keyring

BASE_DIR = Path(__file__).resolve().parent.parent
# As long as the hash that it signs with (RFC 7518, 3.2): a shorter one can be guessed from any token.
_JWT_SECRET_BYTES = 32
_BALANCE = r"[A-Z0-9]{1,16}:\d{1,20}(\.\d{1,18})?"


class ConfigurationError(SystemExit):
    """The environment can't be used; the text names every bad value, never a secret one's content."""


class Config(BaseSettings):
    """One field per environment variable, an empty one counts as unset; ``.env.example`` explains them."""

    model_config = SettingsConfigDict(env_prefix="", case_sensitive=False, extra="ignore", env_ignore_empty=True)

    # Django's settings look for this name in every value that they hand out; pydantic is slow to say that it has none.
    _mask_wrapped: ClassVar[bool] = True

    debug: bool = Field(False, validation_alias="DES_DEBUG")
    data_dir: Path = Field(BASE_DIR / "var", validation_alias="DES_DATA_DIR")
    role: Literal["command", "web", "streams", "engine", "tasks"] = Field("command", validation_alias="DES_ROLE")
    host: str = Field(default_factory=socket.gethostname, max_length=60, validation_alias="DES_HOST")
    secret_key: str = Field("", validation_alias="SECRET_KEY", repr=False)
    jwt_secret: str = Field("", validation_alias="JWT_SECRET", repr=False)
    allowed_hosts: Annotated[list[str], NoDecode] = Field(
        ["localhost", "127.0.0.1", "[::1]"], validation_alias="ALLOWED_HOSTS"
    )
    cors_origins: Annotated[list[str], NoDecode] = Field([], validation_alias="CORS_ORIGINS")
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode] = Field(
        [], validation_alias="TRUSTED_PROXIES"
    )
    enforce_ssl: bool = Field(False, validation_alias="ENFORCE_SSL")

    master_key_source: Literal["environment", "files", "vault"] = Field(
        "environment", validation_alias="MASTER_KEY_SOURCE"
    )
    master_key_path: Path | None = Field(None, validation_alias="MASTER_KEY_PATH")
    vault_addr: str = Field("", validation_alias="VAULT_ADDR")
    vault_key_path: str = Field("", pattern=r"^([\w.-]+(/[\w.-]+)+)?$", validation_alias="VAULT_KEY_PATH")
    vault_token: str = Field("", validation_alias="VAULT_TOKEN", repr=False)
    vault_token_file: Path | None = Field(None, validation_alias="VAULT_TOKEN_FILE")
    vault_namespace: str = Field("", pattern=r"^[\w./-]*$", validation_alias="VAULT_NAMESPACE")
    vault_ca_file: Path | None = Field(None, validation_alias="VAULT_CACERT")

    database_url: str = Field("", validation_alias="DATABASE_URL", repr=False)
    db_max_connections: int = Field(25, ge=1, le=500, validation_alias="DB_MAX_CONNECTIONS")
    db_min_connections: int = Field(5, ge=0, le=500, validation_alias="DB_MIN_CONNECTIONS")
    db_max_conn_lifetime: float = Field(3600, gt=0, validation_alias="DB_MAX_CONN_LIFETIME")
    db_max_conn_idle: float = Field(1800, gt=0, validation_alias="DB_MAX_CONN_IDLE")
    db_connect_timeout: int = Field(10, ge=1, le=120, validation_alias="DB_CONNECT_TIMEOUT")
    redis_url: str = Field("", validation_alias="REDIS_URL", repr=False)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", validation_alias="LOG_LEVEL")
    log_format: Literal["json", "console"] = Field("json", validation_alias="LOG_FORMAT")

    access_token_minutes: int = Field(15, ge=1, le=1440, validation_alias="ACCESS_TOKEN_MINUTES")
    refresh_token_days: int = Field(7, ge=1, le=365, validation_alias="REFRESH_TOKEN_DAYS")
    beta_codes_required: bool = Field(False, validation_alias="BETA_CODES_REQUIRED")
    password_reset_minutes: int = Field(30, ge=1, le=1440, validation_alias="PASSWORD_RESET_MINUTES")
    email_url: str = Field("", validation_alias="EMAIL_URL", repr=False)
    email_from: str = Field("des@localhost", max_length=254, validation_alias="EMAIL_FROM")
    lockout_account_tries: int = Field(5, ge=1, le=1000, validation_alias="LOCKOUT_ACCOUNT_TRIES")
    lockout_address_tries: int = Field(20, ge=1, le=10_000, validation_alias="LOCKOUT_ADDRESS_TRIES")
    lockout_window_minutes: int = Field(15, ge=1, le=1440, validation_alias="LOCKOUT_WINDOW_MINUTES")
    lockout_minutes: int = Field(15, ge=1, le=1440, validation_alias="LOCKOUT_MINUTES")
    lockout_longest_minutes: int = Field(1440, ge=1, le=43_200, validation_alias="LOCKOUT_LONGEST_MINUTES")
    rate_limit_global_requests: int = Field(1000, ge=1, le=1_000_000, validation_alias="RATE_LIMIT_GLOBAL_REQUESTS")
    rate_limit_requests: int = Field(100, ge=1, le=1_000_000, validation_alias="RATE_LIMIT_REQUESTS")
    rate_limit_window: int = Field(60, ge=1, le=3600, validation_alias="RATE_LIMIT_WINDOW")
    rate_limit_orders: int = Field(10, ge=1, le=10_000, validation_alias="RATE_LIMIT_ORDERS")
    rate_limit_sockets: int = Field(20, ge=1, le=10_000, validation_alias="RATE_LIMIT_SOCKETS")
    rate_limit_messages: int = Field(120, ge=1, le=1_000_000, validation_alias="RATE_LIMIT_MESSAGES")

    engine_processes: int = Field(1, ge=1, le=256, validation_alias="ENGINE_PROCESSES")
    task_workers: int = Field(1, ge=1, le=256, validation_alias="TASK_WORKERS")
    lease_seconds: float = Field(6, ge=0.5, le=120, validation_alias="LEASE_SECONDS")
    send_window_seconds: float = Field(3, ge=0.2, le=60, validation_alias="SEND_WINDOW_SECONDS")
    clock_skew_seconds: float = Field(1, ge=0, le=30, validation_alias="CLOCK_SKEW_SECONDS")
    sweep_seconds: float = Field(1, ge=0.05, le=60, validation_alias="SWEEP_SECONDS")
    strategy_plugins_dir: str = Field("", validation_alias="STRATEGY_PLUGINS_DIR")
    strategy_plugin_seconds: float = Field(2, ge=0.05, le=60, validation_alias="STRATEGY_PLUGIN_SECONDS")
    strategy_plugin_memory_mib: int = Field(512, ge=256, le=65_536, validation_alias="STRATEGY_PLUGIN_MEMORY_MIB")
    strategy_plugin_processes: int = Field(16, ge=1, le=1000, validation_alias="STRATEGY_PLUGIN_PROCESSES")
    batch_size: int = Field(50, ge=1, le=10_000, validation_alias="BATCH_SIZE")
    batch_interval_ms: int = Field(500, ge=10, le=60_000, validation_alias="BATCH_INTERVAL_MS")
    order_queue_size: int = Field(1000, ge=1, le=1_000_000, validation_alias="ORDER_QUEUE_SIZE")
    order_queue_batch: int = Field(200, ge=1, le=10_000, validation_alias="ORDER_QUEUE_BATCH")
    order_queue_overflow: int = Field(100, ge=0, le=10_000, validation_alias="ORDER_QUEUE_OVERFLOW")
    order_timeout_seconds: float = Field(10, ge=0.5, le=600, validation_alias="ORDER_TIMEOUT_SECONDS")
    reconcile_seconds: float = Field(60, ge=0.1, le=3600, validation_alias="RECONCILE_SECONDS")
    reconcile_quiet_seconds: float = Field(900, ge=0.1, le=86_400, validation_alias="RECONCILE_QUIET_SECONDS")
    health_check_seconds: float = Field(300, ge=0.05, le=86_400, validation_alias="HEALTH_CHECK_SECONDS")
    health_check_failures: int = Field(3, ge=1, le=100, validation_alias="HEALTH_CHECK_FAILURES")
    breaker_failures: int = Field(3, ge=1, le=100, validation_alias="BREAKER_FAILURES")
    breaker_seconds: float = Field(300, ge=0.05, le=86_400, validation_alias="BREAKER_SECONDS")
    engine_sends: int = Field(4, ge=1, le=256, validation_alias="ENGINE_SENDS")
    key_grace_seconds: float = Field(600, ge=1, le=86_400, validation_alias="KEY_GRACE_SECONDS")
    gateway_idle_seconds: float = Field(1800, ge=1, validation_alias="GATEWAY_IDLE_SECONDS")
    gateway_pool_size: int = Field(500, ge=1, validation_alias="GATEWAY_POOL_SIZE")
    stream_silence_seconds: float = Field(60, ge=1, validation_alias="STREAM_SILENCE_SECONDS")
    stream_backoff_cap_seconds: float = Field(30, ge=0.1, validation_alias="STREAM_BACKOFF_CAP_SECONDS")
    stream_sockets: int = Field(100, ge=1, le=100_000, validation_alias="STREAM_SOCKETS")
    stream_poll_after_seconds: float = Field(5, ge=0, le=3600, validation_alias="STREAM_POLL_AFTER_SECONDS")
    stream_poll_seconds: float = Field(1, ge=0.05, le=60, validation_alias="STREAM_POLL_SECONDS")
    balance_reserve_rate: str = Field("0.05", pattern=r"^0(\.\d{1,6})?$", validation_alias="BALANCE_RESERVE_RATE")
    quote_max_age_seconds: float = Field(60, ge=1, le=3600, validation_alias="QUOTE_MAX_AGE_SECONDS")
    balance_max_age_seconds: float = Field(60, ge=1, le=3600, validation_alias="BALANCE_MAX_AGE_SECONDS")
    liquidation_distance: str = Field("0.05", pattern=r"^0(\.\d{1,6})?$", validation_alias="LIQUIDATION_DISTANCE")
    price_gap_rate: str = Field("0.05", pattern=r"^0(\.\d{1,6})?$", validation_alias="PRICE_GAP_RATE")
    slippage_pause_rate: str = Field("0.005", pattern=r"^0(\.\d{1,6})?$", validation_alias="SLIPPAGE_PAUSE_RATE")
    dry_run_seconds: int = Field(3600, ge=0, le=2_592_000, validation_alias="DRY_RUN_SECONDS")
    paper_balances: str = Field(
        "USDT:10000,KRW:10000000", pattern=rf"^{_BALANCE}(,{_BALANCE})*$", validation_alias="PAPER_BALANCES"
    )
    paper_fee_rate: str = Field("0.001", pattern=r"^0(\.\d{1,6})?$", validation_alias="PAPER_FEE_RATE")
    paper_slippage_rate: str = Field("0.0005", pattern=r"^0(\.\d{1,6})?$", validation_alias="PAPER_SLIPPAGE_RATE")
    egress_address: str = Field("default", pattern=r"^[\w.:-]{1,60}$", validation_alias="EGRESS_ADDRESS")
    exchange_limits_factor: float = Field(1, ge=0.01, le=1_000_000, validation_alias="EXCHANGE_LIMITS_FACTOR")
    exchange_api_dir: str = Field("", validation_alias="EXCHANGE_API_DIR")
    simulator_url: str = Field("", validation_alias="SIMULATOR_URL")

    @field_validator("allowed_hosts", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: str) -> str:
        if value and len(value.encode()) < _JWT_SECRET_BYTES:
            raise ValueError(f"must be at least {_JWT_SECRET_BYTES} bytes long")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"postgres", "postgresql", "sqlite"}:
            raise ValueError("must start with postgresql:// or sqlite:///")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value

    @field_validator("email_url")
    @classmethod
    def _mail(cls, value: str) -> str:
        if value and (urlsplit(value).scheme not in {"smtp", "smtp+tls", "smtps"} or not urlsplit(value).hostname):
            raise ValueError("must start with smtp://, smtp+tls:// or smtps:// and name a host")
        return value

    @field_validator("vault_addr")
    @classmethod
    def _vault(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        is_near = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.username or not (parts.scheme == "https" or (parts.scheme == "http" and is_near)):
            raise ValueError("must start with https:// (http:// only for an agent on this machine)")
        return value.rstrip("/")

    @field_validator("exchange_api_dir")
    @classmethod
    def _folder(cls, value: str) -> str:
        if value and not Path(value).is_dir():
            raise ValueError("is no folder")
        return value

    @field_validator("simulator_url")
    @classmethod
    def _simulator(cls, value: str) -> str:
        if value and urlsplit(value).scheme != "http":
            raise ValueError("must start with http://")
        return value.rstrip("/")


def load(environ: dict[str, str], *, keyless: bool) -> tuple[Config, Keyring | None, dict[str, features.Stage]]:
    """The checked configuration, the master keys, and how far each feature is rolled out.

    ``keyless`` commands run without a master key. Raises ConfigurationError naming every bad variable.
    """
    faults: list[str] = []
    config: Config | None = None
    try:
        config = Config()
    except ValidationError as error:
        faults += [f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors()]
    stages: dict[str, features.Stage] = {}
    try:
        stages = features.stages(environ)
    except features.FeaturesUnusable as error:
        faults += error.faults
    keyring = _keyring(environ, config, faults, keyless=keyless)
    if faults or config is None:
        raise ConfigurationError("DES can't start, the environment is not usable: " + "; ".join(faults))
    return config, keyring, stages


def _keyring(environ: dict[str, str], config: Config | None, faults: list[str], *, keyless: bool) -> Keyring | None:
    """None without keys, and where the rest is so wrong that it isn't known where they are."""
    try:
        if config is None or config.master_key_source == "environment":
            keys = key_sources.from_environment(environ)
        else:
            keys = {} if keyless else _stored_keys(config)
    except key_sources.SourceUnusable as error:
        faults.append(str(error))
        return None
    if not keys and not keyless and config is not None:
        faults.append("MASTER_ENCRYPTION_KEY: missing (make one with `manage.py generate_master_key`)")
    return Keyring(keys) if keys else None


def _stored_keys(config: Config) -> dict[int, bytes]:
    if config.master_key_source == "files":
        if config.master_key_path is None:
            raise key_sources.SourceUnusable("MASTER_KEY_PATH: missing, MASTER_KEY_SOURCE is files")
        return key_sources.from_files(config.master_key_path)
    if not (config.vault_addr and config.vault_key_path):
        raise key_sources.SourceUnusable("VAULT_ADDR and VAULT_KEY_PATH: both needed, MASTER_KEY_SOURCE is vault")
    token = key_sources.vault_token(config.vault_token, config.vault_token_file)
    return key_sources.from_vault(
        config.vault_addr, config.vault_key_path, token,
        namespace=config.vault_namespace, ca_file=config.vault_ca_file,
    )  # fmt: skip
