"""Names, addresses and places: sentences that nobody trained on, by hand, with a floor for what must be found."""

from __future__ import annotations

import hashlib

import pytest

from guardrails.detectors.names import WEIGHTS, Names
from guardrails.detectors.tagging import tokens
from guardrails.personal import PersonalData

PERSONAL = PersonalData(["NAME", "ADDRESS", "LOCATION"])

NAMED = """
Could someone from the night shift phone «NAME:Margaret Holloway» back before lunch?
The keys are with «NAME:Tobias Brenner», our caretaker.
Minutes taken by «NAME:Ingrid Solberg» and checked by «NAME:Paul Adeyemi».
{"customer": {"name": "«NAME:Lucía Fernández»", "vip": true}}
order_id;buyer;total\\n10021;«NAME:Katarzyna Nowak»;19.90
Hello «NAME:Samantha», the parcel came back to us again.
Please tell Mr. «NAME:Whitfield» that his glasses are ready.
> Regards,\\n> «NAME:Dmitri Volkov»
Mother: «NAME:Aisha Rahman», father: «NAME:Yusuf Rahman»
Dr. «NAME:Patel» increased the dose on Monday.
INFO session opened for user «NAME:Hannah Fischer»
The complaint was filed by «NAME:George T. Ellison» in March.
Yesterday «NAME:Chloe» and «NAME:Ethan» missed the bus again.
Patient «NAME:Robert Lindqvist», 71, fell at home.
**Tenant:** «NAME:Priya Raghavan»
<td>«NAME:Olivier Dumont»</td>
The keynote will be given by «NAME:Michael O'Connor», professor of law.
My neighbour «NAME:Zsófia» plays the cello.
Deliver it to «ADDRESS:48 Willow Lane, Norwich NR1 4DA» by Friday.
Our workshop moved to «ADDRESS:2210 Oakwood Avenue, Suite 12, Dayton, OH 45402» last week.
Bill to:\\n«ADDRESS:77 Kingfisher Road\\nBristol BS4 2AA»
Home address: «ADDRESS:Hauptstraße 12, 10115 Berlin»
She lives at «ADDRESS:9 rue Victor Hugo, 69002 Lyon».
{"address": "«ADDRESS:1450 Maple Street, Portland, OR 97201»"}
The exhibition opens in «LOCATION:Rotterdam» in May.
I was raised in «LOCATION:Nairobi» and studied in «LOCATION:Toronto».
Heavy snow fell across «LOCATION:Colorado» last night.
Our factory in «LOCATION:Vietnam» will close.
"""

ORDINARY = """
Write a haiku about the sea.
What is the difference between supervised and unsupervised learning?
Summarize the main points of the article in three bullets.
Sort the following numbers in ascending order: 4, 9, 1, 7.
def total(values):\\n    return sum(value for value in values if value > 0)
SELECT name, price FROM products WHERE price > 10 ORDER BY price;
{"status": "ok", "items": [1, 2, 3], "next": null}
## Getting Started\\n\\nInstall the package, then run the server.
The quarterly report is due on Thursday.
Mix the flour, the butter and the sugar, then bake for twenty minutes.
2024-01-01 12:00:00 ERROR Timeout while waiting for database
Terms of Service and Privacy Policy
Explain how a transistor works to a beginner.
Create a marketing plan for a new energy drink.
I may go in April, or perhaps in June.
Docker and Kubernetes are used to run containers.
IMPORTANT: READ ALL INSTRUCTIONS BEFORE USE
Give me five synonyms for happy.
How many grams of protein are in an egg?
Dear Sir or Madam, I am writing to complain about my order.
Which is heavier, a pound of feathers or a pound of gold?
Convert this JSON file to CSV.
The train leaves at nine and arrives at noon.
Is it better to rent or to buy?
"""


def unmarked(line: str) -> tuple[str, list[tuple[str, int, int]]]:
    text, spans = "", []
    for number, part in enumerate(line.replace("\\n", "\n").replace("»", "«").split("«")):
        kind, _, value = part.partition(":") if number % 2 else ("", "", part)
        if kind:
            spans.append((kind, len(text), len(text) + len(value)))
        text += value
    return text, spans


def test_nine_in_ten_of_what_is_named_are_found() -> None:
    missed, count = [], 0
    for line in NAMED.strip().splitlines():
        text, spans = unmarked(line)
        found = PERSONAL.find(text)
        for kind, start, end in spans:
            count += 1
            covering = [one for one in found if one.kind in (kind, "LOCATION" if kind == "ADDRESS" else kind)]
            covered = sum(max(0, min(end, one.end) - max(start, one.start)) for one in covering)
            if 2 * covered < end - start:
                missed.append(text[start:end])
    assert len(missed) <= count // 10, missed


def test_ordinary_texts_name_nobody() -> None:
    lines = [unmarked(line)[0] for line in ORDINARY.strip().splitlines()]
    named = [line for line in lines if any(one.kind in ("NAME", "ADDRESS") for one in PERSONAL.find(line))]
    assert named == []


def test_a_long_text_is_read_like_a_short_one() -> None:
    sentence = "The keys are with Tobias Brenner, our caretaker. "
    assert len(PERSONAL.find(sentence * 2000)) == 2000 * len(PERSONAL.find(sentence))


@pytest.mark.parametrize("text", ["", " ", "\n\n", "1234", "?!", "é", "\x00", "A", "名前", "a" * 10_000])
def test_texts_without_names_are_no_trouble(text: str) -> None:
    assert [one for one in Names.read().find(text) if one.kind == "NAME"] == []


def test_the_card_names_the_weights_that_are_there() -> None:
    card = (WEIGHTS / "NAMES.md").read_text(encoding="utf-8")
    for name in ("names.npz", "names_lists.txt.gz"):
        content = (WEIGHTS / name).read_bytes()
        assert f"| {name} | {len(content)} | {hashlib.sha256(content).hexdigest()} |" in card


def test_tokens_cover_everything_but_blanks() -> None:
    text = "Ann-Marie O'Neil,\t42\nЖ 東京 _x_ 1a"
    assert "".join(token for token, _, _ in tokens(text)) == "".join(text.replace("\t", "").split(" "))
