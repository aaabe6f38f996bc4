"""sipwatch: the daemon floor (configuration, wiring, metrics, web, CLI)."""

__version__ = "0.1.0"
