"""The wire of Asterisk's manager interface (AMI): bytes in, messages out.

One message is header lines ended by CRLF and an empty line; the greeting alone has no
empty line after it. TCP cuts anywhere, and events stand between the rows of a list.
Messages that carry a password end here, so that nothing above can log one.
"""

from __future__ import annotations

from sys import intern

GREETING = b"Asterisk Call Manager/"
END = b"\r\n\r\n"
GREETING_LIMIT = 256  # bytes; the real one has 30
MESSAGE_LIMIT = 64 * 1024  # bytes of one message; the largest seen has 1 kB
LIST_LIMIT = 64 * 1024 * 1024  # bytes of one list; 100,000 contacts have 45 MB
ROW_LIMIT = 200_000  # rows of one list

# PJSIPShowEndpoint and PJSIPShowRegistrationsOutbound send these in clear text.
SECRET_EVENTS = frozenset({"AuthDetail", "OutboundAuthDetail"})
SECRET_FIELDS = frozenset(
    {"Password", "Secret", "Md5Cred", "RefreshToken", "OauthSecret"}
)

Message = dict[str, str]  # of a name given twice the last one stays


class AmiParser:
    """Incremental: feed() whatever came and get the messages that it completes.

    Raises ValueError on what no Asterisk sends; the parser is of no use after that.
    """

    def __init__(self) -> None:
        self.greeting: str | None = None  # None until it has come
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by these bytes, in order."""
        seen = max(0, len(self._buffer) - len(END) + 1)
        self._buffer += data
        if self.greeting is None:
            if not self._greet():
                return []
            seen = 0
        end = self._buffer.rfind(END, seen)
        if end < 0:
            self._bound(len(self._buffer))
            return []
        # Bytes that are no UTF-8 stay distinct, since a contact is known by its URI.
        whole = self._buffer[:end].decode("utf-8", "backslashreplace")
        del self._buffer[: end + len(END)]
        self._bound(len(self._buffer))
        return self._messages(whole)

    def _greet(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0 and len(self._buffer) <= GREETING_LIMIT:
            return False
        line = bytes(self._buffer[:end])
        if end < 0 or end > GREETING_LIMIT or not line.startswith(GREETING):
            raise ValueError("it does not greet as Asterisk's manager interface does")
        self.greeting = line.decode("ascii", "backslashreplace")
        del self._buffer[: end + 2]
        return True

    def _messages(self, whole: str) -> list[Message]:
        blocks = whole.split("\r\n\r\n")
        self._bound(max(map(len, blocks)))
        # An empty line too many leaves one at the head of the next message.
        messages = [fields(text) for block in blocks if (text := block.lstrip("\r\n"))]
        return [message for message in messages if not is_secret(message)]

    @staticmethod
    def _bound(size: int) -> None:
        if size > MESSAGE_LIMIT:
            raise ValueError(f"a message of over {MESSAGE_LIMIT} bytes")


def is_secret(message: Message) -> bool:
    """Whether a message carries a password, by its kind or by a line of it."""
    return message.get("Event") in SECRET_EVENTS or not message.keys().isdisjoint(
        SECRET_FIELDS
    )


def fields(text: str) -> Message:
    """The header lines of one message; a line without a colon says nothing.

    A name is one object in all messages: of thousands that wait it would be half.
    """
    try:
        pairs = [line.split(": ", 1) for line in text.split("\r\n")]
        return {intern(name): value for name, value in pairs}
    except ValueError:
        pass
    message = {}
    for line in text.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            message[intern(name)] = value.removeprefix(" ")
    return message


def action(name: str, action_id: str, **values: str) -> bytes:
    """One request; a value with a line break would smuggle in a second header."""
    lines = [f"Action: {name}", f"ActionID: {action_id}"]
    for key, value in values.items():
        if "\r" in value or "\n" in value:
            raise ValueError(f"{key} must be one line")
        lines.append(f"{key}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
