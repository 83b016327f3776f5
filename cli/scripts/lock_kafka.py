"""Writes the closure of a Kafka release, each jar with its SHA-256, to standard output.

    .venv/bin/python cli/scripts/lock_kafka.py 4.2.2 2.25.5 >cli/trackops_cli/local/kafka.lock

The second version is that of the log4j binding, which Kafka's own closure leaves out; take the
one of log4j-core in the closure.

Kafka 4.3.0, 4.3.1 and 4.4.0 are not for us: a partition that has lost its leader counts there as
deleted, and a transaction that ends in that moment gets no marker in it and hangs for ever
(KAFKA-20734). The only broker of a stack has such a moment in every orderly stop.
"""

import hashlib
import sys

from jgo.maven import Artifact, MavenContext


def main(kafka: str, log4j: str) -> None:
    maven = MavenContext(timeout=60)
    broker = maven.create_dependency(f"org.apache.kafka:kafka_2.13:{kafka}")
    direct, transitive = maven.resolver.resolve([broker])
    # Alone: resolved together, the binding's own dependency management would win over Kafka's.
    binding = maven.create_dependency(f"org.apache.logging.log4j:log4j-slf4j-impl:{log4j}")
    lines = {_line(dependency.artifact) for dependency in (*direct, *transitive, binding)}
    sys.stdout.write("# made by cli/scripts/lock_kafka.py\n")
    sys.stdout.writelines(sorted(lines))


def _line(artifact: Artifact) -> str:
    digest = hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()
    return f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {digest}\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
