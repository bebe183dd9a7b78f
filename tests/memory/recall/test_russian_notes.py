"""The notes this project grew from, damaged ones included, as a knowledge base asked in Russian."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.kb import KnowledgeBase, KnowledgeSettings
from memory.recall.engine import Recaller

NOTES = Path(__file__).parents[4] / "shared" / "original-notes"

pytestmark = pytest.mark.skipif(not NOTES.is_dir(), reason="the original notes are not at hand")

# Question, words of the passage that answers it, and whether only a damaged file holds it.
QUESTIONS: list[tuple[str, str, bool]] = [
    ("Что такое квантизация простыми словами?", "округление восприятия", False),
    ("С чем сравнивают квантизацию: сколько цветов видит женщина и сколько мужчина?", "женщина видит 200", False),
    ("Почему квантизация опасна для философии и сокровенных смыслов?", "душа фразы", False),
    ("Какая метафора квантизации с размытием картинки?", "JPEG-размытие смысла", False),
    ("Что такое селективная деквантизация?", "распаковываем", False),
    ("Как человек работает распаковщиком сжатого знания?", "Мозг-человек как распаковщик", False),
    ("Какие слои оставляет без потерь гибридная квантизация?", "Гибридная квантизация", False),
    ("Сколько видеопамяти нужно модели Saiga 13B в 4bit?", "Saiga 13B", False),
    ("Что нужно для запуска LLaMA 65B?", "2x GPU + NVLink", False),
    ("Какие модели идеальны для ноутбуков без видеокарты?", "Идеальны для ноутбуков без GPU", False),
    ("Сколько оперативной памяти и ядер рекомендуется для среднего узла?", "8–16 ядер", False),
    ("Какой диск нужен для весов и индексов?", "NVMe", False),
    ("Что запускать, если есть только процессор?", "ЕСЛИ У ТЕБЯ ТОЛЬКО CPU", False),
    ("Зачем нужна сеть 100 Мбит/с?", "100 Мбит/с", False),
    ("Какой метод квантования учитывает важность активаций?", "AWQ", False),
    ("Какие методы требуют калибровочный датасет?", "калибровочный датасет", False),
    ("Какие форматы включает FP8?", "E4M3", False),
    ("Какой метод выбрать для минимальной потери точности?", "Для минимальной потери точности", False),
    ("Какие ограничения есть у квантования?", "Потенциальная потеря точности", False),
    ("Какие методы квантования поддерживает vLLM?", "vLLM поддерживает", False),
    ("Какой командой включить загрузку в 8 бит для Mistral?", "--load-in-8bit", True),
    ("Сколько процентов памяти потребляет Int8?", "25–30%", True),
    ("Что поддерживает bitsandbytes?", "bitsandbytes", True),
    ("Сколько VRAM занимает LLaMA 7B в 8bit?", "LLaMA 7B", True),
    ("На каком мосту от слабого ноутбука к AGI в терминале?", "мост от", True),
    ("Что даёт увеличение batch size?", "Параллельность", True),
    ("Сколько слов помещается в 2048 токенов контекста?", "1500–1800 слов", True),
    ("Какой batch и ctx выбрать для 8 ГБ видеопамяти?", "1024–2048", True),
    ("На каком адресе открывается интерфейс настроек?", "127.0.0.1:7860", True),
    ("Что происходит при уменьшении окна контекста?", "провалы памяти", True),
    ("Для какого железа подходит контекст 8192–16384?", "48+ ГБ VRAM", True),
]


@pytest.fixture(scope="module")
def recaller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recaller]:
    with KnowledgeBase(tmp_path_factory.mktemp("data"), KnowledgeSettings(model="none")) as base:
        outcome = base.add([str(NOTES)])
        assert outcome.added == 8
        assert len(outcome.marked) == 4  # the damaged ones, repaired and marked
        with_words = Recaller(base.store)
        yield with_words
        with_words.close()


def found(recaller: Recaller, question: str, words: str) -> bool:
    chunks = recaller.store.chunks([one.chunk_id for one in recaller.order(question, 3)])
    return any(words in chunk.text for chunk in chunks)


def test_nine_of_ten_questions_find_their_passage_among_three(recaller: Recaller) -> None:
    missed = [question for question, words, _ in QUESTIONS if not found(recaller, question, words)]
    assert len(QUESTIONS) >= 20
    assert 1 - len(missed) / len(QUESTIONS) >= 0.9, missed


def test_the_damaged_notes_do_as_well(recaller: Recaller) -> None:
    damaged = [(question, words) for question, words, raw in QUESTIONS if raw]
    missed = [question for question, words in damaged if not found(recaller, question, words)]
    assert 1 - len(missed) / len(damaged) >= 0.9, missed


def test_what_is_shown_is_relevant_and_cites_its_file(recaller: Recaller) -> None:
    answered = 0
    for question, words, _ in QUESTIONS:
        passages = recaller.recall(question, 2000).passages
        answered += any(words in passage.text for passage in passages)
        assert all(passage.kind == "file" and passage.end > passage.start for passage in passages)
    assert answered / len(QUESTIONS) >= 0.9


def test_other_subjects_recall_nothing(recaller: Recaller) -> None:
    for question in ("Кто написал «Евгения Онегина»?", "Как приготовить борщ?", "Столица Австралии?"):
        assert recaller.recall(question, 2000).passages == ()
