"""All dashboards, and where their JSON lies."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from configs.grafana import alerting, daemon, extension, overview, trunk
from configs.grafana.frame import Board, built

FOLDER = Path(__file__).parent / "dashboards"

BOARDS = (
    overview.BOARD,
    trunk.BOARD,
    extension.BOARD,
    alerting.BOARD,
    daemon.BOARD,
)


def file_of(board: Board) -> Path:
    """Where the JSON of a dashboard lies."""
    return FOLDER / f"{board.uid}.json"


def text_of(board: Board) -> str:
    """The JSON of a dashboard."""
    return JSONEncoder(sort_keys=True, indent=2).encode(built(board)) + "\n"
