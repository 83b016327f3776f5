"""Where Kafka is and how it is entered: what every client of it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, FilePath, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from trackops_common.setting_names import PREFIX

__all__ = [
    "KafkaAccess",
    "KafkaSettings",
    "OptionalKafkaSettings",
    "SaslMechanism",
    "SecurityProtocol",
]

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """The way into one cluster; by itself, to one that asks for neither name nor TLS."""

    bootstrap_servers: str
    """`host:port`, more of them separated by commas."""
    security: Mapping[str, str] = field(default_factory=dict, repr=False)
    """librdkafka's settings for TLS and SASL; they hold the password."""

    @property
    def connection(self) -> dict[str, str]:
        """The settings of a client that is to do no more than connect."""
        return {"bootstrap.servers": self.bootstrap_servers, **self.security}

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which `KafkaSettings` become this access again."""
        named = {
            "KAFKA_SECURITY_PROTOCOL": "security.protocol",
            "KAFKA_SASL_MECHANISM": "sasl.mechanism",
            "KAFKA_USERNAME": "sasl.username",
            "KAFKA_PASSWORD": "sasl.password",
            "KAFKA_CA_FILE": "ssl.ca.location",
        }
        return {f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers} | {
            PREFIX + name: self.security[key] for name, key in named.items() if key in self.security
        }

    @staticmethod
    def with_password(
        bootstrap_servers: str,
        username: str,
        password: str,
        *,
        protocol: SecurityProtocol = "SASL_PLAINTEXT",
        mechanism: SaslMechanism = "SCRAM-SHA-256",
        ca_file: str = "",
    ) -> KafkaAccess:
        """The way in for one user. `ca_file`: see `KafkaSettings.kafka_ca_file`."""
        sasl = {
            "security.protocol": protocol,
            "sasl.mechanism": mechanism,
            "sasl.username": username,
            "sasl.password": password,
        }
        return KafkaAccess(bootstrap_servers, sasl | _authorities(ca_file))


class OptionalKafkaSettings(BaseSettings):
    """What every service is told: it hears from Kafka which sessions ended before their tokens."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    kafka_bootstrap_servers: str = ""
    """`host:port`, more of them separated by commas. Empty: there is no Kafka, and the tokens of
    such sessions are taken until they expire."""
    kafka_security_protocol: SecurityProtocol = "PLAINTEXT"
    """What the listener of those addresses speaks. With SSL in it the broker's certificate has to
    be valid for the name it is reached by."""
    kafka_sasl_mechanism: SaslMechanism = "SCRAM-SHA-256"
    """How the password is proved; for the two SASL protocols only."""
    kafka_username: Annotated[str, Field(validate_default=True)] = ""
    """The user whose rights docs/server-rights.md lists; for the two SASL protocols only."""
    kafka_password: Annotated[SecretStr, Field(validate_default=True)] = SecretStr("")
    """Of that user."""
    kafka_ca_file: FilePath | None = None
    """PEM of the authorities that may sign the brokers' certificates; the usual ones if None.
    For the two SSL protocols only."""

    @property
    def kafka(self) -> KafkaAccess:
        ca_file = str(self.kafka_ca_file or "")
        if self.kafka_security_protocol.startswith("SASL_"):
            return KafkaAccess.with_password(
                self.kafka_bootstrap_servers,
                self.kafka_username,
                self.kafka_password.get_secret_value(),
                protocol=self.kafka_security_protocol,
                mechanism=self.kafka_sasl_mechanism,
                ca_file=ca_file,
            )
        protocol = {"security.protocol": self.kafka_security_protocol}
        return KafkaAccess(self.kafka_bootstrap_servers, protocol | _authorities(ca_file))

    @field_validator("kafka_username", "kafka_password")
    @classmethod
    def _goes_with_sasl(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        protocol = info.data.get("kafka_security_protocol", "")
        if not value and protocol.startswith("SASL_"):
            raise PydanticCustomError("missing", "is needed for SASL")
        if value and protocol in ("PLAINTEXT", "SSL"):
            raise PydanticCustomError("protocol", "nobody is asked for it without SASL")
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _goes_with_tls(cls, value: FilePath | None, info: ValidationInfo) -> FilePath | None:
        if value and not info.data.get("kafka_security_protocol", "SSL").endswith("SSL"):
            raise PydanticCustomError("protocol", "there is no certificate to check without SSL")
        return value


class KafkaSettings(OptionalKafkaSettings):
    """For services that do nothing without Kafka, before `ServiceSettings`; for the command line,
    alone."""

    kafka_bootstrap_servers: str
    """`host:port`, more of them separated by commas."""


def _authorities(ca_file: str) -> dict[str, str]:
    return {"ssl.ca.location": ca_file} if ca_file else {}
