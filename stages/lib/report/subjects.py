"""What a text is broadly about, by a lexicon: the topic with the most phrases in it.

Not covered: topics that nobody named.
"""

from collections import Counter, defaultdict
from pathlib import Path

from stages.lib.text import vietnamese

ELSE = "khác"

Lexicon = dict[str, list[tuple[list[str], str]]]


def read(path: Path) -> Lexicon:
    """``name: word, phrase, …`` a line, as (syllables, name) by the phrase's first syllable."""
    found: Lexicon = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, phrases = line.partition(":")
            for phrase in phrases.split(","):
                if syllables := vietnamese.syllables(phrase.lower()):
                    found[syllables[0]].append((syllables, name))
    return dict(found)


def broad(syllables: list[str], lexicon: Lexicon) -> str:
    """The topic with the most phrases in a text, of equals the one that comes first in it."""
    hits = Counter(
        name
        for place in [place for place, syllable in enumerate(syllables) if syllable in lexicon]
        for phrase, name in lexicon[syllables[place]]
        if syllables[place : place + len(phrase)] == phrase
    )
    return max(hits, key=lambda name: hits[name]) if hits else ELSE
