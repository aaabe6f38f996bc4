"""Debian's Chromium without windows, started in place out of its fetched tree."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.servers import require

# What belongs to the loader of the machine: never of another version than that.
_LOADER = re.compile(
    r"(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libutil|libnsl|libnss_\w+"
    r"|libmvec|libanl|libBrokenLocale|libthread_db|libc_malloc_debug)[.-]"
)
_START = """#!/bin/sh
export LD_LIBRARY_PATH='{libraries}' FONTCONFIG_FILE='{fonts}' HOME='{home}'
exec '{program}' "$@"
"""
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>{root}/usr/share/fonts</dir><cachedir>{home}/fonts</cachedir>
<alias><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
<alias><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
<alias><family>monospace</family>
<prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


def start_script(folder: Path) -> Path:
    """A script in a folder that starts it: it runs programs of its own, which find
    their libraries by the environment and not by a loader that is named."""
    if named := os.environ.get("SIPWATCH_CHROMIUM"):
        return Path(named)
    command = require("chromium")
    libraries, fonts = folder / "libraries", folder / "fonts.conf"
    libraries.mkdir()
    for place in (command.libraries, command.libraries / "pulseaudio"):
        for library in place.glob("*.so*"):
            if not _LOADER.match(library.name):
                (libraries / library.name).symlink_to(library)
    fonts.write_text(_FONTS.format(root=command.root, home=folder))
    script = folder / "chromium"
    program = command.argv[-1]
    script.write_text(
        _START.format(libraries=libraries, fonts=fonts, home=folder, program=program)
    )
    script.chmod(0o755)
    return script
