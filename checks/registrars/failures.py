"""How a connection to a registrar fails, as the one cause that the judge is told."""

from __future__ import annotations

import errno
import socket
import ssl

from checks.observation import Cause
from checks.registrations import Unreadable

CERTIFICATE_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
MANAGER_CONF = "manager.conf (FreePBX: manager_custom.conf)"

_BY_ERRNO = {
    errno.ECONNREFUSED: Cause.CONNECTION_REFUSED,
    errno.ECONNRESET: Cause.CONNECTION_RESET,
    errno.EPIPE: Cause.CONNECTION_RESET,
    errno.EHOSTUNREACH: Cause.ICMP_UNREACHABLE,
    errno.ENETUNREACH: Cause.ICMP_UNREACHABLE,
    errno.ETIMEDOUT: Cause.TIMEOUT,
}


def cause_of(error: OSError) -> Cause:
    """The cause that a failed connect, read or write stands for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        expired = error.verify_code == CERTIFICATE_EXPIRED
        return Cause.TLS_EXPIRED if expired else Cause.TLS_VERIFY
    if isinstance(error, ssl.SSLError):
        return Cause.TLS_HANDSHAKE
    if isinstance(error, socket.gaierror):
        unknown = error.errno == socket.EAI_NONAME
        return Cause.DNS_NXDOMAIN if unknown else Cause.DNS_FAILURE
    if isinstance(error, TimeoutError):
        return Cause.TIMEOUT
    return _BY_ERRNO.get(error.errno or 0, Cause.CONNECTION_RESET)


def unreadable(error: OSError, what: str) -> Unreadable:
    """A failed connection, with a sentence that names what was reached for."""
    cause = cause_of(error)
    if cause is Cause.TIMEOUT:
        return Unreadable(cause, f"{what} does not answer")
    said = error.strerror or str(error) or type(error).__name__
    return Unreadable(cause, f"{what}: {said}")


def host_and_port(address: str, default: int) -> tuple[str, int]:
    """The parts of "pbx:5038", "10.0.0.5", "[2001:db8::5]:5038"."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]") or (":" in host and host[0] != "["):
        host, port = address, str(default)
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{address} is not host:port")
    return host.strip("[]"), int(port)
