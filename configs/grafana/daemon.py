"""sipwatch itself: whether it keeps time, loses packets, and what it costs."""

from configs.grafana.frame import Board, Panel, grown, of, ours, per_second, total

BOARD = Board(
    uid="sipwatch-self",
    title="sipwatch / sipwatch itself",
    description="Whether the watcher is well.",
    rows={
        "Now": (
            Panel(
                "Scraped",
                "The share of the instances that Prometheus can scrape.",
                {"up": f"avg({ours(of('up'))})"},
                unit="percentunit",
                shown="value",
                span=6,
                bad=1,
                low=True,
            ),
            Panel(
                "Version",
                "The version that runs, and its Python.",
                {"{{version}} on Python {{python}}": of("sipwatch_build_info")},
                shown="value",
                span=6,
            ),
            Panel(
                "Running for",
                "Time since the start.",
                {"{{instance}}": ours("time() - " + of("process_start_time_seconds"))},
                unit="s",
                shown="value",
                span=6,
            ),
            Panel(
                "Configuration in force",
                "0 where the last configuration that was read was refused.",
                {"{{instance}}": of("sipwatch_config_last_reload_successful")},
                shown="value",
                span=6,
                bad=1,
                low=True,
            ),
        ),
        "Loop and packets": (
            Panel(
                "Scheduler lag",
                "How late the last look of the loop at itself was.",
                {"{{instance}}": of("sipwatch_scheduler_lag_seconds")},
                unit="s",
                bad=0.2,
            ),
            Panel(
                "Answers lost in the kernel",
                "Answers that the kernel had no room for: raise net.core.rmem_max.",
                {"{{instance}}": grown("sipwatch_receive_buffer_drops_total")},
                bad=1,
            ),
            Panel(
                "Answers to OPTIONS",
                "Answers that came, by role of who was asked.",
                {
                    "{{role}}": total(
                        per_second("sipwatch_options_duration_seconds_count"), "role"
                    )
                },
                unit="reqps",
                shown="pile",
            ),
            Panel(
                "Still to be told",
                "What some notifier should know of an incident and does not yet.",
                {"{{instance}}": of("sipwatch_outbox_pending")},
            ),
        ),
        "Machine": (
            Panel(
                "Processor",
                "Cores in use.",
                {"{{instance}}": ours(per_second("process_cpu_seconds_total"))},
            ),
            Panel(
                "Memory",
                "Memory of the process.",
                {
                    "resident {{instance}}": ours(of("process_resident_memory_bytes")),
                    "virtual {{instance}}": ours(of("process_virtual_memory_bytes")),
                },
                unit="bytes",
            ),
            Panel(
                "Open files",
                "Sockets and files, and how many it may have.",
                {
                    "open {{instance}}": ours(of("process_open_fds")),
                    "limit {{instance}}": ours(of("process_max_fds")),
                },
            ),
            Panel(
                "Scrape",
                "Time that Prometheus takes to read the metrics.",
                {"{{instance}}": ours(of("scrape_duration_seconds"))},
                unit="s",
            ),
        ),
        "Capture": (
            Panel(
                "Capture service",
                "1 while it answers.",
                {"{{instance}}": of("sipwatch_capture_up")},
                shown="states",
                bad=1,
                low=True,
                most=1,
            ),
            Panel(
                "Packets",
                "Packets taken in, and those that the kernel had no room for.",
                {
                    "taken {{instance}}": per_second("sipwatch_capture_packets_total"),
                    "lost {{instance}}": per_second("sipwatch_capture_dropped_total"),
                },
                unit="pps",
            ),
            Panel(
                "Incidents with packets",
                "Those whose exchange is kept.",
                {"{{instance}}": of("sipwatch_evidence_kept")},
            ),
            Panel(
                "Incidents without a look at packets",
                "Too many opened at once to look for the exchange of each.",
                {"{{instance}}": per_second("sipwatch_evidence_missed_total")},
            ),
        ),
    },
)
