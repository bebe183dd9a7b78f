"""Invented facts: a statement, questions that it answers, the answer in a sentence.

A model this small cannot know much, but it can learn to *find*: match a question to the one sentence that speaks of the
same thing, and copy the value. So subjects and values are drawn from large pools and half of the names are invented
syllables: nothing can be learned by heart, only looked up. The pools and phrasings are text files in ``texts``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TEXTS = Path(__file__).parent / "texts"


@dataclass(frozen=True, slots=True)
class Relation:
    """How one kind of fact is stated, asked for and answered; ``{s}`` is the subject, ``{v}`` the value."""

    subject: str
    value: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    answer: str
    russian: bool


@dataclass(frozen=True, slots=True)
class OwnRelation:
    """What a person says of themselves, asks later, and is told back."""

    value: str
    said: str
    question: str
    told: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One invented fact."""

    subject: str
    statement: str
    question: str
    answer: str
    russian: bool = False


@dataclass(frozen=True, slots=True)
class OwnFact:
    """A fact about the person: said as "my …", told back as "your …"."""

    said: str
    question: str
    told: str


def lines_of(name: str) -> list[str]:
    """Lines of a file in ``texts`` that are no comments."""
    lines = (TEXTS / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def split_list(text: str) -> tuple[str, ...]:
    """Parts between bars."""
    return tuple(part.strip() for part in text.split("|"))


@cache
def pools() -> dict[str, tuple[str, ...]]:
    """Word pools by name; endings may be empty or begin with a space, so nothing is stripped inside."""
    named = (line.split(": ", 1) for line in lines_of("words.txt"))
    return {name: tuple(words.split("|")) for name, words in named}


@cache
def relations(russian: bool = False) -> tuple[Relation, ...]:
    """All kinds of facts in one language."""
    found = []
    for line in lines_of("relations.ru.txt" if russian else "relations.en.txt"):
        kinds, rest = line.split(": ", 1)
        subject, value = kinds.split()
        statements, rest = rest.split(" ; ", 1)
        questions, answer = rest.split(" => ", 1)
        found.append(Relation(subject, value, split_list(statements), split_list(questions), answer.strip(), russian))
    return tuple(found)


@cache
def own_relations(russian: bool = False) -> tuple[OwnRelation, ...]:
    """All kinds of facts a person tells about themselves."""
    found = []
    for line in lines_of("own.ru.txt" if russian else "own.en.txt"):
        value, rest = line.split(": ", 1)
        said, rest = rest.split(" ; ", 1)
        question, told = rest.split(" => ", 1)
        found.append(OwnRelation(value, said.strip(), question.strip(), told.strip()))
    return tuple(found)


def word(pool: str, rng: random.Random) -> str:
    """A word of a pool."""
    return rng.choice(pools()[pool])


def invented_name(rng: random.Random) -> str:
    """Two or three syllables, capitalised."""
    syllables = "".join(word("consonant", rng) + word("vowel", rng) for _ in range(rng.choice((2, 2, 3))))
    return (syllables + rng.choice(("", "", "n", "r", "s", "l"))).capitalize()


def clock(rng: random.Random) -> str:
    """A time of day."""
    return f"{rng.randint(7, 21)}:{rng.choice(('00', '15', '30', '45'))}"


Maker = Callable[[random.Random, str], str]
# How each kind of subject or value is made; the second argument is a first name drawn beforehand. Kinds that are not
# here are plain pools.
MAKERS: dict[str, Maker] = {
    "person1": lambda rng, first: first,
    "person": lambda rng, first: first if rng.random() < 0.6 else f"{first} {invented_name(rng)}",
    "fullname": lambda rng, first: f"{first} {invented_name(rng)}",
    "name": lambda rng, first: invented_name(rng),
    "land": lambda rng, first: invented_name(rng) + word("land_end", rng),
    "city": lambda rng, first: word("city", rng) if rng.random() < 0.6 else invented_name(rng),
    "date": lambda rng, first: f"{rng.randint(1, 28)} {word('month', rng)}",
    "dayclock": lambda rng, first: word("day", rng) + (f" at {clock(rng)}" if rng.random() < 0.7 else ""),
    "clock": lambda rng, first: clock(rng),
    "year": lambda rng, first: str(rng.randint(1700, 2024)),
    "number": lambda rng, first: f"{rng.randint(2, 999)},{rng.randint(0, 999):03d}",
    "money": lambda rng, first: f"{rng.randint(2, 990)} {word('currency', rng)}",
    "phone": lambda rng, first: f"{rng.randint(100, 999)}-{rng.randint(10, 99)}-{rng.randint(10, 99)}",
    "room": lambda rng, first: str(rng.randint(1, 499)),
    "port": lambda rng, first: str(rng.randint(1024, 9999)),
    "code": lambda rng, first: invented_name(rng).lower() + str(rng.randint(1, 99)),
    "hours": lambda rng, first: f"{rng.randint(6, 10)}:00 to {rng.randint(16, 22)}:00",
    "project": lambda rng, first: f"{word('project', rng)} {invented_name(rng)}",
    "company": lambda rng, first: invented_name(rng) + word("company_end", rng),
    "event": lambda rng, first: word("event", rng) + (f" with {first}" if rng.random() < 0.6 else ""),
    "server": lambda rng, first: word("server", rng) + (f" {invented_name(rng)}" if rng.random() < 0.6 else ""),
    "shop": lambda rng, first: f"{invented_name(rng)} {word('shop', rng)}",
    "book": lambda rng, first: f'"The {word("book", rng)} {invented_name(rng)}"',
    "date_ru": lambda rng, first: f"{rng.randint(1, 28)} {word('month_ru', rng)}",
    "land_ru": lambda rng, first: word("start_ru", rng) + word("land_end_ru", rng),
    "name_ru": lambda rng, first: word("start_ru", rng) + word("town_end_ru", rng),
    "money_ru": lambda rng, first: f"{rng.randint(20, 9900)} рублей",
}


def draw(kind: str, rng: random.Random) -> str:
    """A subject or value of a kind."""
    first = word("first", rng) if rng.random() < 0.6 else invented_name(rng)
    return MAKERS[kind](rng, first) if kind in MAKERS else word(kind, rng)


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def make_fact(rng: random.Random, relation: Relation) -> Fact:
    """A random fact of one relation."""
    subject, value = draw(relation.subject, rng), draw(relation.value, rng)
    fill = {"s": subject, "v": value}
    return Fact(
        subject=subject,
        statement=capital(rng.choice(relation.statements).format(**fill)),
        question=capital(rng.choice(relation.questions).format(**fill)),
        answer=capital(relation.answer.format(**fill)),
        russian=relation.russian,
    )


def make_own_fact(rng: random.Random, russian: bool = False) -> OwnFact:
    """A random fact a person tells about themselves."""
    relation = rng.choice(own_relations(russian))
    value = draw(relation.value, rng)
    if russian:
        return OwnFact(relation.said.format(v=value), relation.question, relation.told.format(v=value))
    fill = {"v": value, "kin": word("kin", rng), "pet": word("pet", rng), "thing": word("thing", rng)}
    return OwnFact(relation.said.format(**fill), relation.question.format(**fill), relation.told.format(**fill))
