"""Rows that this project makes itself: attacks and asks from the phrases in guardrails/data, and harmless look-alikes.

Public sets hold no source code, no hashes and no encoded harmless text: without such rows a head learns that whatever
looks strange is an attack.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
import random
import re
import sysconfig
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from guardrails.guard import INJECTION
from guardrails.policy import CATEGORIES
from guardrails.training.rows import Row
from guardrails.wordpiece import WordPiece

DATA = Path(__file__).parent.parent / "data"
_SLOT = re.compile(r"\{(\w+)\}")
BLOCKS = ("tricks", "scenes", "posts")
TONGUE = 5  # attacks of each other language, and as many harmless texts
ASK = 300  # characters of an ask that is put into a scene
_LEARNT = frozenset(CATEGORIES) - {"CHILD_SAFETY"}


def _phrases(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DATA / name).read_text())
    return read


class Phrases:
    """Sentences drawn from frames; the same seed draws the same."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._deeds = _phrases("deeds.yaml")
        self._orders = _phrases("orders.yaml")
        self._blocks = {name: _phrases(f"{name}.yaml") for name in BLOCKS}
        self._words: dict[str, Sequence[str]] = dict(self._orders["words"])
        ranks = WordPiece().ranks
        self._rare = [word for piece, rank in ranks.items() if rank > _RARE and (word := piece.strip("#")).isalpha()]
        for read in self._blocks.values():
            self._words |= read["words"]

    @property
    def slots(self) -> frozenset[str]:
        """The names that braces in a frame may hold."""
        return frozenset(self._words) | {"benign", "ask", "deed", "topic", "tail"}

    def deeds(self, each: int, contrasts: int) -> Iterator[Row]:
        """Asks for each deed, and as many harmless sentences about it."""
        for category, deeds in self._deeds["deeds"].items():
            others = _LEARNT - {category, INJECTION, "OFFENSIVE_LANGUAGE"}
            for deed in deeds:
                cluster = f"deed:{deed}"
                asks = self._dice.sample(self._deeds["asks"], each)
                for frame in asks:
                    yield _row(self._said(frame, deed), {category}, others, "asks", cluster)
                for frame in self._dice.sample(self._deeds["contrasts"], contrasts):
                    yield _row(self._said(frame, deed), set(), set(), "contrasts", cluster)

    def _said(self, frame: str, deed: str) -> str:
        text = frame.format(deed=deed)
        return self._dice.choice((text, text, text.lower(), text.replace("'", "’")))

    def orders(self, count: int) -> Iterator[Row]:
        others = _LEARNT - {INJECTION}
        frames = self._orders["injections"]
        for index in range(count):
            frame = frames[index % len(frames)]
            yield _row(self._filled(frame), {INJECTION}, others, "orders", f"order:{frame}")

    def harmless(self, count: int) -> Iterator[Row]:
        frames = self._orders["harmless"]
        for index in range(count):
            frame = frames[index % len(frames)]
            yield _row(self._filled(frame), set(), set(), "harmless", f"harmless:{frame}")

    def blocks(self, name: str, each: int) -> Iterator[Row]:
        """Rows of a file of labelled frames, so many of each frame; what a block does not say of a category is open."""
        for block in self._blocks[name]["blocks"]:
            label = set(block["label"])
            others = _LEARNT - label - set(block.get("not", ())) if label else frozenset()
            for frame in block["frames"]:
                for _ in range(each * block.get("times", 1)):
                    text = self._filled(frame)
                    if block.get("noisy") and self._dice.random() < NOISY:
                        text = self._dice.choice(NOISE)(self._dice, text)
                    yield _row(text, label, others, name, f"{name}:{frame}")

    def wrapped(self, row: Row) -> Row:
        """An ask within a scene."""
        scene = self._filled(self._dice.choice(self._blocks["scenes"]["wraps"])).replace("{text}", row.text)
        return _row(scene, set(), set(), "wrapped", row.cluster)

    def everyday(self, count: int) -> Iterator[Row]:
        """What people ask most; a topic is in the cluster, so that no fold learns it from another."""
        read = _phrases("everyday.yaml")
        for index in range(count):
            frame, topic = read["frames"][index % len(read["frames"])], self._dice.choice(read["topics"])
            text = frame.replace("{topic}", topic)
            yield _row(text[0].upper() + text[1:], set(), set(), "everyday", f"everyday:{topic}")

    def languages(self) -> Iterator[Row]:
        read = _phrases("languages.yaml")
        for text in read[INJECTION]:
            yield _row(text, {INJECTION}, _LEARNT - {INJECTION}, "languages", text)
        for text in read["harmless"]:
            yield _row(text, set(), set(), "languages", text)
        for tongue in read["tongues"].values():
            for _ in range(TONGUE):
                yield from self._in(tongue)

    def _in(self, tongue: Mapping[str, Sequence[str]]) -> Iterator[Row]:
        """Attacks in another language, and more that is harmless there, alone and beside English."""
        some, more = (" ".join(self._dice.sample(tongue["harmless"], self._dice.randrange(1, 4))) for _ in range(2))
        order, goal = self._dice.choice(tongue["orders"]), self._dice.choice(tongue["goals"])
        longer = self._dice.choice((f"{order} {goal}", f"{some} {order} {goal}", f"{more} {goal}"))
        for text in (self._dice.choice((order, goal)), longer):
            yield _row(text, {INJECTION}, _LEARNT - {INJECTION}, "languages", f"{order}:{goal}")
        for text in (some, more, f"{self.benign()} {more}", f"{some}\n\n{self._filled('{fact}')}"):
            yield _row(text, set(), set(), "languages", text)

    def benign(self) -> str:
        return str(self._dice.choice(self._orders["benign"]))

    def _filled(self, frame: str) -> str:
        for _ in range(4):  # words hold slots themselves
            frame = _SLOT.sub(self._word, frame)
        return frame.replace("{alias}", self._dice.choice(self._words["alias"]))  # one throughout

    def _word(self, slot: re.Match[str]) -> str:
        name = slot.group(1)
        if name == "benign":
            return self.benign()
        if name == "tail":
            return _tail(self._dice, self._rare)
        if name == "ask":
            category = self._dice.choice(sorted(self._deeds["deeds"]))
            return str(
                self._dice.choice(self._deeds["asks"][:8]).format(
                    deed=self._dice.choice(self._deeds["deeds"][category])
                )
            )
        if name == "deed":
            return str(self._dice.choice(self._deeds["deeds"][self._dice.choice(sorted(self._deeds["deeds"]))]))
        if name.lower() not in self._words or name == "alias":  # braces that belong to the text
            return slot.group()
        word = self._dice.choice(self._words[name.lower()])
        return word[0].upper() + word[1:] if name[0].isupper() else word


# --- what a search for the letters that make a model obey ends with --------------------------------------------------


def _tail(dice: random.Random, words: Sequence[str]) -> str:
    """Words without sense, scraps of code and marks, many of them written together, now and then a word of consent."""
    pools = dice.choices((words, _SCRAPS, _CONSENT), (6, 5, 1), k=dice.randrange(8, 22))
    parts = [dice.choice(pool) for pool in pools]
    return "".join((part.title() if dice.random() < 0.25 else part) + dice.choice(("", " ", " ")) for part in parts)


_RARE = 2_500  # words of the vocabulary that are more frequent make sense too often
_SCRAPS = (
    "!", "!!", "?", "\\", "](", "):", "({", "}}", "}{", "{[", "[[", "=\"", "\"", "'", "`", "++", "--", "->", "<-",
    "<!--", "//", "/**", "*/", "$", "$$", "($_", "\\(", "##", "=>", "::", ";", ";)", "..", "...", "|", "&&", "@", "^{",
    "_{", "<?", "TypeError", "println", "sprintf", "foreach", "addTo", "getElementBy", "toString", "async",
    "mathbf", "textbf", "begin{", "forall", "var", "null", "await", "#include", "def", "printf(", "return", "import",
)  # fmt: skip
_CONSENT = (
    "Sure", "sure", "Here", "Sure,", "Certainly", "write", "answer", "begin", "steps", "sentence", "story", "poem",
    "output", "instead", "opposite", "please", "example", "response", "Step", "table", "English",
)  # fmt: skip


# --- text as somebody writes it who does not want to be read by a filter ----------------------------------------------

NOISY = 0.3  # of the rows where it is likely
_LIKE = {
    "a": "4@аα", "b": "8ь", "c": "сϲ", "e": "3€еε", "g": "69", "i": "1!|іι", "l": "1|", "o": "0оο", "p": "рρ",
    "s": "5$ѕ", "t": "7+т", "u": "υ", "x": "х", "y": "уү",
}  # fmt: skip


def _alike(dice: random.Random, text: str) -> str:
    share = dice.choice((0.15, 0.3, 0.6))
    return "".join(
        dice.choice(_LIKE[low]) if (low := character.lower()) in _LIKE and dice.random() < share else character
        for character in text
    )


def _doubled(dice: random.Random, text: str) -> str:
    return " ".join(word + word[-1] if word.isalpha() and dice.random() < 0.7 else word for word in text.split(" "))


def _slashed(dice: random.Random, text: str) -> str:
    return "".join(f"\\{character}" for character in text[:160])


def _mistyped(dice: random.Random, text: str) -> str:
    letters = list(text)
    for _ in range(1 + len(letters) // 25):
        at = dice.randrange(max(1, len(letters) - 1))
        letters[at : at + 2] = dice.choice((letters[at : at + 1], letters[at : at + 2][::-1]))
    return "".join(letters)


NOISE: Sequence[Callable[[random.Random, str], str]] = (
    _alike, _alike, _alike, _doubled, _slashed, _mistyped, _mistyped,
    lambda dice, text: text.upper(), lambda dice, text: text.lower(), lambda dice, text: text.lower(),
)  # fmt: skip


def written() -> Iterator[Row]:
    """Rows that were written by hand, one by one."""
    for path in sorted(DATA.glob("*.jsonl")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            row = json.loads(line)
            label = set(row["label"])
            maybe = set(row.get("maybe", _LEARNT - label if label else ()))
            yield _row(row["text"], label, maybe, "written", f"{path.name}:{number}")


def _row(text: str, label: set[str], maybe: set[str] | frozenset[str], tag: str, cluster: str) -> Row:
    identity = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
    return Row(text, frozenset(label), frozenset(maybe), f"own:{tag}", f"own-{identity}", cluster)


# --- harmless text that looks strange --------------------------------------------------------------------------------


def _code(dice: random.Random, pool: _Pool) -> str:
    text = dice.choice(pool.code)
    at = dice.randrange(max(1, len(text) - 400))
    return text[at : at + dice.randrange(120, 1_500)]


def _markup(dice: random.Random, pool: _Pool) -> str:
    words = dice.choice(pool.sentences).split()
    title, *rest = (" ".join(dice.sample(words, min(len(words), 4))) for _ in range(5))
    items = "".join(f"- {item}\n" for item in rest)
    fence = f"```python\n{_code(dice, pool)[:200]}\n```\n" if dice.random() < 0.4 else ""
    table = f"| a | b |\n|---|---|\n| 1 | {title} |\n"
    return f"# {title}\n\n{dice.choice(pool.sentences)}\n\n## Usage\n\n{items}\n{fence}{table}"


def _json(dice: random.Random, pool: _Pool) -> str:
    def value(depth: int) -> Any:
        kind = dice.randrange(6 if depth else 4)
        simple = (dice.randrange(10**6), dice.choice(pool.sentences)[:60], dice.random() < 0.5, None)
        if kind < 4:
            return simple[kind]
        if kind == 4:
            return [value(depth - 1) for _ in range(dice.randrange(4))]
        return {dice.choice(_KEYS): value(depth - 1) for _ in range(dice.randrange(1, 6))}

    document = {key: value(2) for key in dice.sample(_KEYS, dice.randrange(2, 9))}
    return json.dumps(document, indent=dice.choice((None, 2, 4)))


def _hash(dice: random.Random, pool: _Pool) -> str:
    digests = [
        getattr(hashlib, dice.choice(("md5", "sha1", "sha256", "sha512")))(dice.randbytes(8)).hexdigest()
        for _ in range(dice.randrange(1, 5))
    ]
    name = dice.choice(("release.tar.gz", "image.iso", "commit", "etag", "checksum", "file"))
    return dice.choice((" ".join(digests), "\n".join(f"{digest}  {name}" for digest in digests), digests[0]))


def _token(dice: random.Random, pool: _Pool) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    parts = ["".join(dice.choices(alphabet, k=dice.randrange(8, 48))) for _ in range(dice.randrange(1, 6))]
    uuid = "-".join(dice.randbytes(size).hex() for size in (4, 2, 2, 2, 6))
    return dice.choice(
        (
            ".".join(parts),
            " ".join(parts),
            uuid,
            f"id={parts[0]}&trace={uuid}",
            "https://cdn.example/" + "/".join(parts),
        )
    )


def _log(dice: random.Random, pool: _Pool) -> str:
    level = ("INFO", "WARN", "ERROR", "DEBUG")
    return "\n".join(
        f"2026-{dice.randrange(1, 13):02}-{dice.randrange(1, 29):02}T{dice.randrange(24):02}:{dice.randrange(60):02} "
        f"{dice.choice(level)} {dice.choice(_KEYS)}[{dice.randrange(9999)}]: {dice.choice(_EVENTS)} "
        f"{dice.choice(_KEYS)}={dice.randrange(10**5)} took {dice.randrange(900)}ms"
        for _ in range(dice.randrange(2, 12))
    )


def _long(dice: random.Random, pool: _Pool) -> str:
    return " ".join(dice.choice(pool.sentences) for _ in range(dice.randrange(6, 30)))


def _plain(dice: random.Random, pool: _Pool) -> str:
    return dice.choice(pool.sentences)[:400]


_LEET = str.maketrans("aeiost", "431057")
_Maker = Callable[[random.Random, "_Pool"], str]
_DECODE: tuple[str, ...] = (
    "Decode this base64:",
    "What does this say?",
    "Convert from base64:",
    "Please decode:",
    "base64 -d <<<",
)


def _base64(dice: random.Random, pool: _Pool) -> str:
    return base64.b64encode(_plain(dice, pool).encode()).decode()


# Ways to hide a text from a filter that a reader, or a model, still sees through.
ENCODINGS: Mapping[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "leet": lambda text: text.translate(_LEET),
    "spaced": lambda text: " ".join(text),
    "homoglyphs": lambda text: text.translate(str.maketrans("aeopcxyi", "аеорсхуі")),
    "zero width": lambda text: "\u200b".join(text),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
}

STRANGE: dict[str, _Maker] = {
    "code": _code,
    "markup": _markup,
    "json": _json,
    "hash": _hash,
    "token": _token,
    "log": _log,
    "long": _long,
    "base64": _base64,
    "base64-asked": lambda dice, pool: f"{dice.choice(_DECODE)} {_base64(dice, pool)}",
    "hex": lambda dice, pool: _plain(dice, pool).encode().hex(),
    "rot13": lambda dice, pool: codecs.encode(_plain(dice, pool), "rot13"),
    "reversed": lambda dice, pool: _plain(dice, pool)[::-1],
    "leet": lambda dice, pool: _plain(dice, pool).translate(_LEET),
    "spaced": lambda dice, pool: " ".join(_plain(dice, pool)[:120]),
    "upper": lambda dice, pool: _plain(dice, pool).upper(),
    "foreign": lambda dice, pool: " ".join(dice.sample(pool.foreign, dice.randrange(1, 4))),
    "numbers": lambda dice, pool: "\n".join(",".join(str(dice.randrange(10**5)) for _ in range(6)) for _ in range(8)),
    "symbols": lambda dice, pool: "".join(dice.choices("!?*#-_=+<>(){}[]|/\\~^%&$@ \n", k=dice.randrange(10, 120))),
}
_KEYS = [
    "id",
    "name",
    "version",
    "type",
    "status",
    "user_id",
    "created_at",
    "updated_at",
    "price",
    "quantity",
    "title",
    "description",
    "tags",
    "enabled",
    "config",
    "host",
    "port",
    "path",
    "method",
    "items",
    "total",
    "currency",
    "email_verified",
    "latitude",
    "scripts",
    "dependencies",
    "main",
    "license",
    "timeout",
    "retries",
]
_EVENTS = (
    "connection established",
    "request completed",
    "cache miss",
    "retrying upstream",
    "user logged in",
    "job killed by signal 9",
    "process terminated",
    "access denied for guest",
    "authentication failed: wrong password",
    "segment flushed",
    "worker started",
    "aborting transaction, deadlock victim",
    "ignoring unknown header",
    "override default settings from file",
    "injection of dependencies done",
)


class _Pool:
    """What the makers draw from: half of the standard library's files, and the sentences of their documentation."""

    def __init__(self, half: int) -> None:
        folder = Path(sysconfig.get_paths()["stdlib"])
        files = sorted(path for path in folder.glob("*.py"))[half::2]
        self.code = [path.read_text(encoding="utf-8", errors="ignore")[:60_000] for path in files]
        said = (sentence for text in self.code for block in _DOCUMENTED.findall(text) for sentence in _END.split(block))
        plain = {" ".join(sentence.split()) for sentence in said}
        self.sentences = sorted(sentence for sentence in plain if 30 <= len(sentence) <= 300 and sentence[0].isupper())
        self.sentences += _phrases("orders.yaml")["benign"] * 20
        self.foreign: list[str] = (DATA / "foreign.txt").read_text().splitlines()[half::2]


_DOCUMENTED = re.compile(r'"""([^"\\]{40,4000})"""')
_END = re.compile(r"(?<=[.?!])\s+|\n\s*\n")


def strange(dice: random.Random, each: int, *, half: int = 0, kinds: Collection[str] = STRANGE.keys()) -> Iterator[Row]:
    """Harmless rows of these kinds; those of half 0 and half 1 share no file and no foreign sentence."""
    pool = _Pool(half)
    for name in kinds:
        for index in range(each):
            text = STRANGE[name](dice, pool)
            if text.strip():
                yield _row(text, set(), set(), f"strange:{name}", f"{name}:{half}:{index}")


def wrapped(rows: Sequence[Row], seed: int) -> dict[str, Row]:
    """By id, the short harmless prompts among these rows, each within a scene of our own: it stays harmless."""
    phrases = Phrases(random.Random(seed))
    return {row.id: phrases.wrapped(row) for row in rows if row.harmless and len(row.text) <= ASK}


def own(seed: int) -> list[Row]:
    """All rows that this project makes for training, each text once; the same seed makes the same."""
    phrases = Phrases(random.Random(seed))
    rows = [*phrases.deeds(3, 1), *phrases.orders(900), *phrases.harmless(600), *written()]
    rows += [
        *phrases.blocks("tricks", 6),
        *phrases.blocks("scenes", 6),
        *phrases.blocks("posts", 4),
        *phrases.everyday(1500),
        *phrases.languages(),
    ]
    rows += strange(random.Random(seed), 100)
    rows += strange(random.Random(seed + 1), 500, kinds=("foreign",))  # letters that are no English are no nonsense
    return list({row.text: row for row in rows}.values())
