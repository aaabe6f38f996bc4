"""The Grafana dashboards of sipwatch, as code; `make dashboards` writes their JSON."""
