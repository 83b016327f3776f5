"""Page tokens (AIP-158): opaque, signed, and good only for the listing that they came from."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

from trackops_common.errors import PageTokenInvalid

__all__ = ["PageTokens"]

_MAC_BYTES = 16


@dataclass(frozen=True)
class PageTokens:
    """Seals where a page ended, and opens it again for the same listing.

    Every replica has the same key. With another key, every token is refused and
    its listing has to begin anew.
    """

    key: bytes = field(repr=False)

    def seal(self, place: bytes, *, listing: bytes) -> str:
        """A token for `place`; `listing` is whatever must be the same when it comes back."""
        return urlsafe_b64encode(self._mac(place, listing) + place).decode()

    def open(self, token: str, *, listing: bytes) -> bytes:
        """The place that was sealed.

        Raises:
            PageTokenInvalid: altered, or sealed for another listing or with another key.
        """
        try:
            sealed = urlsafe_b64decode(token.encode("ascii"))
        except ValueError as error:
            raise PageTokenInvalid from error
        mac, place = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        expected = self._mac(place, listing)
        if not hmac.compare_digest(mac, expected) or self.seal(place, listing=listing) != token:
            raise PageTokenInvalid
        return place

    def _mac(self, place: bytes, listing: bytes) -> bytes:
        """The length keeps apart what would run into each other."""
        message = len(listing).to_bytes(4) + listing + place
        return hmac.digest(self.key, message, hashlib.sha256)[:_MAC_BYTES]
