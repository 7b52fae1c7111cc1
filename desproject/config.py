"""The configuration: every value comes from the environment and is checked at start, all faults in one message."""

import re
import socket
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from desproject.lib.crypto import Keyring, MasterKeyInvalid, parse_master_key

BASE_DIR = Path(__file__).resolve().parent.parent
_MASTER_KEY_NAME = re.compile(r"MASTER_ENCRYPTION_KEY(?:_V([1-9]\d*))?")


class ConfigurationError(SystemExit):
    """The environment can't be used; the text names every bad value, never a secret one's content."""


class Config(BaseSettings):
    """One field per environment variable, an empty one counts as unset; ``.env.example`` explains them."""

    model_config = SettingsConfigDict(env_prefix="", case_sensitive=False, extra="ignore", env_ignore_empty=True)

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
    enforce_ssl: bool = Field(False, validation_alias="ENFORCE_SSL")

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
    rate_limit_requests: int = Field(100, ge=1, validation_alias="RATE_LIMIT_REQUESTS")
    rate_limit_window: int = Field(60, ge=1, validation_alias="RATE_LIMIT_WINDOW")

    engine_processes: int = Field(1, ge=1, le=256, validation_alias="ENGINE_PROCESSES")
    task_workers: int = Field(1, ge=1, le=256, validation_alias="TASK_WORKERS")
    lease_seconds: float = Field(6, ge=0.5, le=120, validation_alias="LEASE_SECONDS")
    send_window_seconds: float = Field(3, ge=0.2, le=60, validation_alias="SEND_WINDOW_SECONDS")
    clock_skew_seconds: float = Field(1, ge=0, le=30, validation_alias="CLOCK_SKEW_SECONDS")
    sweep_seconds: float = Field(1, ge=0.05, le=60, validation_alias="SWEEP_SECONDS")
    order_timeout_seconds: float = Field(10, ge=0.5, le=600, validation_alias="ORDER_TIMEOUT_SECONDS")
    engine_sends: int = Field(4, ge=1, le=256, validation_alias="ENGINE_SENDS")
    gateway_idle_seconds: float = Field(1800, ge=1, validation_alias="GATEWAY_IDLE_SECONDS")
    gateway_pool_size: int = Field(500, ge=1, validation_alias="GATEWAY_POOL_SIZE")
    stream_silence_seconds: float = Field(60, ge=1, validation_alias="STREAM_SILENCE_SECONDS")
    stream_backoff_cap_seconds: float = Field(30, ge=0.1, validation_alias="STREAM_BACKOFF_CAP_SECONDS")
    balance_reserve_rate: str = Field("0.05", pattern=r"^0(\.\d{1,6})?$", validation_alias="BALANCE_RESERVE_RATE")
    simulator_url: str = Field("", validation_alias="SIMULATOR_URL")

    @field_validator("allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

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

    @field_validator("simulator_url")
    @classmethod
    def _simulator(cls, value: str) -> str:
        if value and urlsplit(value).scheme != "http":
            raise ValueError("must start with http://")
        return value.rstrip("/")


def load(environ: dict[str, str], *, keyless: bool) -> tuple[Config, Keyring | None]:
    """The checked configuration and the master keys.

    ``keyless`` commands run without a master key. Raises ConfigurationError naming every bad variable.
    """
    faults: list[str] = []
    config: Config | None = None
    try:
        config = Config()
    except ValidationError as error:
        faults += [f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in error.errors()]
    keyring = _keyring(environ, faults, keyless=keyless)
    if faults or config is None:
        raise ConfigurationError("DES can't start, the environment is not usable: " + "; ".join(faults))
    return config, keyring


def _keyring(environ: dict[str, str], faults: list[str], *, keyless: bool) -> Keyring | None:
    keys: dict[int, bytes] = {}
    for name, value in environ.items():
        match = _MASTER_KEY_NAME.fullmatch(name)
        if match is None or not value:
            continue
        try:
            keys[int(match[1] or 1)] = parse_master_key(value)
        except MasterKeyInvalid as error:
            faults.append(f"{name}: {error}")
    if not keys and not keyless and not any(fault.startswith("MASTER_") for fault in faults):
        faults.append("MASTER_ENCRYPTION_KEY: missing (make one with `manage.py generate_master_key`)")
    return Keyring(keys) if keys else None
