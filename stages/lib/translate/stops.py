"""Whether a translation stops where its source does, and whether its translator sets stops at all.

A text that breaks off mostly lacks its last stop, and is short. So do translations by people who leave final stops
out, as in subtitles; but theirs are as long as whole ones. So the more often whole ones of a source lack their stop,
the shorter a text must be before the missing stop tells against it. Not covered: what was cut at the end of a
sentence (``sentences.py`` counts those).
"""

import math
import re

from stages.lib.translate.sentences import RATIO

END = re.compile(r"[.!?…:;。！？][\W_]*$")  # closing quotes and emoji may follow
ABBREVIATED = re.compile(r"\b[ap]\.m\.\W*$", re.IGNORECASE)
CLOSED = re.compile(r"[\"'”’)\]»]$")
ENOUGH = 50  # whole translations, from which a habit can be told
# share of them without their final stop, and the characters for each of its source from which a translation without
# is taken for a whole one; chosen on the first half of IWSLT'15 tst2012 (a third lack it), tried on the second (5%)
RARE, OFTEN = 0.01, 0.06
WHOLE, WHOLE_OFTEN = 1.15, 0.75


class Habit:
    """What a source's translations have been like so far."""

    def __init__(self) -> None:
        self.whole = self.stopless = 0

    def note(self, source: str, translation: str) -> None:
        """Count a translation, if its source has a final stop and its length says that nothing is missing."""
        source, translation = source.rstrip(), translation.rstrip()
        if END.search(source) and len(translation) >= RATIO * len(source):
            self.whole += 1
            self.stopless += not ended(source, translation)

    @property
    def reach(self) -> float:
        """Characters for each of the source below which a translation without its stop counts as cut."""
        if self.whole < ENOUGH or self.stopless <= RARE * self.whole:
            return math.inf
        return WHOLE if self.stopless <= OFTEN * self.whole else WHOLE_OFTEN


def ended(source: str, translation: str) -> bool:
    """Whether a translation ends with a stop, or with a closing quotation mark like its source, or that with p.m."""
    closed = CLOSED.search(source) and CLOSED.search(translation)
    return bool(END.search(translation) or closed or ABBREVIATED.search(source))
