"""What MkDocs calls: the generated pages join the written ones."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from docs.generate import PAGES


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made of the code."""
    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    return files
