"""The novelty filter beside rouge_score: ``python -m benchmarks.novelty [pool] [candidates] [ascii|vietnamese]``.

Makes a pool of instructions from a seed, in ``ascii`` (8 to 24 words) or ``vietnamese`` (an opening that hundreds of
thousands share, and 4 to 16 syllables), judges the candidates, of which half are edited copies, and takes those in that
are new, as the stage does. rouge_score judges ten of them, its texts tokenised beforehand, which is in its favour;
another hundred are compared with the whole pool by rapidfuzz alone, without the signatures. Times are CPU time, so that
what else the machine does hardly counts. Not covered: meaning.
"""

import itertools
import random
import resource
import sys
import time

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel
from rouge_score import rouge_scorer

from benchmarks.corpus import REQUESTS, syllables
from stages.lib.generate.novelty import Novelty, rouge, words

THRESHOLD = 0.7
PEER_CANDIDATES = 10  # of all, since each takes seconds
PEER_POOL = 100_000  # at most: at a million each would take a minute
WHOLE_CANDIDATES = 100


def instructions(count: int, rng: random.Random, shape: str) -> list[str]:
    """Sentences over a vocabulary of 8,000 words, common ones more often."""
    if shape == "ascii":
        vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 8))) for _ in range(8000)]
        shortest, longest, openings = 8, 24, ["{}"]
    else:
        vocabulary = syllables(np.random.default_rng(1))[:8000]
        shortest, longest, openings = 4, 16, list(REQUESTS)
    weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(vocabulary))))
    return [
        rng.choice(openings).format(
            " ".join(rng.choices(vocabulary, cum_weights=weights, k=rng.randint(shortest, longest)))
        )
        for _ in range(count)
    ]


def edited(text: str, rng: random.Random) -> str:
    """A copy with a share of its words replaced, so that many lie near the threshold."""
    share = rng.uniform(0.1, 0.6)
    return " ".join(word if rng.random() > share else "zzz" + word for word in text.split())


def peer(candidate: list[str], pool: list[list[str]]) -> bool:
    """Stanford's rule with rouge_score's own arithmetic."""
    return max(rouge_scorer._score_lcs(one, candidate).fmeasure for one in pool) <= THRESHOLD


def whole(text: str, pool: Novelty) -> bool:
    """The same decision by a look at every text of the pool."""
    (segment,) = pool._segments
    one = segment.encode(words(text))
    scores = process.cdist([one], segment.texts, scorer=Indel.normalized_similarity, dtype=np.float64)[0]
    near = np.flatnonzero(scores > THRESHOLD - 0.01).tolist()
    return max((rouge(one, segment.texts[place], float(scores[place])) for place in near), default=0.0) <= THRESHOLD


def memory() -> float:
    """Megabytes that this process held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Measure and compare."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    shape = sys.argv[3] if len(sys.argv) > 3 else "ascii"
    rng = random.Random(1)
    texts = instructions(size + count, rng, shape)
    pool, fresh = texts[:size], texts[size:]
    candidates = [edited(rng.choice(pool), rng) if number % 2 else text for number, text in enumerate(fresh)]
    before, begin = memory(), time.process_time()
    ours = Novelty(pool)
    took = time.process_time() - begin
    print(f"pool {size:,} ({shape}): taken in within {took:.1f} s, {memory() - before:,.0f} MB more")
    alone = [whole(text, ours) for text in candidates[:WHOLE_CANDIDATES]]
    first = [
        ours.nearest(text, above=THRESHOLD) is None for text in candidates[: max(PEER_CANDIDATES, WHOLE_CANDIDATES)]
    ]
    print(f"the same {len(alone)} decisions as a look at every text: {alone == first[: len(alone)]}")
    begin, slowest, new = time.process_time(), 0.0, 0
    for text in candidates:
        started = time.process_time()
        if ours.nearest(text, above=THRESHOLD) is None:
            ours.add(text)
            new += 1
        slowest = max(slowest, time.process_time() - started)
    each = (time.process_time() - begin) / count
    told = f"{each * 1000:.2f} ms a candidate, {slowest * 1000:.0f} at most"
    print(f"this filter: {told}; {count - new} of {count} not novel")
    if size > PEER_POOL:
        return
    split = [words(text) for text in pool]
    begin = time.process_time()
    theirs = [peer(words(text), split) for text in candidates[:PEER_CANDIDATES]]
    slow = (time.process_time() - begin) / PEER_CANDIDATES
    print(f"rouge_score: {slow * 1000:,.0f} ms a candidate; the same decisions: {theirs == first[:PEER_CANDIDATES]}")
    print(f"{slow / each:,.0f} times as fast")


if __name__ == "__main__":
    main()
