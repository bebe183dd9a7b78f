r"""Measure the pocket model at 16, 8 and 4 bits, and what it is compared with.

Held-out prose (bits a byte), held-out questions with the passage and with distractors (exact match, F1, citation),
questions without an answer (refusal), and the gap between the tiers (top-1 agreement, KL divergence). All text comes
from documents that no training run saw; SQuAD's development set is used for nothing else.

    python -m training.evaluate --gguf backends/pocket/pocket-F16.gguf --data build/pocket/data \
        --eval ../shared/eval --json training/results.json
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import facts, jobs
from training.baselines import ByteNgram, best_sentence
from training.formats import IM_END, SYSTEM_PROMPT, Message, grounded_question, render
from training.llama_file import LlamaFile
from training.scores import exact_match, f1, refuses, split_citation
from training.sources import FILES, read_rows, split_prose

TIERS = {"16-bit": None, "8-bit": "MOSTLY_Q8_0", "4-bit": "MOSTLY_Q4_K_M"}
WINDOW = 512  # tokens scored at a time
ANSWER_TOKENS = 40
CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class Question:
    """A question with numbered passages; ``gold`` is None where the passages do not answer it."""

    question: str
    passages: tuple[tuple[str, str], ...]
    gold: str | None
    cited: int = 0


def quantize(source: Path, kind: str, out: Path) -> None:
    """Make a tier with llama.cpp, in this process.

    Raises:
        RuntimeError: llama.cpp refused.
    """
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_{kind}")
    parameters.nthread = 1
    if llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), parameters):
        raise RuntimeError(f"llama.cpp could not make {kind} from {source}")


def log_softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Log-probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def bits_per_byte(model: LlamaFile, texts: Sequence[str]) -> float:
    """Bits a byte of texts costs; the first token of each window is given."""
    bits, size = 0.0, 0
    for text in texts:
        ids = model.tokens(text)
        for start in range(0, len(ids) - 1, WINDOW):
            window = ids[start : start + WINDOW]
            if len(window) < 2:
                continue
            logs = log_softmax(model.logits(window)[:-1])
            bits -= float(logs[np.arange(len(window) - 1), window[1:]].sum()) / math.log(2)
            size += len(model.llama.detokenize(window[1:]))
    return bits / size


def gap(high: LlamaFile, low: LlamaFile, texts: Sequence[str]) -> dict[str, float]:
    """How far the low tier is from the high one, teacher-forced."""
    agree, divergences = [], []
    for text in texts:
        window = high.tokens(text)[:WINDOW]
        if len(window) < 2:
            continue
        p, q = log_softmax(high.logits(window)), log_softmax(low.logits(window))
        agree.append(p.argmax(-1) == q.argmax(-1))
        divergences.append((np.exp(p) * (p - q)).sum(-1))
    divergence = np.concatenate(divergences)
    return {
        "top1_agreement": round(float(np.concatenate(agree).mean()), 4),
        "kl_mean": round(float(divergence.mean()), 6),
        "kl_99": round(float(np.quantile(divergence, 0.99)), 5),
        "tokens": len(divergence),
    }


def ask(model: LlamaFile, item: Question) -> str:
    """The model's greedy reply to a grounded question."""
    user = grounded_question(item.question, item.passages)
    messages = [Message("system", SYSTEM_PROMPT), Message("user", user)]
    return model.greedy(render(messages, generation_prompt=True), ANSWER_TOKENS, IM_END)


def grade(replies: Sequence[str], items: Sequence[Question]) -> dict[str, float]:
    """Mean scores of replies; a refusal of an answerable question scores nothing."""
    if all(item.gold is None for item in items):
        return {"refused": mean([float(refuses(reply)) for reply in replies]), "n": len(items)}
    parts = [split_citation(reply) for reply in replies]
    golds = [item.gold or "" for item in items]
    return {
        "exact": mean([exact_match(text, gold) for (text, _), gold in zip(parts, golds, strict=True)]),
        "f1": mean([f1(text, gold) for (text, _), gold in zip(parts, golds, strict=True)]),
        "cited": mean([float(number == item.cited) for (_, number), item in zip(parts, items, strict=True)]),
        "refused": mean([float(refuses(reply)) for reply in replies]),
        "n": len(items),
    }


def mean(values: Sequence[float]) -> float:
    """Mean to four places."""
    return round(sum(values) / len(values), 4) if values else 0.0


def held_out_questions(folder: Path, count: int, seed: int) -> dict[str, list[Question]]:
    """Question sets by task, the same for every tier."""
    rng = random.Random(seed)
    rows = [row for row in read_rows(folder / "qa_en.jsonl.xz") if row["context"] and len(row["context"]) < 900]
    answered = [row for row in rows if row["source"] == "squad1.1-dev"]
    open_questions = [row for row in rows if row["source"] == "squad2.0-dev" and row.get("unanswerable")]
    sentences = [row for row in rows if row["source"] == "qamr"]
    russian = [row for row in read_rows(folder / "qa_ru.jsonl.xz") if len(row["context"]) < 700]
    tasks: dict[str, list[Question]] = {
        "passage": [alone(row) for row in rng.sample(answered, count)],
        "distractors": [among(row, rng.sample(answered, 2), rng) for row in rng.sample(answered, count)],
        "sentence": [alone(row) for row in rng.sample(sentences, count)],
        "facts": invented(rng, count),
        "russian": [alone(row) for row in rng.sample(russian, min(count // 2, len(russian)))],
        "absent_foreign": [foreign(*rng.sample(answered, 2)) for _ in range(count)],
        "absent_squad2": [
            Question(r["question"], (("note", r["context"]),), None) for r in rng.sample(open_questions, count)
        ],
    }
    tasks["absent_facts"] = [
        Question(item.question, others.passages, None)
        for item, others in zip(tasks["facts"], tasks["facts"][1:], strict=False)
    ]
    return tasks


def alone(row: dict[str, Any]) -> Question:
    """A question with only its own passage."""
    return Question(row["question"], ((row.get("title") or "note", row["context"]),), row["answer"], 1)


def among(row: dict[str, Any], others: Sequence[dict[str, Any]], rng: random.Random) -> Question:
    """A question whose passage stands among the first sentences of others."""
    own = (row.get("title") or "note", row["context"])
    passages = [(o.get("title") or "note", " ".join(jobs.sentences_of(o["context"])[:2])[:300]) for o in others]
    place = rng.randint(0, len(passages))
    passages.insert(place, own)
    return Question(row["question"], tuple(passages), row["answer"], place + 1)


def foreign(row: dict[str, Any], other: dict[str, Any]) -> Question:
    """A question asked of another article's passage."""
    return Question(row["question"], (("note", other["context"]),), None)


def invented(rng: random.Random, count: int) -> list[Question]:
    """Invented facts among two of the same kind: fresh names, so only looking up helps."""
    items = []
    for _ in range(count):
        relation = rng.choice(facts.relations())
        made = [facts.make_fact(rng, relation) for _ in range(3)]
        place = rng.randrange(3)
        items.append(
            Question(
                made[place].question, tuple(("note", fact.statement) for fact in made), made[place].answer, place + 1
            )
        )
    return items


def evaluate_tier(model: LlamaFile, prose: dict[str, list[str]], tasks: dict[str, list[Question]]) -> dict[str, Any]:
    """All figures of one tier, and a few replies to read."""
    result: dict[str, Any] = {
        "bits_per_byte": {name: round(bits_per_byte(model, texts), 4) for name, texts in prose.items()}
    }
    result["tasks"], result["examples"] = {}, {}
    for name, items in tasks.items():
        fitting = [
            item for item in items if len(model.tokens(grounded_question(item.question, item.passages))) < CONTEXT - 80
        ]
        replies = [ask(model, item) for item in fitting]
        result["tasks"][name] = grade(replies, fitting)
        result["examples"][name] = [
            {"question": item.question, "gold": item.gold, "reply": reply}
            for item, reply in zip(fitting[:8], replies[:8], strict=True)
        ]
    return result


def baselines(
    prose: dict[str, list[str]], tasks: dict[str, list[Question]], corpus: Path, megabytes: float
) -> dict[str, Any]:
    """N-gram bits per byte, and answers by the best sentence."""
    result: dict[str, Any] = {"ngram_bits_per_byte": {}, "best_sentence": {}}
    rng = random.Random(7)
    for name, file in (("english", "prose_en"), ("russian", "prose_ru")):
        texts = [row["text"] for row in split_prose(read_rows(corpus / FILES[file])).train]
        ngram = ByteNgram(5)
        ngram.train(first_characters(rng.sample(texts, len(texts)), int(megabytes * 1e6)))
        result["ngram_bits_per_byte"][name] = round(ngram.bits_per_byte(prose[name]), 4)
    for name, items in tasks.items():
        if items[0].gold is None:
            continue
        replies = [best_sentence(item.question, [text for _, text in item.passages]) for item in items]
        graded = grade(replies, items)
        result["best_sentence"][name] = {"exact": graded["exact"], "f1": graded["f1"], "n": graded["n"]}
    return result


def first_characters(texts: Sequence[str], limit: int) -> list[str]:
    """Texts up to about ``limit`` characters."""
    taken: list[str] = []
    for text in texts:
        if limit <= 0:
            break
        taken.append(text[:limit])
        limit -= len(text)
    return taken


def sample_prose(data: Path, count: int, seed: int) -> dict[str, list[str]]:
    """Held-out documents by language, the first 2,000 characters of each."""
    held = json.loads((data / "held_out.json").read_text(encoding="utf-8"))
    rng = random.Random(seed)
    return {name: [text[:2000] for text in rng.sample(texts, min(count, len(texts)))] for name, texts in held.items()}


def chat_texts(tasks: dict[str, list[Question]]) -> list[str]:
    """Grounded prompts with their answers: the text the gate will meet."""
    texts = []
    for item in [*tasks["passage"][:30], *tasks["facts"][:30]]:
        user = grounded_question(item.question, item.passages)
        answer = f"{item.gold} [{item.cited}]"
        texts.append(render([Message("system", SYSTEM_PROMPT), Message("user", user), Message("assistant", answer)]))
    return texts


def evaluate(
    gguf: Path, prose: dict[str, list[str]], tasks: dict[str, list[Question]], say: Callable[[str], None]
) -> dict[str, Any]:
    """Figures of every tier of a 16-bit GGUF, and the gap to it."""
    results: dict[str, Any] = {"tiers": {}, "gap_to_16_bit": {}}
    with tempfile.TemporaryDirectory() as folder, LlamaFile(gguf, CONTEXT) as high:
        for tier, kind in TIERS.items():
            path = gguf
            if kind:
                path = Path(folder) / f"{tier}.gguf"
                quantize(gguf, kind, path)
            with LlamaFile(path, CONTEXT) as model:
                results["tiers"][tier] = evaluate_tier(model, prose, tasks) | {
                    "megabytes": round(path.stat().st_size / 1e6, 2)
                }
                if kind:
                    results["gap_to_16_bit"][tier] = {
                        "prose": gap(high, model, prose["english"]),
                        "russian": gap(high, model, prose["russian"]),
                        "chat": gap(high, model, chat_texts(tasks)),
                    }
            say(f"{tier} measured")
    return results


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, default=Path("backends/pocket/pocket-F16.gguf"))
    parser.add_argument("--data", type=Path, default=Path("build/pocket/data"))
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--eval", type=Path, default=Path("../shared/eval"))
    parser.add_argument("--json", type=Path, default=Path("training/results.json"))
    parser.add_argument("--questions", type=int, default=150, help="questions a task")
    parser.add_argument("--documents", type=int, default=40, help="held-out documents a language")
    parser.add_argument("--ngram-megabytes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument(
        "--part", choices=("all", "tiers", "baselines"), default="all", help="keep the other part's figures"
    )
    arguments = parser.parse_args()
    prose = sample_prose(arguments.data, arguments.documents, arguments.seed)
    tasks = held_out_questions(arguments.eval, arguments.questions, arguments.seed)
    results: dict[str, Any] = {}
    if arguments.part != "all":
        results = json.loads(arguments.json.read_text(encoding="utf-8")) if arguments.json.exists() else {}
    if arguments.part != "baselines":
        results |= evaluate(arguments.gguf, prose, tasks, lambda line: print(line, flush=True))
    if arguments.part != "tiers":
        results["baselines"] = baselines(prose, tasks, arguments.corpus, arguments.ngram_megabytes)
    results["settings"] = {
        "questions": arguments.questions,
        "documents": arguments.documents,
        "seed": arguments.seed,
        "ngram_megabytes": arguments.ngram_megabytes,
    }
    arguments.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{arguments.json} written")


if __name__ == "__main__":
    main()
