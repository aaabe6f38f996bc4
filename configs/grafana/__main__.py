"""python -m configs.grafana: write the JSON of all dashboards."""

from configs.grafana.boards import BOARDS, file_of, text_of

for board in BOARDS:
    file_of(board).write_text(text_of(board), encoding="utf-8")
