"""How long a search of the public repository takes: `python -m bench.repository_search --certificates 2000000`.

Fills an index with certificates of made-up names, put together from pieces of real ones, and asks it in every way: also
for what nearly every name has, for what none has, and for strings of which every pair of characters is frequent. The
certificates themselves are stand-ins. The index is made in a temporary directory and removed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from bench.machine import describe_machine
from engine.repository.certificate_index import (
    CERTIFICATE_INDEX_NAME,
    CertificateIndex,
    CertificateIndexWriter,
    IndexPosition,
    PublishedCertificate,
)

SAMPLE = Path(__file__).parent.parent / "engine" / "register" / "samples" / "listed-companies.jsonl"
STAND_IN = bytes(120)
"""For a certificate of some 1,300 octets, so that the file stays small."""

TRADES = ("科技", "實業", "企業", "工業", "國際", "貿易", "建設", "生物科技", "資訊", "投資", "餐飲", "")
FORMS = ("有限公司",) * 6 + ("股份有限公司",) * 3 + ("企業社", "商行")
PAGE = 21
"""What the site asks for: a page of twenty, and whether there is another."""

BATCH = 5_000
QUESTIONS = 300
"""Of every kind."""


def names(choice: random.Random) -> Iterator[str]:
    """Yield names without end: two pieces of real names, a trade, a form."""
    rows = [json.loads(line)["Company_Name"] for line in SAMPLE.read_text("utf-8").splitlines()]
    stems = [name.removesuffix("股份有限公司") for name in rows]
    pieces = [stem[place : place + 2] for stem in stems for place in range(0, len(stem) - 1, 2)]
    while True:
        yield "".join((*choice.choices(pieces, k=2), choice.choice(TRADES), choice.choice(FORMS)))


def certificates(count: int, choice: random.Random) -> Iterator[PublishedCertificate]:
    """Yield two certificates an entity."""
    made = names(choice)
    for item in range(1, count + 1, 2):
        name, number = next(made), f"{item:08d}"
        for place, usage in enumerate(("signature", "encryption")):
            serial = (item + place).to_bytes(8, "big") + choice.randbytes(
                8
            )  # the time in front (decision 0005)
            yield PublishedCertificate(
                item + place, serial, "company", name, None, None, number, usage, "primary", 0, 1, 1, STAND_IN
            )


def fill(path: Path, count: int, choice: random.Random) -> tuple[float, list[PublishedCertificate]]:
    """Fill an index; return the seconds that took, and some of its certificates."""
    made, some = certificates(count, choice), []
    began = time.perf_counter()
    with CertificateIndexWriter(path) as writer:
        while batch := list(islice(made, BATCH)):
            writer.put(batch, IndexPosition(batch[-1].item_id, "", None))
            some += choice.sample(batch, 10)
    return time.perf_counter() - began, some


def frequent_strings(some: list[PublishedCertificate], choice: random.Random) -> list[str]:
    """Strings of three and four characters of which every pair is frequent, though no name may have the whole."""
    pairs = Counter(one.name[place : place + 2] for one in some for place in range(len(one.name) - 1))
    top = [pair for pair, _ in pairs.most_common(150)]
    threes = [a + b[1] for a in top for b in top if a[1] == b[0]]
    fours = [three + b[1] for three in threes for b in top if three[2] == b[0]]
    return threes + choice.sample(fours, min(QUESTIONS, len(fours)))


Question = Callable[[CertificateIndex], object]


def questions(
    some: list[PublishedCertificate], choice: random.Random, count: int
) -> dict[str, list[Question]]:
    """Return the questions of every kind."""
    picked = choice.sample(some, min(QUESTIONS, len(some)))

    def by_name(text: str, after: int = 0) -> Question:
        return lambda index: index.by_name(text, after, PAGE)

    def by_serial(serial: bytes) -> Question:
        return lambda index: index.by_serial(serial)

    def by_number(number: str) -> Question:
        return lambda index: index.by_number(number, 0, PAGE)

    def part(name: str, length: int) -> str:
        place = choice.randrange(max(1, len(name) - length))
        return name[place : place + length]

    common = ["有限公司", "公司", "股份有限公司", "科技", "企業", "台灣", "份有", "業有限公"]
    return {
        "serial number": [by_serial(one.serial) for one in picked],
        "uniform number": [by_number(one.number or "") for one in picked],
        "whole name": [by_name(one.name) for one in picked],
        "one character": [by_name(one.name[0]) for one in picked],
        "two characters": [by_name(part(one.name, 2)) for one in picked],
        "three characters": [by_name(part(one.name, 3)) for one in picked],
        "five characters": [by_name(part(one.name, 5)) for one in picked],
        "what most names have": [by_name(text) for text in common * 30],
        "the same, some page": [by_name(text, choice.randrange(count)) for text in common * 30],
        "no name": [by_name(part(one.name, 2) + "龘" + part(one.name, 2)) for one in picked],
        "frequent pairs": [by_name(text) for text in frequent_strings(some, choice)],
    }


def measured(index: CertificateIndex, asked: list[Question]) -> dict[str, float]:
    """Ask every question once; return milliseconds, waited and worked: others may want the CPU as well."""
    took, worked = [], []
    for ask in asked:
        began, began_work = time.perf_counter(), time.thread_time()
        ask(index)
        took.append(1_000 * (time.perf_counter() - began))
        worked.append(1_000 * (time.thread_time() - began_work))
    took.sort()
    worked.sort()
    last = len(took) - 1
    return {
        "questions": len(took),
        "p50": took[len(took) // 2],
        "p99": took[min(last, len(took) * 99 // 100)],
        "max": took[last],
        "cpu_p99": worked[min(last, len(took) * 99 // 100)],
        "cpu_max": worked[last],
    }


def main() -> None:
    """Fill, ask, print; exit code 1 where the p99 of a kind is above the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--within", type=float, default=50.0, help="milliseconds; the goal of the p99")
    options = parser.parse_args()
    choice = random.Random(options.seed)
    result: dict[str, object] = {"machine": describe_machine(), "certificates": options.certificates}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / CERTIFICATE_INDEX_NAME
        seconds, some = fill(path, options.certificates, choice)
        result |= {"filled_seconds": round(seconds, 1), "octets": path.stat().st_size}
        index = CertificateIndex(path)
        kinds = {
            kind: measured(index, asked)
            for kind, asked in questions(some, choice, options.certificates).items()
        }
    for kind, figures in kinds.items():
        print(f"{kind:24}" + "".join(f"  {name} {value:9.3f}" for name, value in figures.items()))
    print(json.dumps(result | {"milliseconds": kinds}, ensure_ascii=False))
    sys.exit(any(figures["p99"] > options.within for figures in kinds.values()))


if __name__ == "__main__":
    main()
