"""The themes. Each names the same few colours; meaning never rests on colour alone (see ``marks``).

``fovea-clear`` uses the colour-blind safe palette of Okabe and Ito (https://jfly.uni-koeln.de/color/).
"""

from __future__ import annotations

from textual.theme import Theme

DEFAULT = "fovea-dark"


def _tiers(low: str, mid: str, high: str, dense: tuple[str, str, str], quiet: str, track: str = "") -> dict[str, str]:
    tracks = ("scrollbar-background", "scrollbar-background-hover", "scrollbar-background-active")
    return {
        "tier-low": low,
        "tier-mid": mid,
        "tier-high": high,
        "dense-1": dense[0],
        "dense-2": dense[1],
        "dense-3": dense[2],
        "quiet": quiet,
        "block-cursor-text-style": "none",
        "border-blurred": quiet,
        **(dict.fromkeys(tracks, track) if track else {}),
    }


def themes() -> tuple[Theme, ...]:
    """All of fovea's own themes, the default first."""
    return (
        Theme(
            name="fovea-dark",
            primary="#6fb7c8",
            secondary="#8f9bb3",
            accent="#e3b261",
            warning="#e3b261",
            error="#e27d7d",
            success="#8fc28a",
            foreground="#d7dae0",
            background="#14161a",
            surface="#1a1d22",
            panel="#23272e",
            variables=_tiers("#8f9bb3", "#6fb7c8", "#e3b261", ("#2f2a1e", "#57441f", "#8a6518"), "#7b8494", "#23272e"),
        ),
        Theme(
            name="fovea-light",
            primary="#1f6f82",
            secondary="#5c6675",
            accent="#9a5f00",
            warning="#9a5f00",
            error="#b3261e",
            success="#2f6b2b",
            foreground="#22262c",
            background="#fbfaf7",
            surface="#f2f0ea",
            panel="#e6e3da",
            dark=False,
            variables=_tiers("#5c6675", "#1f6f82", "#9a5f00", ("#f6ebcf", "#f0d595", "#e6b552"), "#6b7280", "#e6e3da"),
        ),
        Theme(
            name="fovea-contrast",
            primary="#00e5ff",
            secondary="#ffffff",
            accent="#ffff00",
            warning="#ffff00",
            error="#ff8080",
            success="#66ff66",
            foreground="#ffffff",
            background="#000000",
            surface="#000000",
            panel="#1c1c1c",
            text_alpha=1.0,
            variables=_tiers("#ffffff", "#00e5ff", "#ffff00", ("#333300", "#5c5c00", "#808000"), "#d0d0d0", "#1c1c1c"),
        ),
        Theme(
            name="fovea-clear",
            primary="#56b4e9",
            secondary="#a9b1bd",
            accent="#e69f00",
            warning="#f0e442",
            error="#d55e00",
            success="#56b4e9",
            foreground="#e4e6ea",
            background="#15171b",
            surface="#1c1f25",
            panel="#262a32",
            variables=_tiers("#a9b1bd", "#56b4e9", "#e69f00", ("#33290f", "#5e4708", "#8f6a00"), "#8a93a1", "#262a32"),
        ),
        Theme(
            name="fovea-ansi",
            primary="ansi_cyan",
            secondary="ansi_bright_black",
            accent="ansi_yellow",
            warning="ansi_yellow",
            error="ansi_red",
            success="ansi_green",
            foreground="ansi_default",
            background="ansi_default",
            surface="ansi_default",
            panel="ansi_default",
            ansi=True,
            variables={
                **_tiers(
                    "ansi_default",
                    "ansi_cyan",
                    "ansi_yellow",
                    ("ansi_default", "ansi_bright_black", "ansi_blue"),
                    "ansi_bright_black",
                ),
                "ansi-background": "ansi_default",  # Textual derives these for other themes only
                "ansi-foreground": "ansi_default",
            },
        ),
    )


def fallbacks() -> dict[str, str]:
    """The tier and density colours for themes that are not ours (Textual's own)."""
    return _tiers("#8f9bb3", "#4f9fb3", "#d99a35", ("#57441f", "#7a5a1c", "#a07418"), "#808080")
