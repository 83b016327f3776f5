"""Settings come from the environment, each named TRACKOPS_…; secrets have no default.

Each may also stand in a file of its name in the folder that TRACKOPS_SECRETS_DIR names (a mounted
Secret, say) instead of in the environment, which goes first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, NonNegativeInt, SecretStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from trackops_common.kafka_settings import OptionalKafkaSettings
from trackops_common.logs import LogFormat
from trackops_common.setting_names import PREFIX
from trackops_common.tls import TlsFiles, TlsPaths

__all__ = ["SecretsFolderMissing", "ServerUrl", "ServiceSettings", "load", "problems", "read"]

_SECRETS_VARIABLE = f"{PREFIX}SECRETS_DIR"
_EX_CONFIG = 78
"""Exit status for a configuration error (sysexits.h)."""


class SecretsFolderMissing(Exception):
    """Secrets are to be read from a folder that is not there."""

    def __init__(self, folder: str) -> None:
        super().__init__(f"setting {_SECRETS_VARIABLE} is wrong: {folder} is no folder")


def _is_url(value: SecretStr) -> SecretStr:
    """Refused here, since the drivers' own refusals repeat parts of a password."""
    try:
        parts = urlsplit(value.get_secret_value())
        well_formed = bool(parts.scheme and parts.netloc) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed:
        raise PydanticCustomError("url", "it is no URL (passwords in URLs are percent-encoded)")
    return value


ServerUrl = Annotated[SecretStr, AfterValidator(_is_url)]
"""`scheme://user:password@host:port/database`, never shown."""


class ServiceSettings(OptionalKafkaSettings):
    """What every service needs to be told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    listen: str
    """Where gRPC is served, as host:port."""
    tls_certificate: str = ""
    """File with this service's certificate in PEM, which names whatever others call it by; after it
    those between it and the authority. Empty: gRPC is plain text, both ways. This and the next
    three are given together or not at all; changed files are taken in while the service runs."""
    tls_key: str = ""
    """File with the certificate's private key."""
    tls_ca: str = ""
    """File with the authorities whose certificates callers and called services have to show."""
    tls_callers: str = ""
    """Who may call: names that stand in callers' certificates, separated by commas."""
    http_listen: str = ""
    """Where probes and metrics are served over HTTP, as host:port, to whoever asks. Empty: nowhere,
    and no metrics are recorded."""
    database_url: ServerUrl
    """`postgresql://role:password@host:port/database`, the role being the service's own."""
    database_pool_size: int = 4
    """Connections to Postgres, at most."""
    start_timeout_seconds: float = 60.0
    """How long to wait at start for dependencies that are away."""
    stop_delay_seconds: float = 0.5
    """How long after SIGTERM calls are still taken, health saying NOT_SERVING, so that clients
    leave first: gRPC cancels what has reached a server that stops and is not yet in a handler."""
    stop_grace_seconds: float = 10.0
    """How long calls in flight may go on after SIGTERM."""
    max_connection_age_seconds: NonNegativeInt = 300
    """How long a client keeps one connection, give or take a tenth; for the next one it asks for
    the addresses anew, and so finds servers that are new. Calls in flight end on the old one,
    streams within an hour. 0: for ever."""
    max_streams: int = 10_000
    """Streams of responses that are open at a time, at most; above it callers are told to wait."""
    request_retention_days: int = 7
    """How long a `request_id` is remembered."""
    outbox_relay_target: str = ""
    """The relay, as host:port or any gRPC name: it says which partitions of the outbox are
    published. Empty: none of them is ever dropped."""
    outbox_retention_hours: int = 72
    """How long a published row stays in the outbox, at least."""
    environment: Literal["development", "production"] = "development"
    """In production, reflection and channelz, which answer without a token, are off."""
    issuer: str = "trackops"
    """`iss` of every access token."""
    audience: str = "trackops"
    """`aud` of every access token."""
    identity_target: str = ""
    """The identity service, as host:port or any gRPC name: gives the keys of access tokens, and
    this service's own token. Every service but that one needs it."""
    revocations_wait_seconds: float = 10.0
    """How long to wait at start until all sessions are known that ended before their tokens. Where
    Kafka is away for longer the service serves all the same, and knows them when Kafka is back."""
    client_id: str = ""
    """What the identity service knows this service as; it calls others with a token of its own.
    Empty: without one."""
    client_secret: SecretStr = SecretStr("")
    """Of this client."""
    log_format: LogFormat = "auto"
    """`auto`: colour on a terminal, JSON elsewhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below it are dropped."""

    @cached_property
    def tls(self) -> TlsFiles | None:
        """What the files hold, one object for the process; None where gRPC is plain text.

        Raises:
            StartRefused: the files cannot be used.
        """
        if not self.tls_certificate:
            return None
        return TlsFiles(TlsPaths(Path(self.tls_certificate), Path(self.tls_key), Path(self.tls_ca)))

    @property
    def callers(self) -> tuple[str, ...]:
        """Who may call, where gRPC is not plain text."""
        return tuple(name.strip() for name in self.tls_callers.split(",") if name.strip())

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        wanted = {
            "TLS_CERTIFICATE": self.tls_certificate,
            "TLS_KEY": self.tls_key,
            "TLS_CA": self.tls_ca,
            "TLS_CALLERS": self.callers,
        }
        missing = [PREFIX + name for name, value in wanted.items() if not value]
        if missing and len(missing) < len(wanted):
            raise ValueError(f"TLS needs {', '.join(missing)} too")
        return self


S = TypeVar("S", bound=BaseSettings)


def load(settings: type[S]) -> S:
    """`settings` from the environment and from the folder of secrets.

    Exits with status 78 and one line for each setting that is missing or wrong.
    """
    try:
        return read(settings)
    except SecretsFolderMissing as error:
        sys.stderr.write(f"trackops: {error}\n")
        sys.exit(_EX_CONFIG)
    except ValidationError as error:
        for line in problems(error):
            sys.stderr.write(f"trackops: {line}\n")
        sys.exit(_EX_CONFIG)


def read(settings: type[S], **given: Any) -> S:
    """`settings` from what is given, the environment and the folder of secrets, in this order.

    Raises:
        ValidationError: see `problems`.
        SecretsFolderMissing: the folder is not there, or is none.
    """
    folder = os.environ.get(_SECRETS_VARIABLE, "")
    if folder and not Path(folder).is_dir():
        raise SecretsFolderMissing(folder)
    return settings(_secrets_dir=folder or None, **given)


def problems(error: ValidationError) -> Iterator[str]:
    """A line for each setting that is missing or wrong; no value is repeated."""
    for problem in error.errors(include_url=False, include_input=False):
        yield _line(problem)


def _line(problem: Mapping[str, Any]) -> str:
    if not problem["loc"]:
        return f"settings contradict each other: {problem['ctx']['error']}"
    name = PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
    what = "is missing" if problem["type"] == "missing" else f"is wrong: {problem['msg']}"
    return f"setting {name} {what}"
