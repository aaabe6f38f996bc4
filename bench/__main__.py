"""python -m bench [name ...]: run some benchmarks, or all; 1 if one missed a bound."""

from __future__ import annotations

import subprocess
import sys

# Name, what it runs, what it shows.
BENCHES = {
    "version": ("bench.version", "CPU of starting the command"),
    "probe": ("bench.probe", "CPU of probing 5,000 targets, against sipsak"),
    "sweep": ("bench.sweep", "CPU of 100,000 targets a minute, against SIPp"),
    "contacts": ("bench.contacts", "CPU of 20,000 contacts, against targets"),
    "mass": ("bench.mass", "stalls of the loop while 2,000 phones go at once"),
    "storm": ("bench.storm", "10,000 phones lost at once, mail down, a dead switch"),
    "registrars": ("bench.registrars", "CPU, stalls and memory of 20,000 contacts"),
    "capture": ("bench.capture", "loss, CPU and memory at 20,000 packets a second"),
    "events": ("bench.events", "CPU of 200 that follow events, against FastAPI's"),
    "metrics": ("bench.metrics", "CPU of /metrics, against prometheus-client"),
    "page": ("bench.page", "the status page at 20,000 extensions, in Chromium"),
    "readers": ("bench.readers", "stalls while 200 open pages read at once"),
}


def main(names: list[str]) -> int:
    """Run them one after the other, each in a process of its own."""
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are:")
        for name, (_, what) in BENCHES.items():
            print(f"  {name:10} {what}")
        return 2
    missed = []
    for name in names or BENCHES:
        module, what = BENCHES[name]
        print(f"{name}: {what}", flush=True)
        if subprocess.run([sys.executable, "-m", module], check=False).returncode:
            missed.append(name)
    print(f"missed: {', '.join(missed)}" if missed else "all bounds held")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
