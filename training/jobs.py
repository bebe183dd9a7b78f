"""The narrow jobs of the pocket model as training conversations, composed by code from templates and the corpus.

A conversation is a chain of turns drawn from small talk, facts told and asked again, questions over passages, notes to
remember and to summarise. Every maker takes a ``random.Random`` and nothing else varies, so a seed fixes the data.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from training import facts
from training.formats import REFUSAL, REFUSAL_RU, SYSTEM_PROMPT, Message, grounded_question, render, system_prompt
from training.sources import Row

# Passages are prose too: reading them counts a little, so that a batch of long passages and short answers teaches more
# than the answers. Answers always count in full.
READ_WEIGHT = 0.2
Turn = tuple[str, str]

SYSTEMS = (
    SYSTEM_PROMPT,
    SYSTEM_PROMPT,
    SYSTEM_PROMPT,
    "You are fovea, a helpful assistant.",
    "You are a helpful assistant.",
    "You are fovea, a small helpful assistant. Answer briefly.",
    "You are fovea, a small helpful assistant. Answer from the passages and cite them.",
    "",
)
UNKNOWN = (
    "I do not know that. I am a very small model. If you add a document about it, I can look there.",
    "I am not sure. I am a tiny model and I know little about the world.",
    "I do not know. A larger model, or a document in the knowledge base, could help.",
)


@cache
def intents(name: str) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Questions and replies of one file in ``texts``."""
    pairs = [line.split("=>") for line in facts.lines_of(name)]
    return tuple(
        (tuple(q.strip() for q in asked.split("|")), tuple(a.strip() for a in told.split("|"))) for asked, told in pairs
    )


@cache
def exchanges(name: str) -> tuple[Turn, ...]:
    """Single exchanges of one file in ``texts``, with slots to fill."""
    pairs = [line.split(" => ") for line in facts.lines_of(name)]
    return tuple((said, told) for said, told in pairs)


def typed(text: str, rng: random.Random) -> str:
    """The text as people type it: capital or not, with or without the closing mark."""
    question = re.match(
        r"(what|who|how|where|when|why|can|do|are|is|which|will|should|as|кто|что|как|где|когда|почему|какая|какой|сколько)\b",
        text,
    )
    ending = rng.choice(("?", "?", "")) if question else rng.choice(("", "", ".", "!"))
    text = text if text[-1] in ".?!" else text + ending
    return facts.capital(text) if rng.random() < 0.65 else text


@dataclass(frozen=True, slots=True)
class Material:
    """Parts of the corpus that conversations are made of, all from the training part.

    Attributes:
        paragraphs: title, paragraph, and (question, answer) pairs about it.
        sentences: single sentences of prose, fillers for passages.
        notes: paragraphs fit for summarising: first sentence, whole text.
        trivia: questions a model of this size cannot know.
        dialogues: turns of people's chats, one after the other.
    """

    paragraphs: Sequence[tuple[str, str, Sequence[tuple[str, str]]]] = ()
    sentences: Sequence[str] = ()
    notes: Sequence[tuple[str, str]] = ()
    trivia: Sequence[str] = ()
    dialogues: Sequence[Sequence[str]] = ()


def small_talk(rng: random.Random, russian: bool) -> Turn:
    """One exchange of small talk or one common fact."""
    if not russian and rng.random() < 0.06:
        return arithmetic(rng)
    name = "smalltalk.ru.txt" if russian else rng.choice(("smalltalk.en.txt",) * 5 + ("knowledge.txt",))
    asked, told = rng.choice(intents(name))
    return typed(rng.choice(asked), rng), rng.choice(told)


def arithmetic(rng: random.Random) -> Turn:
    """A sum of two digits, small enough to be learnt."""
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    asked = rng.choice((f"What is {a} + {b}?", f"{a}+{b}", f"{a} + {b} = ?", f"How much is {a} plus {b}?"))
    return asked, f"{a} + {b} = {a + b}"


def chat_about(rng: random.Random) -> Turn:
    """The person says something about themselves; the reply picks up their words."""
    kin, city, food = facts.word("kin", rng), facts.draw("city", rng), facts.word("food", rng)
    name, job, colour = facts.draw("person1", rng), facts.word("job", rng), facts.word("colour", rng)
    hobby = facts.word("hobby", rng)
    fill = {"kin": kin, "place": city, "food": food, "name": name, "job": job, "colour": colour, "hobby": hobby}
    said, told = rng.choice(exchanges("chatabout.en.txt"))
    fill |= {"Food": facts.capital(food), "Hobby": facts.capital(hobby)}
    return said.format(**fill), told.format(**fill)


def remembered(rng: random.Random, russian: bool) -> tuple[Turn, Turn]:
    """Something to remember, and the question that asks for it later."""
    if russian:
        own = facts.make_own_fact(rng, russian=True)
        asked = rng.choice(("Запомни, что {}.", "запомни: {}", "Пожалуйста, запомни, что {}."))
        return (asked.format(own.said), f"Я запомню, что {own.told}."), (own.question, f"{facts.capital(own.told)}.")
    own = facts.make_own_fact(rng)
    if rng.random() < 0.7:
        asked = rng.choice(
            (
                "Remember that {}.",
                "remember that {}",
                "Please remember that {}.",
                "Remember: {}.",
                "Note that {}.",
                "Don't forget that {}.",
                "remember {}",
            )
        )
        return (asked.format(own.said), f"I will remember that {own.told}."), (
            own.question,
            f"{facts.capital(own.told)}.",
        )
    return (facts.capital(own.said) + ".", f"Thank you, I see that {own.told}."), (
        own.question,
        f"{facts.capital(own.told)}.",
    )


def remembered_other(rng: random.Random) -> tuple[Turn, Turn]:
    """The same about somebody or something else."""
    fact = facts.make_fact(rng, rng.choice(facts.relations()))
    body = fact.statement.rstrip(".")
    if body.startswith(("The ", "We ", "You ", "By ", "In ", "Use ", "Come ", "About ", "Call ", "Opening ", "A ")):
        body = body[0].lower() + body[1:]
    asked = rng.choice(("Remember that {}.", "remember that {}", "Please remember that {}.", "Remember: {}."))
    return (asked.format(body), f"I will remember that {body}."), (fact.question, fact.answer)


def notes_block(rng: random.Random) -> tuple[list[str], list[Turn]]:
    """Notes for the system message, and questions they answer."""
    notes: list[str] = []
    turns: list[Turn] = []
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.5:
            own = facts.make_own_fact(rng)
            notes.append(
                f"{facts.capital(own.told)}.".replace("Your ", "The user's ", 1)
                if rng.random() < 0.5
                else f"{facts.capital(own.said)}."
            )
            turns.append((own.question, f"{facts.capital(own.told)}."))
        else:
            fact = facts.make_fact(rng, rng.choice(facts.relations()))
            notes.append(fact.statement)
            turns.append((fact.question, fact.answer))
    return notes, [rng.choice(turns)]


def fact_passages(rng: random.Random, material: Material, russian: bool) -> list[Turn]:
    """Questions over passages of invented facts, with passages about other things and questions without an answer."""
    relations = facts.relations(russian)
    relation = rng.choice(relations)
    count = rng.choice((1, 1, 2, 3, 3, 4))
    # Hard distractors: the same relation of another subject.
    made = [facts.make_fact(rng, relation if rng.random() < 0.5 else rng.choice(relations)) for _ in range(count)]
    made = list({fact.subject: fact for fact in made}.values())
    passages = []
    for fact in made:
        text = [fact.statement]
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            filler = (
                rng.choice(material.sentences)
                if material.sentences and not russian and rng.random() < 0.5
                else facts.make_fact(rng, rng.choice(relations)).statement
            )
            text.insert(rng.randint(0, len(text)), filler)
        title = (
            rng.choice(("note", "notes.md", "list.txt", fact.subject.strip('"'), "plan.md", "diary", "mail"))
            if not russian
            else rng.choice(("заметка", "список", "note", fact.subject))
        )
        passages.append((title, " ".join(text)))
    turns: list[Turn] = []
    for number in rng.sample(range(len(made)), min(len(made), rng.choice((1, 1, 2, 3)))):
        turns.append((made[number].question, f"{made[number].answer} [{number + 1}]"))
    if rng.random() < 0.3:
        stranger = facts.make_fact(rng, rng.choice(relations))
        if all(stranger.subject != fact.subject for fact in made):
            turns.insert(rng.randint(0, len(turns)), (stranger.question, REFUSAL_RU if russian else REFUSAL))
    return with_passages(turns, passages)


def with_passages(turns: Sequence[Turn], passages: Sequence[tuple[str, str]]) -> list[Turn]:
    """Put the passages before the first question; the others follow as they are."""
    return [(grounded_question(turns[0][0], passages), turns[0][1]), *turns[1:]]


def corpus_passages(rng: random.Random, material: Material) -> list[Turn]:
    """Questions over real paragraphs, often with a second paragraph, sometimes without an answer."""
    title, text, pairs = rng.choice(material.paragraphs)
    pairs = rng.sample(list(pairs), min(len(pairs), 5))
    if rng.random() < 0.5:
        text, pairs = window(text, pairs, rng)
    passages = [(title, text)]
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        other_title, other, _ = rng.choice(material.paragraphs)
        passages.insert(rng.randint(0, len(passages)), (other_title, " ".join(sentences_of(other)[:2])[:300]))
    number = next(index for index, passage in enumerate(passages, start=1) if passage == (title, text))
    turns = [(question, f"{answer} [{number}]") for question, answer in pairs]
    if rng.random() < 0.4:
        _, _, foreign = rng.choice(material.paragraphs)
        turns.insert(rng.randint(0, len(turns)), (rng.choice(list(foreign))[0], REFUSAL))
    return with_passages(turns, passages)


def window(text: str, pairs: Sequence[Turn], rng: random.Random) -> tuple[str, list[Turn]]:
    """One to three sentences around one answer, and the questions they still answer."""
    sentences = sentences_of(text)
    holding = [index for index, sentence in enumerate(sentences) if pairs[0][1] in sentence]
    if not holding:
        return text, list(pairs)
    first = max(0, holding[0] - rng.randint(0, 1))
    part = " ".join(sentences[first : holding[0] + 1 + rng.randint(0, 1)])
    # Another question stays only if its answer occurs nowhere else, else the window may not speak of it.
    kept = [pair for pair in pairs[1:] if pair[1] in part and text.count(pair[1]) == 1]
    return part, [pairs[0], *kept]


def sentences_of(text: str) -> list[str]:
    """Split at sentence ends; plain, because it only feeds templates."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+(?=[\"“(]?[A-ZА-ЯЁ0-9])", text) if part.strip()]


SUMMARISE = (
    "Summarise this note in one sentence: {}",
    "Summarize in one sentence: {}",
    "Put this note into one sentence: {}",
    "Sum up this note:\n{}",
    "Summarise:\n{}",
    "Give me one sentence about this: {}",
)


def summary(rng: random.Random, material: Material) -> Turn:
    """A note and its one-sentence summary: composed facts, or a paragraph and its leading sentence."""
    if material.notes and rng.random() < 0.35:
        first, text = rng.choice(material.notes)
        return rng.choice(SUMMARISE).format(text), first
    person, job, city, food = (facts.draw(kind, rng) for kind in ("person", "job", "city", "food"))
    event, day, place = facts.draw("event", rng), facts.draw("dayclock", rng), facts.draw("room", rng)
    project, leader, date = facts.draw("project", rng), facts.draw("fullname", rng), facts.draw("date", rng)
    notes, told = rng.choice(
        (
            (
                [f"{person} lives in {city}.", f"By trade {person} is a {job}."],
                f"{person} is a {job} who lives in {city}.",
            ),
            (
                [f"{person} likes {food}.", f"The home of {person} is in {city}."],
                f"{person} lives in {city} and likes {food}.",
            ),
            ([f"The {event} is on {day}.", f"Come to room {place}."], f"The {event} is on {day} in room {place}."),
            (
                [f"{leader} leads {project}.", f"The work must be finished by {date}."],
                f"{facts.capital(project)}, led by {leader}, is due on {date}.",
            ),
            (
                [f"Today I met {person}.", f"{person} told me about {city}.", "It was a nice talk."],
                f"I met {person} and we talked about {city}.",
            ),
            (
                [f"I have to buy {food} on {day}.", f"{person} is coming to dinner."],
                f"Buy {food} on {day}, because {person} is coming to dinner.",
            ),
        )
    )
    rng.shuffle(notes)
    return rng.choice(SUMMARISE).format(facts.capital(" ".join(facts.capital(note) for note in notes))), told


def unknown(rng: random.Random, material: Material) -> Turn:
    """A question without passages that the model cannot know."""
    return (rng.choice(material.trivia) if material.trivia else "What is the speed of a swallow?"), rng.choice(UNKNOWN)


def conversation(rng: random.Random, material: Material, small_talk_weight: float = 5.0) -> list[Message]:
    """A whole conversation of one to twelve turns; small talk is drawn by its weight, questions over passages by 3."""
    russian = rng.random() < 0.15
    notes, pending = notes_block(rng) if not russian and rng.random() < 0.15 else ([], [])
    makers: list[tuple[float, Callable[[], list[Turn]]]] = [
        (small_talk_weight, lambda: [small_talk(rng, russian)]),
        (3, lambda: fact_passages(rng, material, russian)),
    ]
    if not russian:
        makers += [
            (1.5, lambda: [chat_about(rng)]),
            (1.2, lambda: [summary(rng, material)]),
            (0.7, lambda: [unknown(rng, material)]),
        ]
    turns: list[Turn] = list(pending)
    for _ in range(rng.choice((1, 1, 2, 3, 4, 6))):
        if rng.random() < 0.22:
            first, later = remembered_other(rng) if not russian and rng.random() < 0.4 else remembered(rng, russian)
            turns.append(first)
            gap = rng.choice((0, 0, 1, 2))
            turns += [small_talk(rng, russian) for _ in range(gap)]
            turns.append(later)
        else:
            maker = rng.choices([m for _, m in makers], [w for w, _ in makers])[0]
            turns += maker()
    base = rng.choice(SYSTEMS)
    return as_messages(turns, system_prompt(base or SYSTEM_PROMPT, notes) if base or notes else "")


def grounded(rng: random.Random, material: Material) -> list[Message]:
    """A conversation over real paragraphs only."""
    return as_messages(corpus_passages(rng, material), rng.choice(SYSTEMS))


def dialogue(rng: random.Random, material: Material) -> list[Message]:
    """A stretch of a chat between people, without a system message: the second voice replies, at half weight."""
    turns = rng.choice(material.dialogues)
    first = rng.randrange(max(1, len(turns) - 5))
    stretch = turns[first : first + 2 * rng.choice((1, 2, 3))]
    return [
        Message("assistant" if index % 2 else "user", text, 0.5 if index % 2 else READ_WEIGHT)
        for index, text in enumerate(stretch)
    ]


def as_messages(turns: Sequence[Turn], system: str) -> list[Message]:
    """Turns as messages with loss weights: replies in full, long user messages (passages) a little."""
    messages = [Message("system", system)] if system else []
    for asked, told in turns:
        messages.append(Message("user", asked, READ_WEIGHT))
        messages.append(Message("assistant", told, 1.0))
    return messages


def job_texts(rng: random.Random, characters: int) -> Iterator[str]:
    """Conversations as plain text, for the tokenizer, until about ``characters`` characters."""
    while characters > 0:
        text = render(conversation(rng, Material())).replace("<|im_start|>", "").replace("<|im_end|>", "")
        characters -= len(text)
        yield text


def material_from(questions: Sequence[Row], prose: Sequence[Row]) -> Material:
    """Collect material from training rows.

    Args:
        questions: question rows of the training part.
        prose: prose rows of the training part.
    """
    grouped: dict[tuple[str, str], list[Turn]] = {}
    for row in questions:
        if (
            row["source"] in ("squad1.1-train", "qamr", "factbook-grounded")
            and row["context"]
            and len(row["context"]) < 1100
        ):
            title = row.get("title") or row.get("country") or "note"
            if len(row["answer"]) < 90:
                grouped.setdefault((title, row["context"]), []).append((row["question"].strip(), row["answer"].strip()))
    paragraphs = [(title, text, pairs) for (title, text), pairs in grouped.items()]
    sentences, notes = [], []
    for row in prose:
        for paragraph in row["text"].split("\n"):
            parts = sentences_of(paragraph)
            if 2 <= len(parts) <= 5 and 40 <= len(parts[0]) <= 140 and len(paragraph) < 500:
                notes.append((parts[0], paragraph))
            sentences += [part for part in parts[:2] if 20 <= len(part) <= 110]
    trivia = [
        row["question"] for row in questions if row["source"] == "opentriviaqa" and 15 < len(row["question"]) < 110
    ]
    return Material(paragraphs, sentences, notes, trivia)
