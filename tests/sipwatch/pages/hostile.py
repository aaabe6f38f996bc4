"""What somebody may call his phone."""

from __future__ import annotations

STRINGS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "\x1b[31mred\x1b[0m\r\nSet-Cookie: a=b",
    "\u202egnp.exe\u2066",
    "x" * 10_000,
    "{{ 7 * 7 }}{% raw %}",
    "</title></textarea><svg onload=alert(1)>",
    "\0\0000",
)
# What must be in no page, whatever anybody is called.
NEVER = ("<script>alert", "<img", "<svg onload", "\x1b", "\u202e", "\u2066", "\0")
