"""What the tour says: heading and text of each card; shared by the app and the line mode."""

from __future__ import annotations

CARDS: tuple[tuple[str, str], ...] = (
    (
        "One model, three precisions",
        "fovea runs the same model at 4, 8 and 16 bits. The 4-bit tier speaks because it is fast and small. "
        "Above every reply you see which tier wrote it, how fast, and how much was looked at closer.",
    ),
    (
        "Write",
        "Enter sends, Ctrl+J begins a new line, a paste never sends by itself. / opens the commands, @ puts a file "
        "into the message. While a reply is written you can go on typing: the next message waits. Esc stops at once.",
    ),
    (
        "Look closer",
        "Ctrl+R answers the same turn at the next higher tier, beside the first. With the policy `ask`, fovea proposes "
        "a closer look itself where words were nearly tied. A card says why and what it costs; you decide.",
    ),
    (
        "See where meaning is dense",
        "Tab goes to the messages, j and k move. d tints every token by how likely a higher tier is to write something "
        "else there: ▂ ▅ █. f shows the forks: the places where 16 bits would have gone another way, worst first.",
    ),
    (
        "Choose",
        "n writes several continuations side by side, one key picks. Blind comparisons hide the tiers; after some of "
        "them `fovea stats` tells you whether you need 16 bits at all. All versions stay in the tree (F4).",
    ),
    (
        "Yours",
        "Conversations, notes and decisions are plain files and one SQLite file on this machine; nothing is sent "
        "anywhere. F3 shows what was recalled, F2 the ladder, F5 every decision, F8 the settings, F1 all keys.",
    ),
)
