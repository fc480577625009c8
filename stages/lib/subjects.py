"""What a text is broadly about, by a lexicon: the topic with the most phrases in it.

Not covered: topics that nobody named.
"""

from collections import Counter
from pathlib import Path

from stages.lib import vietnamese

ELSE = "khác"

Lexicon = dict[tuple[str, ...], str]


def read(path: Path) -> Lexicon:
    """``name: word, phrase, …`` a line, as each phrase's syllables with the name; of equals the first line."""
    found: Lexicon = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, phrases = line.partition(":")
            for phrase in phrases.split(","):
                found.setdefault(tuple(vietnamese.syllables(phrase.lower())), name)
    return found


def broad(syllables: list[str], lexicon: Lexicon) -> str:
    """The topic with the most phrases in a text, of equals the one that comes first in it."""
    hits: Counter[str] = Counter()
    for size in {len(phrase) for phrase in lexicon}:
        runs = zip(*(syllables[start:] for start in range(size)), strict=False)
        hits.update(lexicon[run] for run in runs if run in lexicon)
    return max(hits, key=lambda name: hits[name]) if hits else ELSE
