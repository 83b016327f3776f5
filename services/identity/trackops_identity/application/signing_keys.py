"""Make signing keys in time, and publish the public halves."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from trackops_common.clock import Clock
from trackops_identity.application.ports import IdentityReader, SigningKeyMaker, UnitOfWorkFactory
from trackops_identity.domain.signing_keys import KeyRing, KeySchedule, SigningKey

__all__ = ["GetKeySet", "RotateSigningKeys"]


@dataclass(frozen=True)
class RotateSigningKeys:
    """Replicas take turns, so that one key is made when one is due."""

    unit_of_work: UnitOfWorkFactory
    maker: SigningKeyMaker
    schedule: KeySchedule
    clock: Clock

    def __call__(self, *, only_if_due: bool) -> SigningKey | None:
        """The new key, which signs once everybody has had time to learn of it; None if not due."""
        now = self.clock.now()
        with self.unit_of_work() as work:
            ring = KeyRing(work.keys.lock(), self.schedule)
            if only_if_due and not ring.is_due(now):
                return None
            key = self.maker.make(sign_time=ring.next_sign_time(now))
            work.keys.add(key)
            work.commit()
        return key


@dataclass(frozen=True)
class GetKeySet:
    """The keys that verify now, as a JSON Web Key Set (RFC 7517, RFC 8037)."""

    reader: IdentityReader
    schedule: KeySchedule
    clock: Clock

    def __call__(self) -> str:
        """JSON."""
        published = KeyRing(self.reader.keys(), self.schedule).published(self.clock.now())
        return json.dumps({"keys": [_jwk(key) for key in published]}, separators=(",", ":"))


def _jwk(key: SigningKey) -> dict[str, str]:
    public = base64.urlsafe_b64encode(key.public_key).rstrip(b"=").decode()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": key.key_id,
        "x": public,
    }
