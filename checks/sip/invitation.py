"""The INVITE client transaction (RFC 3261 17.1.1), as a machine without I/O.

               |  INVITE: send it
               V
          +---------+  A: send again, A doubles
      +---| CALLING |------------------------------+
      |   +---------+                              |
      |        | 1xx                               | B, transport error
      | final  V                                   |
      |   +------------+                           |
      +---| PROCEEDING |---------------------------+
      |   +------------+                           |
      | 300-699        | 2xx                       |
      V                |                           |
    +-----------+      |                           |
    | COMPLETED |  response again: ACK again       |
    +-----------+      |                           |
      | D              |                           |
      V                V                           V
    +--------------------------------------------------+
    |                    TERMINATED                    |
    +--------------------------------------------------+

A resends, on unreliable transports only, until the first response. B gives up where
nothing has answered; once something has, it is the owner who decides how long a phone
may ring. A 2xx ends the transaction: its ACK is the dialog's (13.2.2.4).
"""

from __future__ import annotations

from checks.sip.message import Response
from checks.sip.transaction import T1, State

TIMER_D = 32.0  # s; 64*T1: the ACK may be lost, and the response come again


class InviteTransaction:
    """One INVITE and the way to its final response; all times are the caller's."""

    __slots__ = ("_a", "_ends_at", "_resend_at", "branch", "reliable", "sends", "state")

    def __init__(
        self, branch: str, now: float, *, reliable: bool, timeout: float, t1: float = T1
    ) -> None:
        """`timeout` is B: how long nothing may answer."""
        self.branch = branch
        self.reliable = reliable
        self.state = State.TRYING  # CALLING, in the words of the RFC
        self.sends = 1
        self._a = t1
        self._resend_at = None if reliable else now + t1
        self._ends_at: float | None = now + timeout

    @property
    def deadline(self) -> float | None:
        """When to call `advance` next; None while it only waits."""
        if self.state is State.TERMINATED or self._ends_at is None:
            return None
        if self._resend_at is None:
            return self._ends_at
        return min(self._resend_at, self._ends_at)

    def advance(self, now: float) -> bool:
        """Let time pass; True when the INVITE is to be sent once more."""
        if self._ends_at is not None and now >= self._ends_at:
            self.state, self._ends_at = State.TERMINATED, None
            return False
        if self._resend_at is None or now < self._resend_at:
            return False
        self._a *= 2
        self._resend_at = now + self._a
        self.sends += 1
        return True

    def receive(self, status: int, now: float) -> bool:
        """Take a response; True when it is news. Above 299 each is to be ACKed."""
        if self.state in (State.COMPLETED, State.TERMINATED):
            return False
        self._resend_at = self._ends_at = None
        if status < 200:
            self.state = State.PROCEEDING
        elif status < 300 or self.reliable:
            self.state = State.TERMINATED
        else:
            self.state, self._ends_at = State.COMPLETED, now + TIMER_D
        return True

    def matches(self, response: Response) -> bool:
        """Whether a response is to this INVITE (17.1.3)."""
        try:
            ours = response.via.branch == self.branch
            return ours and response.cseq.method == "INVITE"
        except ValueError:
            return False
