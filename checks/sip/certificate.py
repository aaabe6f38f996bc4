"""TLS for SIP: whom a certificate speaks for (RFC 5922), and until when."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass

from checks.observation import Cause, plain

NAMES_SHOWN = 4  # of a certificate that is not for the domain asked
NAME_LIMIT = 80  # characters of one of them

# OpenSSL's verify codes (x509_vfy.h) that mean time, not trust.
_EXPIRED = 10
_NOT_YET_VALID = 9


@dataclass(frozen=True, slots=True)
class Certificate:
    """What of a peer's certificate matters to a watcher."""

    not_after: float
    "UTC s."

    names: tuple[str, ...]
    "Domains and addresses that it speaks for, SIP URIs first."

    @classmethod
    def of_der(cls, der: bytes) -> Certificate:
        """Read a certificate; ValueError where it is none.

        One whose names cannot be read speaks for nobody.
        """
        # Imported late: it costs 40 ms, and only TLS needs it.
        from cryptography import x509

        try:
            certificate = x509.load_der_x509_certificate(der)
        except x509.InvalidVersion as error:
            raise ValueError(str(error)) from None
        try:
            extension = certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            )
        except (
            x509.ExtensionNotFound,
            x509.DuplicateExtension,
            x509.UnsupportedGeneralNameType,
            ValueError,
        ):
            names: list[str] = []
        else:
            # RFC 5922 7.1: a SIP URI in the subject names its domain.
            uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
            names = [uri[4:] for uri in uris if uri[:4].lower() == "sip:"]
            names += extension.value.get_values_for_type(x509.DNSName)
            ips = extension.value.get_values_for_type(x509.IPAddress)
            names += [str(ip) for ip in ips]
        return cls(certificate.not_valid_after_utc.timestamp(), tuple(names))

    def days(self, now: float) -> float:
        """Days until it ends; below 0 after."""
        return (self.not_after - now) / 86400

    def covers(self, domain: str) -> bool:
        """Whether it speaks for a domain or IP address.

        RFC 5922 7.2 knows no wildcards; the field's providers have them, so the left
        label may be one, as in HTTPS (RFC 9525 6.3).
        """
        domain = domain.lower().rstrip(".")
        try:
            return str(ipaddress.ip_address(domain)) in self.names
        except ValueError:
            _, _, parent = domain.partition(".")
            wanted = {domain, f"*.{parent}"} if "." in parent else {domain}
            return any(name.lower().rstrip(".") in wanted for name in self.names)

    def mismatch(self, domain: str) -> str:
        """The sentence for a certificate that is another's."""
        shown = (plain(name, NAME_LIMIT) for name in self.names[:NAMES_SHOWN])
        names = ", ".join(shown) or "no name at all"
        if len(self.names) > NAMES_SHOWN:
            names += f" and {len(self.names) - NAMES_SHOWN} more"
        return f"the certificate is for {names}, not for {domain}"


def tls_context(ca_file: str | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """A context that trusts the system's CAs, and those of a file besides.

    The name is not checked by OpenSSL, which knows no SIP URIs, but by `Connection`
    after the handshake (RFC 5922 7.3). OSError or ssl.SSLError for a bad file.
    """
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = ssl.create_default_context()  # reads all CAs, 20 ms: make it once
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    context.check_hostname = False
    return context


def tls_failure(error: ssl.SSLError) -> tuple[Cause, str]:
    """The cause and the sentence of a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = error.verify_message or str(error)
        if error.verify_code == _EXPIRED:
            return Cause.TLS_EXPIRED, "its certificate has expired"
        if error.verify_code == _NOT_YET_VALID:
            return Cause.TLS_VERIFY, "its certificate is not valid yet"
        return Cause.TLS_VERIFY, f"its certificate is not trusted: {text}"
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return Cause.TLS_HANDSHAKE, f"the TLS handshake failed: {reason}"
