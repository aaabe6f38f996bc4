"""What the command line runs: each command asks the daemon over its Unix socket."""
