"""How much of the trained small talk the model gives back, and whether it remembers what it was just told.

Small talk is recall of training phrasings, not generalisation; what is told and asked again has fresh names.

    python -m training.talk --gguf backends/pocket/pocket-F16.gguf
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from training.facts import capital
from training.formats import IM_END, SYSTEM_PROMPT, Message, render
from training.jobs import intents, remembered
from training.llama_file import LlamaFile

FILES = ("smalltalk.en.txt", "smalltalk.ru.txt", "knowledge.txt")


def reply(model: LlamaFile, *turns: str) -> str:
    """The greedy reply after turns of person and model in alternation."""
    messages = [Message("system", SYSTEM_PROMPT)]
    messages += [Message("assistant" if index % 2 else "user", text) for index, text in enumerate(turns)]
    return model.greedy(render(messages, generation_prompt=True), 60, IM_END)


def main() -> None:
    """Print shares of exact replies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, default=Path("backends/pocket/pocket-F16.gguf"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--facts", type=int, default=40)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with LlamaFile(arguments.gguf) as model:
        for name in FILES:
            items = intents(name)
            right = sum(reply(model, capital(rng.choice(asked))) in told for asked, told in items)
            print(f"{name}: {right} of {len(items)} first turns answered with a trained reply")
        promised = recalled = 0
        for _ in range(arguments.facts):
            (said, promise), (asked, answer) = remembered(rng, russian=False)
            promised += reply(model, said) == promise
            recalled += reply(model, said, promise, asked) == answer
        print(f"told: {promised} of {arguments.facts} repeated exactly; asked again: {recalled} answered exactly")


if __name__ == "__main__":
    main()
