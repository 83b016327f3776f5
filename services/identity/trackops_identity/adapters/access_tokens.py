"""Access tokens (RFC 9068) signed with Ed25519 keys that are encrypted at rest."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trackops_common.clock import Clock
from trackops_common.errors import StartRefused
from trackops_identity.application.ports import AccessToken
from trackops_identity.domain.roles import Role
from trackops_identity.domain.signing_keys import SigningKey

__all__ = ["Ed25519Keys", "JwtSigner", "KeyEncryptionChanged"]

_NONCE_BYTES = 12


class KeyEncryptionChanged(StartRefused):
    """A stored private key cannot be read with the key of the settings."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"signing key {key_id} was encrypted with another TRACKOPS_KEY_ENCRYPTION_KEY; "
            "set the one that was used, or delete the row from signing_keys, which ends all tokens"
        )


class Ed25519Keys:
    """A `SigningKeyMaker`; reads the private halves too. AES-256-GCM, bound to the key's id."""

    def __init__(self, encryption_key: str) -> None:
        """`encryption_key` is a secret of any form, 32 characters or more."""
        kdf = HKDF(SHA256(), length=32, salt=None, info=b"trackops signing keys")
        self._cipher = AESGCM(kdf.derive(encryption_key.encode()))

    def make(self, *, sign_time: datetime) -> SigningKey:
        private = Ed25519PrivateKey.generate()
        key_id, nonce = secrets.token_hex(8), secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, private.private_bytes_raw(), key_id.encode())
        return SigningKey(
            key_id, private.public_key().public_bytes_raw(), nonce + sealed, sign_time
        )

    def private_half(self, key: SigningKey) -> Ed25519PrivateKey:
        """Raises KeyEncryptionChanged."""
        nonce = key.encrypted_private_key[:_NONCE_BYTES]
        sealed = key.encrypted_private_key[_NONCE_BYTES:]
        try:
            raw = self._cipher.decrypt(nonce, sealed, key.key_id.encode())
        except InvalidTag as error:
            raise KeyEncryptionChanged(key.key_id) from error
        return Ed25519PrivateKey.from_private_bytes(raw)


class JwtSigner:
    """An `AccessTokenSigner`."""

    def __init__(
        self, keys: Ed25519Keys, clock: Clock, *, issuer: str, audience: str, lifetime: timedelta
    ) -> None:
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._private_half = lru_cache(maxsize=8)(keys.private_half)

    def sign(
        self, key: SigningKey, *, subject: str, roles: Iterable[Role], session_id: uuid.UUID | None
    ) -> AccessToken:
        now = self._clock.now().replace(microsecond=0)
        expire_time = now + self._lifetime
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "iat": now,
            "exp": expire_time,
            "jti": uuid.uuid4().hex,
            "roles": sorted(role.lower() for role in roles),
        }
        if session_id is not None:
            claims["sid"] = str(session_id)
        header = {"kid": key.key_id, "typ": "at+jwt"}
        text = jwt.encode(claims, self._private_half(key), algorithm="EdDSA", headers=header)
        return AccessToken(text, expire_time)
