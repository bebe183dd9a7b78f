"""Numbers in words: what a share, a size or a wait means to a person.

Pure functions, shared by every screen, so that the same figure is never told in two ways.
"""

from __future__ import annotations

_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def count(number: int) -> str:
    """A whole number, in words up to twelve."""
    return _COUNTS[number] if 0 <= number < len(_COUNTS) else f"{number:,}"


def plural(number: int, noun: str, many: str = "") -> str:
    """``1 token``, ``3 tokens``, ``1,024 tokens``; ``many`` where the plural has no plain s.

    Figures, never words: they stand beside other figures and are compared at a glance.
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def share(part: float) -> str:
    """A share of tokens: ``0.2`` is "about one token in five"; above a half it counts the rest.

    Args:
        part: 0..1.
    """
    if part <= 0:
        return "no token"
    if part >= 1:
        return "every token"
    if part > 0.9:
        return f"all but about one token in {count(round(1 / (1 - part)))}"
    if part > 0.5:
        return f"about {count(round(part * 10))} tokens in ten"
    return f"about one token in {count(round(1 / part))}"


def percent(part: float) -> str:
    """A share in percent, never rounded to a false 0 or 100."""
    value = part * 100
    if 0 < value < 1:
        return "<1 %"
    if 99 < value < 100:
        return ">99 %"
    return f"{value:.0f} %"


def size(amount: int) -> str:
    """Bytes as ``512 MB`` or ``1.3 GB`` (decimal units, as file managers show them)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if amount >= factor:
            value = amount / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{amount} B"


def seconds(duration: float) -> str:
    """A wait as a person would say it."""
    if duration < 1:
        return "less than a second"
    if duration < 90:
        return f"about {plural(round(duration), 'second')}"
    return f"about {plural(round(duration / 60), 'minute')}"


def tokens(number: int) -> str:
    """A token count for narrow places: ``812``, ``1.2k``, ``32k``."""
    if number < 1000:
        return str(number)
    thousands = number / 1000
    return f"{thousands:.1f}k" if thousands < 10 else f"{thousands:.0f}k"


def ago(then: float, now: float) -> str:
    """How long ago something was, for lists.

    Args:
        then: Unix time, seconds.
        now: Unix time, seconds.
    """
    passed = max(0.0, now - then)
    for limit, divisor, unit in ((90, 1, ""), (5400, 60, "min"), (129600, 3600, "h"), (2592000, 86400, "d")):
        if passed < limit:
            return f"{round(passed / divisor)} {unit} ago" if unit else "just now"
    months = round(passed / 2592000)
    return f"{months} mo ago" if months < 24 else f"{months // 12} y ago"
