"""Makes what compose.yaml reads as secrets, at random; what is there stays as it is.

python scripts/compose_secrets.py [folder]   `.compose` unless told otherwise
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

from trackops_cli.local.certificates import EdgeCertificate
from trackops_cli.local.mesh import SERVICES

__all__ = ["make"]

_FOLDER = Path(__file__).parent.parent / ".compose"
_RANDOM = ("postgres", "redis", "page-token-key", "token-seal-key", "key-encryption-key")


def make(folder: Path) -> None:
    """Every file that is missing below `folder`, which only its owner may enter.

    The files themselves anybody may read: containers that are not root see them as they are.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in _RANDOM:
        _keep(folder / name, secrets.token_urlsafe(32))
    redis = (folder / "redis").read_text()
    _keep(folder / "redis-url", f"redis://:{redis}@redis:6379/0")
    for spec in SERVICES:
        name = spec.certified_name
        password = _keep(folder / f"postgres-{name}", secrets.token_urlsafe(32))
        url = f"postgresql://{spec.package}:{password}@postgres:5432/trackops"
        _keep(folder / f"database-{name}", url)
    clients = {
        spec.client_id: _keep(folder / f"client-{spec.client_id}", secrets.token_urlsafe(32))
        for spec in SERVICES
        if spec.client_id
    }
    _keep(folder / "first-clients", json.dumps(clients))
    edge = EdgeCertificate(folder / "edge")
    edge.ensure()
    edge.private_key.chmod(0o444)


def _keep(path: Path, made: str) -> str:
    if not path.exists():
        path.write_text(made)
        path.chmod(0o444)
    return path.read_text()


def main() -> None:
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else _FOLDER)


if __name__ == "__main__":
    main()
