"""Which drawing and which tone each state has. Pure; the word of a state always stands beside its drawing."""

from __future__ import annotations

_GLYPHS = {
    "done": ("check", "idle"),
    "running": ("running", "idle"),
    "permitted": ("running", "idle"),
    "sleeping": ("waiting", "idle"),
    "waiting": ("waiting", "care"),
    "asked": ("waiting", "care"),
    "broken": ("broken", "doubt"),
    "failed": ("broken", "doubt"),
    "unknown": ("unknown", "doubt"),
    "ended": ("broken", "ink"),
    "expired": ("waiting", "idle"),
    "refused": ("broken", "ink"),
    "voided": ("broken", "idle"),
    "cut": ("stop", "stop"),
    "stop": ("stop", "stop"),
    "pause": ("pause", "stop"),
    "person": ("person", "hand"),
    "ahead": ("ahead", "idle"),
    "ready": ("ahead", "idle"),
    "not needed": ("ahead", "idle"),
}


def glyph(state: str) -> tuple[str, str]:
    """The drawing and the tone of a state; every state also has its word."""
    return _GLYPHS.get(state, ("ahead", "idle"))
