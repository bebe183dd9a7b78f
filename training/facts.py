"""Invented facts: a statement, questions that it answers, the answer in a sentence.

A model this small cannot know much, but it can learn to *find*: match a question to the one sentence that speaks of the
same thing, and copy the value. So subjects and values are drawn from large pools and half of the names are invented
syllables: nothing can be learned by heart, only looked up.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

FIRST = ["Anna", "Olga", "Maria", "Elena", "Sofia", "Nina", "Vera", "Irina", "Peter", "Ivan", "Boris", "Viktor", "Pavel", "Anton", "Oleg", "John", "Mary", "Tom", "Kate", "Alice", "Bob", "Emma", "Jack", "Lucy", "David", "Sarah", "Paul", "Laura", "Mark", "Julia", "Simon", "Clara", "Hans", "Greta", "Marco", "Chiara", "Luis", "Carmen", "Ali", "Leila", "Omar", "Amir", "Yuki", "Kenji", "Mei", "Chen", "Ravi", "Priya", "Asha", "Kofi", "Ama", "Zoe", "Max", "Leo", "Mia", "Ben", "Ella", "Sam", "Ruth", "Noah", "Ida", "Otto", "Frida", "Nora", "Erik", "Ingrid", "Hugo"]
CITIES = ["Paris", "London", "Berlin", "Rome", "Madrid", "Moscow", "Vienna", "Prague", "Oslo", "Lisbon", "Dublin", "Athens", "Warsaw", "Helsinki", "Tokyo", "Cairo", "Boston", "Chicago", "Toronto", "Sydney", "Lyon", "Milan", "Porto", "Geneva", "Riga", "Kazan", "Tver", "Omsk", "Lima", "Delhi", "Seoul", "Hanoi", "Nairobi", "Quito"]
JOBS = ["teacher", "doctor", "nurse", "baker", "driver", "writer", "painter", "lawyer", "cook", "farmer", "pilot", "engineer", "singer", "gardener", "plumber", "librarian", "dentist", "carpenter", "tailor", "waiter", "judge", "chemist", "sailor", "miner", "actor", "tutor"]
COLOURS = ["red", "blue", "green", "yellow", "black", "white", "grey", "brown", "orange", "purple", "pink", "silver"]
FOODS = (
    ["apples", "soup", "bread", "rice", "fish", "cheese", "pasta", "cake", "honey", "nuts", "plums", "grapes", "pizza", "beans", "eggs", "tea", "coffee", "salad"]
)
THINGS = ["key", "book", "lamp", "bag", "umbrella", "passport", "ticket", "camera", "ring", "map", "coat", "bicycle", "spare", "key", "ladder", "drill", "tent"]
PLACES = ["kitchen", "garage", "cellar", "attic", "bedroom", "office", "hall", "garden", "shed", "bathroom", "desk", "drawer", "wardrobe", "car"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
PETS = ["dog", "cat", "parrot", "horse", "rabbit", "hamster"]
KIN = ["sister", "brother", "mother", "father", "wife", "husband", "son", "daughter", "uncle", "aunt", "boss", "neighbour", "teacher", "friend", "doctor"]
CONSONANTS, VOWELS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "br", "dr", "kr", "st", "tr", "gl"], ["a", "e", "i", "o", "u"]

# relation: subject kind, value kind, statements, questions, answers. {s} is the subject, {v} the value.
Relation = tuple[str, str, tuple[str, ...], tuple[str, ...], str]
RELATIONS: tuple[Relation, ...] = (
    ("person", "city", ("{s} lives in {v}.", "{s} has a flat in {v}.", "The home of {s} is in {v}."),
     ("Where does {s} live?", "In which city does {s} live?", "Which city is the home of {s}?"), "{s} lives in {v}."),
    ("person", "job", ("{s} works as a {v}.", "{s} is a {v}.", "By trade {s} is a {v}."),
     ("What does {s} do?", "What is the job of {s}?", "What does {s} work as?"), "{s} works as a {v}."),
    ("person", "date", ("{s} was born on {v}.", "The birthday of {s} is on {v}.", "{s}'s birthday is {v}."),
     ("When is {s}'s birthday?", "When was {s} born?", "What is the birthday of {s}?"), "{s}'s birthday is on {v}."),
    ("person", "food", ("{s} likes {v}.", "{s} loves to eat {v}.", "The favourite food of {s} is {v}."),
     ("What does {s} like?", "What is the favourite food of {s}?", "What does {s} like to eat?"), "{s} likes {v}."),
    ("person", "phone", ("The phone number of {s} is {v}.", "{s} can be called at {v}.", "Call {s} at {v}."),
     ("What is the phone number of {s}?", "How can I call {s}?", "What number does {s} have?"), "The phone number of {s} is {v}."),
    ("person", "name", ("The dog of {s} is called {v}.", "{s} has a dog named {v}.", "{s}'s dog is {v}."),
     ("What is the name of {s}'s dog?", "What is the dog of {s} called?", "How is {s}'s dog called?"), "{s}'s dog is called {v}."),
    ("person", "colour", ("{s} has a {v} car.", "The car of {s} is {v}.", "{s} drives a {v} car."),
     ("What colour is {s}'s car?", "What color is the car of {s}?", "Which car does {s} drive?"), "{s}'s car is {v}."),
    ("person", "fullname", ("{s} is married to {v}.", "{s} and {v} are married.", "The partner of {s} is {v}."),
     ("Who is {s} married to?", "Who is the partner of {s}?", "Whom did {s} marry?"), "{s} is married to {v}."),
    ("thing", "place", ("The {s} is in the {v}.", "We keep the {s} in the {v}.", "You will find the {s} in the {v}."),
     ("Where is the {s}?", "Where do we keep the {s}?", "Where can I find the {s}?"), "The {s} is in the {v}."),
    ("project", "fullname", ("{s} is led by {v}.", "The leader of {s} is {v}.", "{v} leads {s}.", "{v} is in charge of {s}."),
     ("Who leads {s}?", "Who is the leader of {s}?", "Who is in charge of {s}?"), "{s} is led by {v}."),
    ("project", "date", ("The deadline of {s} is {v}.", "{s} must be finished by {v}.", "{s} is due on {v}."),
     ("When is {s} due?", "What is the deadline of {s}?", "When must {s} be finished?"), "The deadline of {s} is {v}."),
    ("project", "money", ("The budget of {s} is {v}.", "{s} has a budget of {v}.", "{s} costs {v}."),
     ("What is the budget of {s}?", "How much does {s} cost?", "How large is the budget of {s}?"), "The budget of {s} is {v}."),
    ("event", "dayclock", ("The {s} is on {v}.", "The {s} starts on {v}.", "The {s} takes place on {v}."),
     ("When is the {s}?", "When does the {s} start?", "On which day is the {s}?"), "The {s} is on {v}."),
    ("event", "room", ("The {s} is held in room {v}.", "The {s} takes place in room {v}.", "Come to room {v} for the {s}."),
     ("Where is the {s}?", "In which room is the {s}?", "Which room is the {s} in?"), "The {s} is in room {v}."),
    ("land", "name", ("The capital of {s} is {v}.", "{v} is the capital of {s}.", "{s} has its capital in {v}."),
     ("What is the capital of {s}?", "Which city is the capital of {s}?", "What is the main city of {s}?"), "The capital of {s} is {v}."),
    ("land", "number", ("{s} has {v} inhabitants.", "The population of {s} is {v}.", "About {v} people live in {s}."),
     ("How many people live in {s}?", "What is the population of {s}?", "How many inhabitants does {s} have?"), "{s} has {v} inhabitants."),
    ("land", "name", ("The longest river of {s} is the {v}.", "The river {v} flows through {s}.", "{s} lies on the river {v}."),
     ("What is the longest river of {s}?", "Which river flows through {s}?", "What river is in {s}?"), "The river of {s} is the {v}."),
    ("company", "year", ("{s} was founded in {v}.", "{s} has existed since {v}.", "In {v} {s} was founded."),
     ("When was {s} founded?", "In which year was {s} founded?", "Since when does {s} exist?"), "{s} was founded in {v}."),
    ("company", "fullname", ("{s} was founded by {v}.", "{v} founded {s}.", "The founder of {s} is {v}."),
     ("Who founded {s}?", "Who is the founder of {s}?", "Who started {s}?"), "{s} was founded by {v}."),
    ("company", "city", ("{s} is based in {v}.", "The office of {s} is in {v}.", "{s} has its office in {v}."),
     ("Where is {s} based?", "Where is the office of {s}?", "In which city is {s}?"), "{s} is based in {v}."),
    ("server", "code", ("The password of the {s} is {v}.", "Use the password {v} for the {s}.", "The {s} password is {v}."),
     ("What is the password of the {s}?", "Which password does the {s} have?", "How do I log in to the {s}?"), "The password of the {s} is {v}."),
    ("server", "port", ("The {s} listens on port {v}.", "The {s} uses port {v}.", "The port of the {s} is {v}."),
     ("Which port does the {s} use?", "What is the port of the {s}?", "On which port is the {s}?"), "The {s} uses port {v}."),
    ("shop", "hours", ("The {s} is open from {v}.", "The {s} opens daily from {v}.", "Opening hours of the {s}: {v}."),
     ("When is the {s} open?", "What are the opening hours of the {s}?", "What are the hours of the {s}?"), "The {s} is open from {v}."),
    ("shop", "money", ("A ticket to the {s} costs {v}.", "The {s} charges {v}.", "The price at the {s} is {v}."),
     ("How much is the {s}?", "What does the {s} cost?", "What is the price at the {s}?"), "The {s} costs {v}."),
    ("book", "fullname", ("{s} was written by {v}.", "{v} wrote {s}.", "The author of {s} is {v}."),
     ("Who wrote {s}?", "Who is the author of {s}?", "By whom was {s} written?"), "{s} was written by {v}."),
)  # fmt: skip
RELATIONS_RU: tuple[Relation, ...] = (
    ("person_ru", "city_ru", ("{s}: город {v}.", "{s} живёт здесь: {v}."), ("В каком городе живёт {s}?", "Где живёт {s}?"), "{s}: город {v}."),
    ("person_ru", "phone", ("Телефон: {s}, {v}.", "{s}: телефон {v}."), ("Какой телефон? {s}.", "{s}: какой телефон?"), "{s}: телефон {v}."),
    ("person_ru", "job_ru", ("{s} — {v}.", "{s} работает, профессия: {v}."), ("Кто по профессии {s}?", "Кем работает {s}?"), "{s} — {v}."),
    ("person_ru", "date_ru", ("{s}: день рождения {v}.", "{s} празднует день рождения {v}."), ("Когда день рождения празднует {s}?", "Когда родился человек по имени {s}?"), "{s}: день рождения {v}."),
    ("event_ru", "clock", ("{s} начинается в {v}.", "{s} — в {v}."), ("Когда начинается {s}?", "Во сколько {s}?"), "{s} начинается в {v}."),
    ("event_ru", "day_ru", ("{s} будет в {v}.", "{s} пройдёт в {v}."), ("В какой день {s}?", "Когда будет {s}?"), "{s} будет в {v}."),
    ("thing_ru", "place_ru", ("{s} лежит {v}.", "{s} находится {v}."), ("Где лежит {s}?", "Где находится {s}?"), "{s} лежит {v}."),
    ("land_ru", "name_ru", ("Столица страны {s} — {v}.", "{v} — столица страны {s}."), ("Какой город столица страны {s}?", "Как называется столица страны {s}?"), "Столица страны {s} — {v}."),
    ("server_ru", "code", ("Пароль от {s}: {v}.", "Для {s} нужен пароль {v}."), ("Какой пароль от {s}?", "Какой пароль нужен для {s}?"), "Пароль от {s}: {v}."),
    ("shop_ru", "money_ru", ("{s} стоит {v}.", "Цена: {s} — {v}."), ("Сколько стоит {s}?", "Какая цена: {s}?"), "{s} стоит {v}."),
)  # fmt: skip
# What a person says of themselves: after "my", value kind, question.
OWN: tuple[tuple[str, str, str, str], ...] = (
    ("name is {v}", "person1", "What is my name?", "name is {v}"),
    ("{kin}'s name is {v}", "person1", "What is my {kin}'s name?", "{kin}'s name is {v}"),
    ("{kin} is called {v}", "person1", "What is my {kin} called?", "{kin} is called {v}"),
    ("{kin} lives in {v}", "city", "Where does my {kin} live?", "{kin} lives in {v}"),
    ("{kin}'s birthday is on {v}", "date", "When is my {kin}'s birthday?", "{kin}'s birthday is on {v}"),
    ("{kin} likes {v}", "food", "What does my {kin} like?", "{kin} likes {v}"),
    ("{pet} is called {v}", "name", "What is my {pet} called?", "{pet} is called {v}"),
    ("{pet}'s name is {v}", "name", "What is my {pet}'s name?", "{pet}'s name is {v}"),
    ("birthday is on {v}", "date", "When is my birthday?", "birthday is on {v}"),
    ("favourite colour is {v}", "colour", "What is my favourite colour?", "favourite colour is {v}"),
    ("favorite color is {v}", "colour", "What is my favorite color?", "favorite color is {v}"),
    ("favourite food is {v}", "food", "What is my favourite food?", "favourite food is {v}"),
    ("car is {v}", "colour", "What colour is my car?", "car is {v}"),
    ("meeting is on {v}", "dayclock", "When is my meeting?", "meeting is on {v}"),
    ("flight leaves on {v}", "dayclock", "When does my flight leave?", "flight leaves on {v}"),
    ("{thing} is in the {v}", "place", "Where is my {thing}?", "{thing} is in the {v}"),
    ("password is {v}", "code", "What is my password?", "password is {v}"),
    ("phone number is {v}", "phone", "What is my phone number?", "phone number is {v}"),
    ("home town is {v}", "city", "What is my home town?", "home town is {v}"),
    ("job is {v}", "job", "What is my job?", "job is {v}"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One invented fact."""

    subject: str
    statement: str
    question: str
    answer: str
    russian: bool = False


def invented_name(rng: random.Random) -> str:
    """Two or three syllables, capitalised."""
    syllables = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.choice((2, 2, 3))))
    return (syllables + rng.choice(("", "", "n", "r", "s", "l"))).capitalize()


def clock(rng: random.Random) -> str:
    """A time of day."""
    return f"{rng.randint(7, 21)}:{rng.choice(('00', '15', '30', '45'))}"


def draw(kind: str, rng: random.Random) -> str:  # one line a kind of name or value
    """A subject or value of a kind."""
    first = rng.choice(FIRST) if rng.random() < 0.6 else invented_name(rng)
    makers = {
        "person1": lambda: first,
        "person": lambda: first if rng.random() < 0.6 else f"{first} {invented_name(rng)}",
        "fullname": lambda: f"{first} {invented_name(rng)}",
        "name": lambda: invented_name(rng),
        "land": lambda: invented_name(rng) + rng.choice(("ia", "land", "", "stan")),
        "city": lambda: rng.choice(CITIES) if rng.random() < 0.6 else invented_name(rng),
        "job": lambda: rng.choice(JOBS),
        "colour": lambda: rng.choice(COLOURS),
        "food": lambda: rng.choice(FOODS),
        "thing": lambda: rng.choice(THINGS),
        "place": lambda: rng.choice(PLACES),
        "date": lambda: f"{rng.randint(1, 28)} {rng.choice(MONTHS)}",
        "dayclock": lambda: rng.choice(DAYS) + (f" at {clock(rng)}" if rng.random() < 0.7 else ""),
        "clock": lambda: clock(rng),
        "year": lambda: str(rng.randint(1700, 2024)),
        "number": lambda: f"{rng.randint(2, 999)},{rng.randint(0, 999):03d}",
        "money": lambda: f"{rng.randint(2, 990)} {rng.choice(('euros', 'dollars', 'pounds'))}",
        "phone": lambda: f"{rng.randint(100, 999)}-{rng.randint(10, 99)}-{rng.randint(10, 99)}",
        "room": lambda: str(rng.randint(1, 499)),
        "port": lambda: str(rng.randint(1024, 9999)),
        "code": lambda: invented_name(rng).lower() + str(rng.randint(1, 99)),
        "hours": lambda: f"{rng.randint(6, 10)}:00 to {rng.randint(16, 22)}:00",
        "project": lambda: f"{rng.choice(('project', 'Project', 'the project'))} {invented_name(rng)}",
        "company": lambda: invented_name(rng) + rng.choice((" Ltd", " Group", "", " Works", " Bank")),
        "event": lambda: rng.choice(
            ("meeting", "concert", "lesson", "party", "exam", "lecture", "dinner", "workshop", "choir", "match")
        ) + (f" with {first}" if rng.random() < 0.6 else ""),
        "server": lambda: rng.choice(("server", "router", "database", "printer", "wifi", "test machine", "backup"))
        + (f" {invented_name(rng)}" if rng.random() < 0.6 else ""),
        "shop": lambda: f"{invented_name(rng)} {rng.choice(('museum', 'library', 'bakery', 'pool', 'zoo', 'market'))}",
        "book": lambda: f'"The {rng.choice(("Last", "Old", "Silent", "Red", "Long", "Lost"))} {invented_name(rng)}"',
        "person_ru": lambda: rng.choice(["Анна", "Ольга", "Мария", "Елена", "Нина", "Вера", "Иван", "Борис", "Павел", "Антон", "Олег", "Пётр", "Юля", "Саша", "Миша", "Катя", "Лев", "Зоя"]),
        "city_ru": lambda: rng.choice(["Москва", "Тверь", "Казань", "Омск", "Пермь", "Самара", "Париж", "Рига", "Минск", "Тула", "Псков", "Сочи", "Уфа", "Рим", "Берлин"]),
        "job_ru": lambda: rng.choice(["учитель", "врач", "повар", "водитель", "писатель", "художник", "юрист", "инженер", "пекарь", "лётчик", "актёр"]),
        "date_ru": lambda: f"{rng.randint(1, 28)} {rng.choice(['января', 'февраля', 'марта', 'апреля', 'мая', 'июня', 'июля', 'августа', 'сентября', 'октября', 'ноября', 'декабря'])}",
        "event_ru": lambda: rng.choice(["Встреча", "Концерт", "Урок", "Экзамен", "Лекция", "Ужин", "Праздник", "Матч", "Собрание", "Поезд"]),
        "day_ru": lambda: rng.choice(["понедельник", "вторник", "среду", "четверг", "пятницу", "субботу", "воскресенье"]),
        "thing_ru": lambda: rng.choice(["Ключ", "Паспорт", "Зонт", "Билет", "Книга", "Лампа", "Карта", "Кольцо", "Сумка", "Фонарь"]),
        "place_ru": lambda: rng.choice(("в столе", "на кухне", "в гараже", "в сумке", "в шкафу", "в саду", "на полке", "в машине", "дома", "в офисе")),
        "land_ru": lambda: rng.choice(["Бр", "Т", "К", "Гл", "М", "Др", "Н", "Р", "С", "В"]) + rng.choice(["овия", "арния", "елия", "ондия", "устан", "ирия"]),
        "name_ru": lambda: rng.choice(["Бр", "Т", "К", "Гл", "М", "Др", "Н", "Р", "С", "В"]) + rng.choice(["ан", "ос", "ель", "ург", "ово", "инск", "оград", "ат", "уна"]),
        "server_ru": lambda: rng.choice(["сервера", "wifi", "почты", "базы", "сайта", "принтера", "компьютера", "телефона"]),
        "shop_ru": lambda: rng.choice(["Хлеб", "Билет", "Книга", "Стол", "Лампа", "Чай", "Кофе", "Велосипед", "Пальто", "Сыр"]),
        "money_ru": lambda: f"{rng.randint(20, 9900)} рублей",
    }  # fmt: skip
    return makers[kind]()


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def make_fact(rng: random.Random, relation: Relation) -> Fact:
    """A random fact of one relation."""
    subject_kind, value_kind, statements, questions, answer = relation
    subject, value = draw(subject_kind, rng), draw(value_kind, rng)
    fill = {"s": subject, "v": value}
    return Fact(
        subject=subject,
        statement=capital(rng.choice(statements).format(**fill)),
        question=capital(rng.choice(questions).format(**fill)),
        answer=capital(answer.format(**fill)),
        russian=relation in RELATIONS_RU,
    )


@dataclass(frozen=True, slots=True)
class OwnFact:
    """A fact about the person: said as "my …", answered as "Your …"."""

    said: str
    question: str
    told: str


def make_own_fact(rng: random.Random) -> OwnFact:
    """A random fact a person tells about themselves."""
    said, kind, question, told = rng.choice(OWN)
    fill = {"v": draw(kind, rng), "kin": rng.choice(KIN), "pet": rng.choice(PETS), "thing": rng.choice(THINGS)}
    return OwnFact(f"my {said.format(**fill)}", question.format(**fill), f"your {told.format(**fill)}")


OWN_RU: tuple[tuple[str, str, str, str], ...] = (
    ("меня зовут {v}", "person_ru", "Как меня зовут?", "вас зовут {v}"),
    ("мою собаку зовут {v}", "name_ru", "Как зовут мою собаку?", "вашу собаку зовут {v}"),
    ("мою сестру зовут {v}", "person_ru", "Как зовут мою сестру?", "вашу сестру зовут {v}"),
    ("моего брата зовут {v}", "person_ru", "Как зовут моего брата?", "вашего брата зовут {v}"),
    ("мой город — {v}", "city_ru", "Какой мой город?", "ваш город — {v}"),
    ("мой день рождения {v}", "date_ru", "Когда мой день рождения?", "ваш день рождения {v}"),
    ("моя встреча в {v}", "clock", "Когда моя встреча?", "ваша встреча в {v}"),
    ("мой ключ {v}", "place_ru", "Где мой ключ?", "ваш ключ {v}"),
    ("мой пароль {v}", "code", "Какой мой пароль?", "ваш пароль {v}"),
)


def make_own_fact_ru(rng: random.Random) -> OwnFact:
    """The same in Russian."""
    said, kind, question, told = rng.choice(OWN_RU)
    value = draw(kind, rng)
    return OwnFact(said.format(v=value), question, told.format(v=value))
