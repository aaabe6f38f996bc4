"""What Prometheus reads, and nothing else: no other room imports its client."""
