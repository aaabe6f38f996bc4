"""The certificate that a listener shows, and the next one."""

from __future__ import annotations

import ssl

from sipwatch.config.access import TlsSettings, context_of


class Certificate:
    """Connections that come from now on see the one that was read last.

    The context of a listener is fixed; what stands in it would be mixed up with what is
    loaded later (an RSA key beside an ECDSA key). So each handshake is given another,
    when it comes to the name that the client asks for, be there one or not.
    """

    def __init__(self, tls: TlsSettings) -> None:
        """OSError, ValueError for files that cannot be used."""
        self._current = context_of(tls)
        self.context = context_of(tls)
        self.context.sni_callback = self._choose

    def replace(self, tls: TlsSettings) -> None:
        """Show this one; OSError, ValueError: then the old one stays."""
        self._current = context_of(tls)

    def _choose(
        self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = self._current
