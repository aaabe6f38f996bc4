"""Secrets of the configuration: from systemd's credentials, files, the environment.

`!secret name` and `!env NAME` become Secret values at their place; nothing else is
done with them here, and no message shows what they hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from checks.settings import Secret
from sipwatch.config.yaml import Document, KeyPath, Node, shorten

SECRETS_DIR = "/etc/sipwatch/secrets"
SHORT = 4  # characters below which a secret is found in any text, and is no secret
SECRET_LIMIT = 65_536  # bytes of one secret: a key file, not a disk

_SECRET_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def reveal(document: Document, environ: Mapping[str, str]) -> None:
    """Put the secrets into their places, now that `secrets_dir` is known."""
    root = document.root
    if root is None:
        return
    places = _places(document, environ)
    for node, path in _tagged(root, (), set()):
        kind, name = node.tag.split(" ", 1)
        try:
            if kind == "!env":
                kept = f"variable {node.value}"
                value = _of_environment(node.value, environ)
            else:
                value, place = _of_file(node.value, places)
                kept = f"file {place}"
            node.value = Secret(value, kept)
            if len(value) >= SHORT:
                document.secrets.append(value)
        except ValueError as error:
            document.report(node.line, node.column, f"{kind} {error}", path)
            node.value, node.broken = Secret(name), True


def _places(document: Document, environ: Mapping[str, str]) -> list[str]:
    """What a secret's path begins with, in the order of asking.

    `LoadCredential=secrets:/folder` makes a credential secrets_NAME of each file.
    """
    node = document.find(("secrets_dir",))
    written = node.value if node and isinstance(node.value, str) else SECRETS_DIR
    fallback = f"{Path(document.file).parent / written}/"
    credentials = environ.get("CREDENTIALS_DIRECTORY", "")
    if not credentials:
        return [fallback]
    return [f"{credentials}/", f"{credentials}/secrets_", fallback]


def _tagged(
    node: Node, path: KeyPath, seen: set[int]
) -> Iterable[tuple[Node, KeyPath]]:
    """Every node that names a secret, once, with its path."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.tag:
        yield node, path
    elif isinstance(node.value, dict):
        for key, entry in node.value.items():
            yield from _tagged(entry.node, (*path, key), seen)
    elif isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from _tagged(item, (*path, index), seen)


def _of_environment(name: str, environ: Mapping[str, str]) -> str:
    if not _ENV_NAME.fullmatch(name):
        raise ValueError(f"{shorten(name)}: is no name of a variable")
    if name not in environ:
        raise ValueError(f"{name}: no such variable in the environment")
    if not environ[name]:
        raise ValueError(f"{name}: the variable is empty")
    return environ[name]


def _of_file(name: str, places: list[str]) -> tuple[str, str]:
    """A secret, and the file that it is in."""
    if not _SECRET_NAME.fullmatch(name):
        raise ValueError(f"{shorten(name)}: a name has letters, digits, - _ and . only")
    for place in places:
        try:
            with open(place + name, "rb") as file:
                data = file.read(SECRET_LIMIT + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            hint = "; a new one needs a restart" if len(places) > 1 else ""
            raise ValueError(f"{place + name}: {error.strerror}{hint}") from None
        return _of_bytes(name, data), place + name
    folders = dict.fromkeys(os.path.dirname(place) for place in places)
    raise ValueError(f"{name}: not found in {' or '.join(folders)}")


def _of_bytes(name: str, data: bytes) -> str:
    if len(data) > SECRET_LIMIT:
        raise ValueError(f"{name}: is larger than {SECRET_LIMIT // 1024} kB")
    try:
        text = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"{name}: is not UTF-8") from None
    if not text or "\0" in text:
        raise ValueError(f"{name}: is empty or not a text")
    return text
