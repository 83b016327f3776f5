"""TLS files as gRPC takes them: each new connection gets what they hold at that moment."""

from __future__ import annotations

import grpc

from trackops_common.tls import TlsFiles, TlsMaterial

__all__ = ["channel_credentials", "server_credentials"]


def channel_credentials(material: TlsMaterial) -> grpc.ChannelCredentials:
    """For a client: shows its certificate; takes servers of the authority, by the target's name."""
    return grpc.ssl_channel_credentials(material.ca, material.key, material.certificate)


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """For a server: a client without a certificate of the authority is turned away."""
    served = files.current

    def news() -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC before each handshake, in a thread of its own."""
        nonlocal served
        if files.current is served:
            return None
        served = files.current
        return _configuration(served)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(served),
        news,  # type: ignore[arg-type]  # None, which stands for no news, is not in its types
        require_client_authentication=True,
    )


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], material.ca
    )
