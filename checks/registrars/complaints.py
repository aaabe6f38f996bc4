"""Why a registrar cannot be read: every sentence, with its cause and what to do there.

The README shows them all. What a connection of any kind fails by is in `failures`, what
a server over HTTP refuses in the table of its dialect.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from checks.observation import Cause
from checks.registrations.readings import Unreadable

MANAGER_CONF = "manager.conf (FreePBX: manager_custom.conf)"
EVENT_SOCKET_CONF = "autoload_configs/event_socket.conf.xml"


class Sentence(NamedTuple):
    """One line of the table; `says` is filled by who complains."""

    cause: Cause
    says: str


class Complaint(Enum):
    """The table."""

    # Of all.
    NO_ADDRESS = Sentence(Cause.DNS_FAILURE, "{error}")
    NO_CA = Sentence(
        Cause.TLS_VERIFY, "`ca`: {ca} holds no certificate that can be read: {why}"
    )
    ODD_NAMES = Sentence(
        Cause.TLS_VERIFY, "{where}: its certificate has names that cannot be read"
    )
    UNLIKE = Sentence(Cause.MALFORMED, "{protocol}: {error}")
    CLOSED = Sentence(Cause.CONNECTION_RESET, "{protocol}: closed by the peer")
    FLOOD = Sentence(Cause.MALFORMED, "{protocol}: a flood of events")

    # Of Asterisk.
    AMI_REFUSED = Sentence(
        Cause.CONNECTION_REFUSED, f"{{failed}} (is `enabled = yes` in {MANAGER_CONF}?)"
    )
    AMI_NO_GREETING = Sentence(
        Cause.CONNECTION_RESET,
        "AMI closes the connection without a greeting: too many sessions that are not "
        f"logged in (`authlimit` in {MANAGER_CONF})",
    )
    AMI_CLOSED = Sentence(
        Cause.CONNECTION_RESET, "AMI closed the connection: Asterisk ended or died"
    )
    AMI_ENDS = Sentence(
        Cause.CONNECTION_RESET, "AMI closed the connection: it shuts down"
    )
    AMI_LOGIN = Sentence(
        Cause.UNAUTHORIZED,
        f"AMI refuses the log-in ({{refused}}): check in {MANAGER_CONF} that "
        "[{user}] exists, that its `secret` is ours, and that `permit` holds our "
        "address; then `manager reload`",
    )
    AMI_RIGHTS = Sentence(
        Cause.FORBIDDEN,
        f"AMI user {{user}} may not list registrations: in {MANAGER_CONF} give "
        "[{user}] the lines `read = system,security` and `write = system,reporting`, "
        "then `manager reload`",
    )
    AMI_ERROR = Sentence(Cause.NO_LIST, "AMI answers with an error: {words}")
    AMI_LOADING = Sentence(
        Cause.NO_LIST, "Asterisk is still loading, or res_pjsip is not loaded"
    )
    AMI_NO_PJSIP = Sentence(
        Cause.NO_LIST,
        "this Asterisk has no PJSIP (res_pjsip is not loaded); the peers of chan_sip "
        "are not read, it is gone since Asterisk 21",
    )
    AMI_SILENT = Sentence(
        Cause.TIMEOUT,
        "AMI {what} within {seconds:g} s: Asterisk hangs or is stopped",
    )
    AMI_TOO_LONG = Sentence(
        Cause.MALFORMED, "AMI: {name} has over {rows} rows or 64 MB"
    )
    AMI_BROKEN_OFF = Sentence(
        Cause.MALFORMED, "AMI: {name} gave {rows} rows and ends with {end}"
    )

    # Of FreeSWITCH.
    ESL_REFUSED = Sentence(
        Cause.CONNECTION_REFUSED,
        "{failed} (is mod_event_socket loaded, and does `listen-ip` in "
        f"{EVENT_SOCKET_CONF} hold this address?)",
    )
    ESL_ADDRESS = Sentence(
        Cause.FORBIDDEN,
        f"FreeSWITCH refuses our address: in {EVENT_SOCKET_CONF} let "
        "`apply-inbound-acl` name a list of acl.conf.xml that allows this machine, "
        "then `reloadacl` and `reload mod_event_socket`",
    )
    ESL_PASSWORD = Sentence(
        Cause.UNAUTHORIZED,
        "FreeSWITCH refuses the password: it is the value of `password` in "
        f"{EVENT_SOCKET_CONF}; after a change there, `reload mod_event_socket`",
    )
    ESL_CLOSED = Sentence(Cause.CONNECTION_RESET, "ESL: connection closed, {why}")
    ESL_SILENT = Sentence(
        Cause.TIMEOUT,
        "ESL {what} within {seconds:g} s: FreeSWITCH hangs or is stopped",
    )
    ESL_LONG = Sentence(Cause.MALFORMED, "ESL: a long answer to {command}")
    ESL_OTHER = Sentence(Cause.MALFORMED, "ESL: {command} gave {kind}")
    SOFIA_UNLIKE = Sentence(Cause.MALFORMED, "sofia xmlstatus: {error}")
    SOFIA_MISSING = Sentence(
        Cause.NO_LIST,
        "FreeSWITCH has no `sofia`: mod_sofia is not loaded, or not yet (`load "
        "mod_sofia`, and modules.conf.xml)",
    )
    SOFIA_NO_PROFILE = Sentence(
        Cause.NO_LIST,
        "mod_sofia runs no profile (`sofia status`; sip_profiles/*.xml)",
    )
    SOFIA_ENDED = Sentence(
        Cause.NO_LIST, "a profile of FreeSWITCH ended while it was read"
    )
    SOFIA_NOT_RUNNING = Sentence(
        Cause.NO_LIST,
        "FreeSWITCH does not run its profile {names} (`sofia profile {first} start`, "
        "and see its log)",
    )
    SOFIA_ERROR = Sentence(Cause.NO_LIST, "FreeSWITCH answers with an error: {words}")

    # Of Kamailio and OpenSIPS.
    HTTP_STATUS = Sentence(
        Cause.MALFORMED, "{protocol} at {address} says HTTP {status}: {advice}"
    )
    HTTP_UNLIKE = Sentence(Cause.MALFORMED, "{method} at {address}: {error}")
    HTTP_CUT = Sentence(Cause.CONNECTION_RESET, "{where}: {error}")
    HTTP_HOST = Sentence(Cause.DNS_FAILURE, "{where}: {error}")
    HTTP_TOO_LONG = Sentence(Cause.MALFORMED, "an answer of over {bytes} bytes")
    KAMAILIO_NO_DUMP = Sentence(
        Cause.NO_LIST,
        "Kamailio does not dump its bindings ({fault}): is usrloc loaded, and is its "
        "memory (-m, -M) large enough?",
    )
    KAMAILIO_LACKS = Sentence(
        Cause.MALFORMED, "ul.dump has {records} records and {aors} AORs"
    )
    OPENSIPS_NO_USRLOC = Sentence(
        Cause.NO_LIST,
        "OpenSIPS has no bindings: load usrloc.so and registrar.so in opensips.cfg",
    )
    OPENSIPS_NOTHING = Sentence(
        Cause.NO_LIST, "neither ul_dump nor get_statistics are answered: {fault}"
    )

    # Of any registrar that is asked by SIP.
    SIP_NOBODY = Sentence(
        Cause.NOT_FOUND,
        "type sip asks for each AOR by name, and `extensions` names none: give `file`, "
        "or `include` without wildcards",
    )
    SIP_ADDRESS = Sentence(Cause.MALFORMED, "{address}: {error}")
    SIP_RIGHTS = Sentence(
        Cause.UNAUTHORIZED,
        "{failed}; give `username` and `password` of a user that may ask for the "
        "bindings of these AORs",
    )

    def of(self, other: Cause | None = None, /, **words: object) -> Unreadable:
        """The failure that it says, of another cause where there are several."""
        cause, says = self.value
        return Unreadable(other or cause, says.format(**words))
