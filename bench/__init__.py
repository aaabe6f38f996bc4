"""Benchmarks: against a peer in the same run; exit status 1 if a bound is missed."""
