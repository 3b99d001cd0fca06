"""Sentences with people, addresses and places in them, made up for training; their shapes stand beside this file.

A line is a shape, `\\n` a line's end in it. `{N}` is a full name, `{F}` and `{L}` its parts, `{T}` one with a title,
`{A}` an address, `{S}` its first line, `{X}` a street without a number, `{Z}` a postcode, `{C}` a town, `{R}` a region,
`{K}` a country, `{O}` an organisation, `{B}` a product, `{J}` a job, `{W}` a matter, `{U}` a login, `{E}` an e-mail
address, `{P}` a phone number, `{D}` a date, `{Y}` a year, `{M}` an amount of money, `{I}` another number.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from faker import Faker

from guardrails.sentences.gazetteer import Gazetteer

_SHOUTED = {"C": 0.12, "N": 0.02, "L": 0.04}  # how often a value is in capitals in an ordinary sentence
_SLOT = re.compile(r"\{([A-Z])\}")
_LABELS = {
    "N": "NAME",
    "F": "NAME",
    "L": "NAME",
    "A": "ADDRESS",
    "S": "ADDRESS",
    "X": "ADDRESS",
    "Z": "ADDRESS",
} | dict.fromkeys("CRK", "LOCATION")


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    spans: tuple[tuple[str, int, int], ...]  # label, start, end


class Maker:
    """Makes sentences; the same seed makes the same ones."""

    def __init__(self, seed: int, gazetteer: Gazetteer) -> None:
        self._random = random.Random(seed)
        Faker.seed(seed)
        folder = Path(__file__).parent
        self._words: Mapping[str, list[str]] = yaml.safe_load((folder / "words.yaml").read_text(encoding="utf-8"))
        self._fakers = [Faker(locale) for locale in self._words["locales"]]
        self._gazetteer = gazetteer
        self._shapes = {
            name: (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
            for name in ("people", "places", "nothing")
        }
        self._slots: Mapping[str, Callable[[Faker], str]] = {
            "N": self._name,
            "F": self._first,
            "L": self._last,
            "A": self._address,
            "S": self._street_line,
            "X": self._street,
            "Z": lambda fake: str(fake.postcode()),
            "C": self._town,
            "R": self._region,
            "K": self._country,
            "O": self._organisation,
            "B": lambda _: self._one("products"),
            "J": lambda _: self._one("jobs"),
            "W": lambda _: self._one("matters"),
            "U": lambda fake: str(fake.user_name()),
            "E": lambda fake: str(fake.ascii_email()),
            "P": lambda fake: str(fake.phone_number()),
            "D": self._date,
            "Y": lambda _: str(self._random.randint(1890, 2026)),
            "M": self._money,
            "I": self._number,
        }

    def sentences(self, count: int) -> Iterator[Sentence]:
        for _ in range(count):
            kinds = self._random.choices(
                ("people", "places", "nothing"), (9, 6, 5), k=self._random.choice((1, 1, 1, 2, 3))
            )
            shapes = [self._random.choice(self._shapes[kind]) for kind in kinds]
            yield self._cased(self._filled(self._random.choice((" ", "\n", "\n\n")).join(shapes)))

    def _one(self, words: str) -> str:
        return self._random.choice(self._words[words])

    def _filled(self, shape: str) -> Sentence:
        fake = self._random.choice(self._fakers)
        template = shape.replace("\\n", "\n")
        spans: list[tuple[str, int, int]] = []
        text, done = "", 0
        for slot in _SLOT.finditer(template):
            text += template[done : slot.start()]
            done = slot.end()
            text = self._fill(slot[1], fake, text, spans)
        return Sentence(text + template[done:], tuple(spans))

    def _fill(self, slot: str, fake: Faker, text: str, spans: list[tuple[str, int, int]]) -> str:
        if slot == "T":
            text += self._one("titles") + " "
            slot = self._random.choice("NLL")
        value = " ".join(self._slots[slot](fake).split(" ")) if slot in self._slots else "{" + slot + "}"
        if self._random.random() < _SHOUTED.get(slot, 0):
            value = value.upper()
        if slot in _LABELS:
            spans.append((_LABELS[slot], len(text), len(text) + len(value)))
        return text + value

    def _cased(self, sentence: Sentence) -> Sentence:
        chance = self._random.random()
        text = sentence.text
        if chance < 0.08 and len(text.lower()) == len(text):
            text = text.lower()
        elif chance < 0.11 and len(text.upper()) == len(text):
            text = text.upper()
        return Sentence(text, sentence.spans)

    def _first(self, fake: Faker) -> str:
        chance = self._random.random()
        if chance < 0.25:
            return self._random.choice(self._gazetteer.firsts)
        return self._invented(self._gazetteer.firsts) if chance < 0.4 else fake.first_name()

    def _last(self, fake: Faker) -> str:
        chance = self._random.random()
        if chance < 0.25:
            return self._random.choice(self._gazetteer.lasts)
        return self._invented(self._gazetteer.lasts) if chance < 0.4 else fake.last_name()

    def _invented(self, names: tuple[str, ...]) -> str:
        """A name that no list holds: the beginning of one and the end of another."""
        one, other = self._random.choice(names), self._random.choice(names)
        return one[: max(2, len(one) // 2)] + other[len(other) // 2 :].lower()

    def _name(self, fake: Faker) -> str:
        first, last, chance = self._first(fake), self._last(fake), self._random.random()
        if chance < 0.68:
            return f"{first} {last}"
        if chance < 0.78:
            return f"{first} {self._random.choice('ABCDEFGHJKLMNPRSTVW')}. {last}"
        if chance < 0.82:
            return f"{first} {self._random.choice('ABCDEFGHJKLMNPRSTVW')} {last}"
        if chance < 0.86:
            return f"{first[0]}. {last}"
        if chance < 0.9:
            return f"{last}, {first}"
        if chance < 0.94:
            return f"{first} {last}-{self._last(fake)}"
        return (
            f"{first} {self._random.choice(('', 'van der ', 'de ', 'von ', 'Al-', 'bin '))}{self._first(fake)} {last}"
        )

    def _street(self, fake: Faker) -> str:
        chance = self._random.random()
        if chance < 0.2:
            return str(fake.street_name())
        if chance < 0.3:  # in many languages nothing but its place tells a street
            return self._random.choice((self._invented(self._gazetteer.lasts), self._last(fake), self._first(fake)))
        if chance < 0.65:
            named = self._random.choice((self._last, self._first, self._town))(fake)
            return f"{named} {self._one('kinds of street')}"
        return self._one("foreign streets").format(self._random.choice((self._last, self._first, self._town))(fake))

    def _street_line(self, fake: Faker) -> str:
        number = self._random.choice((self._random.randint(1, 99), self._random.randint(1, 9999)))
        chance = self._random.random()
        if chance < 0.25:
            return str(fake.street_address()).replace("\n", ", ")
        if chance < 0.75:
            return f"{number} {self._street(fake)}"
        if chance < 0.92:
            return f"{self._street(fake)} {number}"
        if chance < 0.95:
            return f"{self._random.randint(1, 9999):03} {self._street(fake)} {number}"
        return self._random.choice(
            (f"PO Box {number}", f"P.O. Box {number}", f"PSC {number}, Box {self._random.randint(1, 9999)}")
        )

    def _address(self, fake: Faker) -> str:
        chance = self._random.random()
        if chance < 0.2:
            return str(fake.address()).replace("\n", self._random.choice((", ", "\n", " ")))
        line = self._street_line(fake)
        if chance < 0.35:
            line = f"{self._random.randint(1, 9999)} {line}"
        parts = [line]
        if self._random.random() < 0.4:
            parts.append(self._one("units").format(self._random.randint(1, 999), self._random.randint(1, 12)))
        town = self._town(fake)
        parts.append(town.upper() if self._random.random() < 0.1 else town)
        last = self._random.choice((self._region, self._country, self._abbreviation))(fake)
        if self._random.random() < 0.6:
            last += " " + str(fake.postcode())
        parts += [last] if self._random.random() < 0.8 else []
        return self._random.choice((", ", ", ", " ", "\n", "\n ", "\n, ")).join(parts)

    def _town(self, fake: Faker) -> str:
        chance = self._random.random()
        if chance < 0.55:
            towns = self._gazetteer.towns
            return towns[int(len(towns) * self._random.random() ** 3)]  # the larger the likelier
        if chance < 0.65:
            return self._invented(self._gazetteer.towns)
        return str(fake.city())

    def _region(self, fake: Faker) -> str:
        return self._random.choice(self._gazetteer.regions)

    def _abbreviation(self, fake: Faker) -> str:
        return self._random.choice(self._gazetteer.abbreviations)

    def _country(self, fake: Faker) -> str:
        return self._random.choice(self._gazetteer.countries)

    def _organisation(self, fake: Faker) -> str:
        chance = self._random.random()
        if chance < 0.2:
            return self._one("known organisations")
        if chance < 0.4:
            return str(fake.company())
        if chance < 0.55:
            return f"{self._last(fake)} {self._one('fields of business')}"
        if chance < 0.7:
            return f"{self._last(fake)} {self._one('forms of company')}"
        if chance < 0.85:
            return (
                f"{self._one('fields of business')} {self._one('fields of business')} {self._one('forms of company')}"
            )
        shape = self._one("institutions")
        return shape.replace("{C}", self._town(fake)).replace("{L}", self._last(fake)).replace("{F}", self._first(fake))

    def _date(self, fake: Faker) -> str:
        return str(
            fake.date(
                self._random.choice(("%Y-%m-%d", "%d/%m/%Y", "%B %d, %Y", "%d %b %Y", "%d.%m.%Y", "%m/%d/%y", "%A"))
            )
        )

    def _money(self, fake: Faker) -> str:
        amount = self._random.choice((self._random.randint(1, 99), self._random.randint(100, 99_999)))
        return self._random.choice(
            (f"${amount}", f"£{amount}.00", f"{amount} euros", f"USD {amount:,}", f"€{amount:,}.50")
        )

    def _number(self, fake: Faker) -> str:
        return self._random.choice(("", "", "INV-", "A", "#", "CRM-")) + str(self._random.randint(1000, 99_999_999))
