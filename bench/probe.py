"""What probing many targets costs, beside one sipsak for each, as Nagios runs it.

python -m bench.probe
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.machine import bound, cpu_of, interleaved, loopback, peer, sipwatch
from bench.responder import Responder

TARGETS = 5000
PEERS = 300  # sipsaks of one round; each costs the same
ROUNDS = 3
RATIO = 40.0  # times cheaper than sipsak


def main() -> int:
    """Measure; 1 where it costs too much."""
    with Responder() as responder, tempfile.TemporaryDirectory() as folder:
        targets = Path(folder, "targets.txt")
        targets.write_text("\n".join(loopback(TARGETS, responder.port)))
        uris = Path(folder, "uris.txt")
        uris.write_text("\n".join(f"sip:{t}" for t in loopback(PEERS, responder.port)))
        sipsak = [*peer("sipsak"), "--from", "sip:bench@127.0.0.1", "-s"]
        command = ["xargs", "-a", str(uris), "-P", "2", "-n", "1", *sipsak]
        responder.mark()
        ours, theirs = interleaved(
            ROUNDS,
            lambda: cpu_of([*sipwatch(), "probe", "--targets", str(targets)]),
            lambda: cpu_of(command),
        )
        report = responder.report()
    ours, theirs = ours / TARGETS, theirs / PEERS
    expected = ROUNDS * (TARGETS + PEERS)
    print(f"  {1e6 * ours:.0f} us a target; sipsak {1e6 * theirs:.0f} us")
    if report.received < expected:
        print(f"  only {report.received} of {expected} questions arrived: MISSED")
        return 1
    held = bound("CPU a target, sipsak = 1", ours / theirs, 1 / RATIO)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
