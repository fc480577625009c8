"""Whether a translation stops where its source does, and whether its translator sets stops at all.

A text that breaks off mostly lacks its last stop. So do translations by people who leave final stops out, as in
subtitles; theirs are known by their length: they are as long as whole ones. Not covered: what was cut at the end of
a sentence (``stages/lib/sentences.py`` counts those).
"""

import re

from stages.lib.sentences import RATIO

END = re.compile(r"[.!?…:;。！？][\W_]*$")  # closing quotes and emoji may follow
ABBREVIATED = re.compile(r"\b[ap]\.m\.\W*$", re.IGNORECASE)
CLOSED = re.compile(r"[\"'”’)\]»]$")
ENOUGH = 50  # whole translations, from which a habit can be told
HABIT = 0.06  # share of them without their final stop that is one


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
    def stops(self) -> bool:
        """Whether a final stop may be asked for: until enough is known, it may."""
        return self.whole < ENOUGH or self.stopless <= HABIT * self.whole


def ended(source: str, translation: str) -> bool:
    """Whether a translation ends with a stop, or with a closing quotation mark like its source, or that with p.m."""
    closed = CLOSED.search(source) and CLOSED.search(translation)
    return bool(END.search(translation) or closed or ABBREVIATED.search(source))
