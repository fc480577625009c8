"""Which licences a record may come under, and what each asks of those who use it.

Names are SPDX identifiers (https://spdx.org/licenses). ``commercial`` says whether the licence itself allows a
commercial use of the data; ``duties`` what goes with any use. This is a table, not legal advice. Not covered:
rights beside the licence, such as a teacher's terms, a publisher's rights in news text, or personal data.
"""

from typing import Literal, NamedTuple

OWN = "LicenseRef-"  # SPDX's form for what is on no list; its terms are its holder's, so no use is assumed


class Terms(NamedTuple):
    """What a licence allows."""

    commercial: Literal["yes", "no", "unclear"]
    duties: str


FREE, BY, SHARE = "none", "name the authors", "name the authors, share alike"
LICENCES = {
    "CC0-1.0": Terms("yes", FREE),
    "PDDL-1.0": Terms("yes", FREE),
    "Unlicense": Terms("yes", FREE),
    "MIT": Terms("yes", "keep the notice"),
    "BSD-3-Clause": Terms("yes", "keep the notice"),
    "Apache-2.0": Terms("yes", "keep the notice, state changes"),
    "CC-BY-3.0": Terms("yes", BY),
    "CC-BY-4.0": Terms("yes", BY),
    "CC-BY-SA-3.0": Terms("yes", SHARE),
    "CC-BY-SA-4.0": Terms("yes", SHARE),
    "CC-BY-ND-4.0": Terms("unclear", "name the authors, no derivatives: a translation is one"),
    "ODC-By-1.0": Terms("yes", BY),
    "ODbL-1.0": Terms("yes", SHARE),
    "CDLA-Permissive-2.0": Terms("yes", "pass the licence on"),
    "CDLA-Sharing-1.0": Terms("yes", "share alike"),
    "GPL-3.0-only": Terms("yes", "share alike, with the source"),
    "CC-BY-NC-3.0": Terms("no", BY),
    "CC-BY-NC-4.0": Terms("no", BY),
    "CC-BY-NC-SA-3.0": Terms("no", SHARE),
    "CC-BY-NC-SA-4.0": Terms("no", SHARE),
    "CC-BY-NC-ND-4.0": Terms("no", "name the authors, no derivatives: a translation is one"),
    "unknown": Terms("unclear", "nobody said how it may be used"),
}


def terms(licence: str) -> Terms:
    """What is known of a licence; of a team's own nothing is."""
    return LICENCES.get(licence, Terms("unclear", "ask its holder"))


def allowed(licence: str, licences: str | list[str]) -> bool:
    """Whether the param ``licences`` lets a licence in: ``all``, ``commercial``, or a list of names."""
    if licences == "commercial":
        return terms(licence).commercial == "yes"
    return licences == "all" or licence in licences
