"""What starting the command costs: monitoring systems start it every minute.

python -m bench.version
"""

from __future__ import annotations

import sys

from bench.machine import bound, cpu_of, interleaved, sipwatch

MOST = 0.080  # s of CPU
ROUNDS = 9


def main() -> int:
    """Measure; 1 where it costs too much."""
    ours, bare = interleaved(
        ROUNDS,
        lambda: cpu_of([*sipwatch(), "--version"]),
        lambda: cpu_of([sys.executable, "-c", "pass"]),
    )
    print(f"  Python alone {1000 * bare:.0f} ms; {ours / bare:.1f} times that")
    return 0 if bound("CPU of sipwatch --version", ours, MOST, " s") else 1


if __name__ == "__main__":
    sys.exit(main())
