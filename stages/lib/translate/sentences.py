"""How many sentences of a text its translation has left out, by their lengths alone (after Gale and Church 1993).

Translators put two into one as often as they leave one out; the lengths tell which it was. The cheapest way through
both texts pairs one sentence with one, two or three, or leaves one without a partner. Not covered: what the sentences
say, and a translation that has as many sentences as its source.
"""

import math
import re

ABBREVIATION = re.compile(
    r"\b(?:[A-ZĐ]|Mrs?|Ms|Drs?|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|TP|ThS|TS|GS|PGS|BS|[ap]\.m)\.(?=\s+\w)"
)
STOP = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|\n")
MARK = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+", re.MULTILINE)
RATIO = 0.97  # characters of Vietnamese for one of English, the mean of IWSLT'15
SHORTEST = 8  # characters that the shortest sentence counts as
PAIRED = ((1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2))
LONGEST = 400  # sentences of a source up to which they are paired, in about a second
COST = 1.5  # of one more sentence in a pair, and of one without a partner
SPREAD = 4.0  # variance of a translation's length for each character of its source
BAND = 8  # sentences that the way may stray from the diagonal, apart from those that are missing


def lengths(text: str) -> list[int]:
    """The characters of each sentence; the last one counts with or without its stop."""
    plain, found, start = ABBREVIATION.sub(lambda match: match[0].replace(".", " "), MARK.sub("", text)), [], 0
    for end in [*(match.end() for match in STOP.finditer(plain)), len(plain)]:
        if any(sign.isalnum() for sign in plain[start:end]):
            found.append(len(plain[start:end].strip()))
        start = end
    return found


def unpaired(source: str, translation: str) -> int:
    """How many of the source's sentences have no partner, where the translation has fewer.

    Of very long texts none is said to be missing.
    """
    ours, theirs = lengths(source), lengths(translation)
    if len(theirs) >= len(ours) or len(ours) > LONGEST:
        return 0
    band = len(ours) - len(theirs) + BAND
    best = {(0, 0): (0.0, 0)}  # (sentences of the source, of the translation) so far → (cost, without a partner)
    for here in range(len(ours) + 1):
        for there in range(max(here - band, 0), min(here + band, len(theirs)) + 1):
            if (here, there) not in best:
                continue
            so_far, alone = best[here, there]
            steps = [(one, other, COST * (one + other - 2), 0) for one, other in PAIRED]
            for one, other, price, lost in [*steps, (1, 0, COST, 1), (0, 1, COST, 0)]:
                after = here + one, there + other
                if after[0] <= len(ours) and after[1] <= len(theirs):
                    if one and other:
                        price += distance(sum(ours[here : after[0]]), sum(theirs[there : after[1]]))
                    best[after] = min(best.get(after, (math.inf, 0)), (so_far + price, alone + lost))
    return best[len(ours), len(theirs)][1]


def distance(length: int, other: int) -> float:
    """Half the squared deviation from the expected length, in standard deviations."""
    return (other - RATIO * length) ** 2 / (2 * SPREAD * max(length, SHORTEST))
