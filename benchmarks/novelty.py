"""The novelty filter against rouge_score, on the same ASCII pool: ``python -m benchmarks.novelty [pool] [candidates]``.

Makes a pool of instructions from a seed (8 to 24 words; a tenth of the candidates are edited copies), judges
the candidates with both at the threshold 0.7, compares every decision, and prints the time of a candidate.
rouge_score gets its texts tokenised beforehand, which is in its favour. Not covered: memory.
"""

import random
import sys
import time

from rouge_score import rouge_scorer

from stages.lib.novelty import Novelty, words

THRESHOLD = 0.7
PEER_CANDIDATES = 10  # of all, since each takes seconds


def instructions(count: int, rng: random.Random) -> list[str]:
    """Sentences over a vocabulary of 8,000 words, common ones more often."""
    vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 8))) for _ in range(8000)]
    weights = [1 / (rank + 10) for rank in range(len(vocabulary))]
    return [" ".join(rng.choices(vocabulary, weights, k=rng.randint(8, 24))) for _ in range(count)]


def edited(text: str, rng: random.Random) -> str:
    """A copy with a share of its words replaced, so that many lie near the threshold."""
    share = rng.uniform(0.1, 0.6)
    return " ".join(word if rng.random() > share else "zzz" + word for word in text.split())


def peer(candidate: list[str], pool: list[list[str]]) -> bool:
    """Stanford's rule with rouge_score's own arithmetic."""
    return max(rouge_scorer._score_lcs(one, candidate).fmeasure for one in pool) <= THRESHOLD


def main() -> None:
    """Measure and compare."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    rng = random.Random(1)
    texts = instructions(size + count, rng)
    pool, fresh = texts[:size], texts[size:]
    candidates = [edited(rng.choice(pool), rng) if number % 2 else text for number, text in enumerate(fresh)]
    begin = time.perf_counter()
    ours = Novelty(pool)
    print(f"pool {size:,}: taken in within {time.perf_counter() - begin:.2f} s")
    begin = time.perf_counter()
    decisions = [ours.nearest(text, above=THRESHOLD) is None for text in candidates]
    each = (time.perf_counter() - begin) / count
    print(f"this filter: {each * 1000:.2f} ms a candidate; {count - sum(decisions)} of {count} not novel")
    split = [words(text) for text in pool]
    begin = time.perf_counter()
    theirs = [peer(words(text), split) for text in candidates[:PEER_CANDIDATES]]
    slow = (time.perf_counter() - begin) / PEER_CANDIDATES
    same = theirs == decisions[:PEER_CANDIDATES]
    print(f"rouge_score: {slow * 1000:,.0f} ms a candidate; the same {PEER_CANDIDATES} decisions: {same}")
    print(f"{slow / each:,.0f} times as fast")


if __name__ == "__main__":
    main()
