"""The non-INVITE client transaction (RFC 3261 17.1.2), as a machine without I/O.

                 |  request: send it
                 V
           +-----------+  E: send again, E doubles up to T2
       +---|  TRYING   |------------------------------+
       |   +-----------+                              |
       |         | 1xx                                | F, transport error
       | final   V                                    |
       |   +-----------+  E: send again, every T2     |
       +---| PROCEEDING|------------------------------+
       |   +-----------+                              |
       V                                              |
    +-----------+  response again: absorbed           |
    | COMPLETED |                                     |
    +-----------+                                     |
       | K (T4 on UDP, nothing on TCP and TLS)        |
       V                                              V
    +--------------------------------------------------------+
    |                       TERMINATED                       |
    +--------------------------------------------------------+

E resends, on unreliable transports only. F gives up: 64*T1, or the caller's timeout,
since a watcher wants its verdict sooner than a call would. K keeps a finished
transaction so that repeated answers still find it.

Nobody is called from here and no clock is read. The owner sends the request once, asks
`deadline` when to come back, calls `advance(now)` at that time, sends again when it
returns True, and hands over by `receive` each response that `matches`.
"""

from __future__ import annotations

from enum import Enum

from checks.sip.message import Response

T1 = 0.5  # s, estimate of a round trip (RFC 3261 17.1.1.1)
T2 = 4.0  # s, the longest wait between two sends
T4 = 5.0  # s, how long a message stays in the network


class State(Enum):
    """Where a transaction is."""

    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    TERMINATED = "terminated"


class ClientTransaction:
    """One request and the way to its final response; all times are the caller's."""

    __slots__ = (
        "_e",
        "_ends_at",
        "_resend_at",
        "branch",
        "method",
        "reliable",
        "sends",
        "state",
        "t2",
        "t4",
        "timed_out",
    )

    def __init__(
        self,
        branch: str,
        method: str,
        now: float,
        *,
        reliable: bool,
        timeout: float | None = None,
        t1: float = T1,
        t2: float = T2,
        t4: float = T4,
    ) -> None:
        self.branch = branch
        self.method = method
        self.reliable = reliable
        self.t2 = t2
        self.t4 = t4
        self.state = State.TRYING
        self.sends = 1
        self.timed_out = False
        self._e = t1
        self._resend_at = None if reliable else now + t1
        self._ends_at = now + (64 * t1 if timeout is None else timeout)

    @property
    def deadline(self) -> float | None:
        """When to call `advance` next; None when it is over."""
        if self.state is State.TERMINATED:
            return None
        if self._resend_at is None:
            return self._ends_at
        return min(self._resend_at, self._ends_at)

    def advance(self, now: float) -> bool:
        """Let time pass; True when the request is to be sent once more."""
        if self.state is State.TERMINATED:
            return False
        if now >= self._ends_at:  # timer F, or K once completed
            self.timed_out = self.state is not State.COMPLETED
            self._end()
            return False
        if self._resend_at is None or now < self._resend_at:
            return False
        # RFC 3261 17.1.2.2: in Proceeding the request goes out every T2.
        self._e = (
            self.t2 if self.state is State.PROCEEDING else min(2 * self._e, self.t2)
        )
        # Counted from now: after a stall of ours one send is due, not all that were.
        self._resend_at = now + self._e
        self.sends += 1
        return True

    def receive(self, status: int, now: float) -> bool:
        """Take a response; True when it is news, False for a repetition."""
        if self.state in (State.COMPLETED, State.TERMINATED):
            return False
        if status < 200:
            self.state = State.PROCEEDING
            return True
        self._resend_at = None
        if self.reliable:
            self._end()
        else:
            self.state = State.COMPLETED
            self._ends_at = now + self.t4
        return True

    def fail(self) -> None:
        """The transport failed (RFC 3261 17.1.4)."""
        self._end()

    def matches(self, response: Response) -> bool:
        """Whether a response is of this transaction (RFC 3261 17.1.3)."""
        try:
            return (
                response.via.branch == self.branch
                and response.cseq.method == self.method
            )
        except ValueError:
            return False

    def _end(self) -> None:
        self.state = State.TERMINATED
        self._resend_at = None
