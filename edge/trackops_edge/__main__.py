"""Writes Envoy's files: `python -m trackops_edge <folder>`, told by its environment.

TRACKOPS_EDGE_LISTEN, TRACKOPS_EDGE_HTTP_LISTEN        host:port
TRACKOPS_EDGE_CERTIFICATE, TRACKOPS_EDGE_KEY           PEM files
TRACKOPS_<SERVICE>_TARGET                              host:port of each service's gRPC, or
                                                       several of one host: host:port,host:port
TRACKOPS_IDENTITY_HTTP_TARGET                          host:port of identity's key set
TRACKOPS_TLS_CERTIFICATE, TRACKOPS_TLS_KEY, TRACKOPS_TLS_CA
                                                       all or none: mutual TLS to the services
TRACKOPS_EDGE_TRUSTED_HOPS                             0 if left out
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from trackops_edge.contract import SERVICES
from trackops_edge.render import write
from trackops_edge.settings import Address, EdgeSettings, ServicesTls

__all__ = ["settings_of"]

_TLS = ("TRACKOPS_TLS_CERTIFICATE", "TRACKOPS_TLS_KEY", "TRACKOPS_TLS_CA")


def settings_of(environment: Mapping[str, str], folder: Path) -> EdgeSettings:
    """Raises KeyError with the variable that is missing, ValueError for one that is unusable."""
    return EdgeSettings(
        folder=folder,
        certificate=Path(environment["TRACKOPS_EDGE_CERTIFICATE"]),
        private_key=Path(environment["TRACKOPS_EDGE_KEY"]),
        listen=Address.parse(environment["TRACKOPS_EDGE_LISTEN"]),
        listen_http=Address.parse(environment["TRACKOPS_EDGE_HTTP_LISTEN"]),
        services={
            name: Address.parse_all(environment[f"TRACKOPS_{name.upper()}_TARGET"])
            for name in SERVICES
        },
        identity_http=Address.parse(environment["TRACKOPS_IDENTITY_HTTP_TARGET"]),
        services_tls=_services_tls(environment),
        trusted_hops=int(environment.get("TRACKOPS_EDGE_TRUSTED_HOPS", "0")),
    )


def _services_tls(environment: Mapping[str, str]) -> ServicesTls | None:
    if not any(environment.get(name) for name in _TLS):
        return None
    certificate, key, authority = (Path(environment[name]) for name in _TLS)
    return ServicesTls(certificate=certificate, private_key=key, authority=authority)


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    try:
        write(settings_of(os.environ, folder), folder)
    except KeyError as missing:
        sys.exit(f"trackops_edge: {missing.args[0]} is not set")
    except ValueError as error:
        sys.exit(f"trackops_edge: {error}")


if __name__ == "__main__":
    main()
