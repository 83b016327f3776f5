"""What the payment service is told."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, FilePath, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from trackops_common.settings import ServiceSettings
from trackops_common.topics import PAYMENT_EVENTS

__all__ = ["PaymentSettings"]


class PaymentSettings(ServiceSettings):
    """Settings of the payment service; what begins with `payment_provider_` is for `https` only."""

    payment_events_topic: str = PAYMENT_EVENTS.name
    """Where payments' changes go."""
    payment_sweep_after_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long the provider's answer may be awaited before the service asks again by itself."""
    payment_sweep_interval_seconds: Annotated[float, Field(gt=0)] = 30.0
    """How often it looks for such payments."""
    payment_provider: Literal["simulator", "https"] = "simulator"
    """`https`: a provider with the API of `docs/payment-provider.md`."""
    payment_provider_url: Annotated[str, Field(validate_default=True)] = ""
    """`https://host[:port][/path]`, to which `/v1/…` is appended."""
    payment_provider_api_key: Annotated[SecretStr, Field(validate_default=True)] = SecretStr("")
    """By which the provider knows us; sent with each request."""
    payment_provider_ca_file: FilePath | None = None
    """PEM of the authorities that may sign the provider's certificate; the usual ones if None."""
    payment_provider_connect_timeout_seconds: Annotated[float, Field(gt=0)] = 2.0
    """How long a connection may take, TLS included."""
    payment_provider_read_timeout_seconds: Annotated[float, Field(gt=0)] = 8.0
    """How long nothing may arrive."""
    payment_provider_total_timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long one request may take, from connecting to the last byte."""
    payment_provider_concurrency: Annotated[int, Field(gt=0)] = 32
    """Requests at once, and connections, at most."""
    payment_provider_breaker_failures: Annotated[int, Field(gt=0)] = 10
    """So many requests without an answer, one after the other, and the provider is left alone."""
    payment_provider_breaker_reset_seconds: Annotated[float, Field(gt=0)] = 5.0
    """How long it is left alone before one request tries it."""

    @field_validator("payment_provider_url", "payment_provider_api_key")
    @classmethod
    def _needed_for_https(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        if not value and info.data.get("payment_provider") == "https":
            raise PydanticCustomError("missing", "is needed for the https provider")
        return value

    @field_validator("payment_provider_url")
    @classmethod
    def _is_https(cls, value: str) -> str:
        if value and not _is_plain(urlsplit(value)):
            raise PydanticCustomError("url", "it is https://host[:port][/path]")
        return value

    @field_validator("payment_provider_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if not (key.isascii() and key.isprintable() and key.strip() == key):
            raise PydanticCustomError("key", "it is of printable ASCII, with no blanks around")
        return value


def _is_plain(url: SplitResult) -> bool:
    """Whether it has what an address of an API has, and nothing more."""
    if url.scheme != "https" or not url.hostname or url.username or url.query or url.fragment:
        return False
    try:
        return url.port != 0
    except ValueError:
        return False
