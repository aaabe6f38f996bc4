"""Documents of the registration event package: application/reginfo+xml (RFC 3680 5).

    <reginfo version="3" state="partial">
      <registration aor="sip:1001@example.com" id="a1" state="active">
        <contact id="c1" state="active" event="registered" expires="60">
          <uri>sip:1001@10.0.0.31:5060</uri>
        </contact>
      </registration>
    </reginfo>

Read by expat as it comes, without a tree. A document type is refused where it begins,
and with it every entity: such a document has no need of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from checks.observation import Loss
from checks.sip.message import MESSAGE_LIMIT

NAMESPACE = "urn:ietf:params:xml:ns:reginfo"
REGISTRATION_LIMIT = 100  # of one document: it is of one user, and of their aliases
CONTACT_LIMIT = 200  # of one document, whatever 64 kB could hold
URI_LIMIT = 2000  # characters of one contact
SECONDS_LIMIT = 2**32 - 1  # RFC 3261 20.19
VERSION_LIMIT = 2**31  # no subscription lasts that long

_FULL, _PARTIAL = "full", "partial"
_ACTIVE, _TERMINATED = "active", "terminated"

# RFC 3680 5.4.2: the event that ended a contact, as a loss and in words.
ENDS = {
    "expired": (Loss.EXPIRED, ""),
    "unregistered": (Loss.DEREGISTERED, ""),
    "deactivated": (Loss.UNKNOWN, "the registrar deactivated it"),
    "probation": (Loss.UNKNOWN, "the registrar put it off until later"),
    "rejected": (Loss.UNKNOWN, "the registrar rejected it"),
}


@dataclass(slots=True)
class Registered:
    """One contact of a registration."""

    uri: str
    active: bool
    event: str  # why it is so
    expires: int | None  # s that are left, where it is told
    user_agent: str = ""  # an attribute of Kamailio's
    received: str = ""  # likewise


@dataclass(slots=True)
class Registration:
    """One AOR."""

    aor: str  # a SIP URI, as the registrar writes it
    state: str  # init, active or terminated
    contacts: list[Registered] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    """One reginfo."""

    version: int
    full: bool  # False: what it does not name is as it was
    registrations: list[Registration] = field(default_factory=list)


def read_reginfo(data: bytes) -> Document:
    """The document in a body; ValueError where it is none, or too much of one."""
    if len(data) > MESSAGE_LIMIT:
        raise ValueError(f"a document of {len(data)} octets, over {MESSAGE_LIMIT}")
    reader = _Reader()
    try:
        reader.parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"no reginfo: {error}") from None
    if reader.document is None:
        raise ValueError("no reginfo")
    return reader.document


class _Reader:
    """Takes what expat finds; the elements of other namespaces are passed over."""

    def __init__(self) -> None:
        self.document: Document | None = None
        self._contact: Registered | None = None
        self._uri: list[str] | None = None  # while within <uri>
        self._contacts = 0
        # What the document says of its encoding is not believed: it could name any.
        self.parser = parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, *_: object) -> None:
        raise ValueError("a reginfo with a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, name = name.rpartition(" ")
        if namespace not in (NAMESPACE, ""):
            return
        if self.document is None:
            self.document = _document(name, attributes)
        elif name == "registration":
            if len(self.document.registrations) >= REGISTRATION_LIMIT:
                raise ValueError(f"over {REGISTRATION_LIMIT} registrations")
            self.document.registrations.append(
                Registration(attributes.get("aor", ""), attributes.get("state", ""))
            )
        elif name == "contact" and self.document.registrations:
            self._contacts += 1
            if self._contacts > CONTACT_LIMIT:
                raise ValueError(f"over {CONTACT_LIMIT} contacts")
            self._contact = _contact(attributes)
        elif name == "uri" and self._contact is not None:
            self._uri = []

    def _end(self, name: str) -> None:
        _, _, name = name.rpartition(" ")
        if name == "uri" and self._contact is not None and self._uri is not None:
            self._contact.uri = "".join(self._uri).strip()
            self._uri = None
        elif name == "contact" and self._contact is not None:
            if self._contact.uri and self.document is not None:
                self.document.registrations[-1].contacts.append(self._contact)
            self._contact = None

    def _text(self, text: str) -> None:
        if self._uri is not None:
            self._uri.append(text)
            if sum(map(len, self._uri)) > URI_LIMIT:
                raise ValueError(f"a contact of over {URI_LIMIT} characters")


def _document(name: str, attributes: dict[str, str]) -> Document:
    if name != "reginfo":
        raise ValueError(f"no reginfo, but {name[:40]!r}")
    state = attributes.get("state", "")
    if state not in (_FULL, _PARTIAL):
        raise ValueError(f"a reginfo that is {state[:40]!r}")
    version = _number(attributes.get("version", ""), VERSION_LIMIT)
    if version is None:
        raise ValueError("a reginfo without a version")
    return Document(version, state == _FULL)


def _contact(attributes: dict[str, str]) -> Registered:
    state = attributes.get("state", "")
    if state not in (_ACTIVE, _TERMINATED):
        raise ValueError(f"a contact that is {state[:40]!r}")
    return Registered(
        "",
        state == _ACTIVE,
        attributes.get("event", ""),
        _number(attributes.get("expires", ""), SECONDS_LIMIT),
        attributes.get("user_agent", ""),
        attributes.get("received", ""),
    )


def _number(text: str, most: int) -> int | None:
    """A whole number; None where there is none, or none in reason."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    return min(int(text), most)
