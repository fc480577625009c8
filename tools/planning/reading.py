"""What a stage needs in a GPU's memory while it answers, and while it reads for a measure.

Nothing of it is kept for a way back: a layer at a time, the keys and values of what was said, and logits. Not covered:
what stays meanwhile, and learning (``memory.py``).
"""

from typing import TYPE_CHECKING

from stages.lib.weights import LOGITS
from tools.planning import shapes

if TYPE_CHECKING:
    from tools.planning.memory import Job

READ = 10  # bytes of a logit of a conversation: itself, in float32, and its log-softmax
PAIRED = 14  # of a ranked answer: itself, divided by the temperature, and two more while exponentials are summed


def passed(job: "Job", rows: int, length: int) -> float:
    """Bytes that a layer has at once of rows that only go through it."""
    scores = job.shape.heads * length * (4 + job.width) if job.shape.built.eager else 0
    return rows * length * (job.width * (4.0 * job.shape.hidden + 3.0 * job.shape.inner) + scores)


def answering(job: "Job") -> float:
    """Bytes of keys and values when the longest answers end, of one token's logits each, and of a judge's reading."""
    if not job.answer:
        return 0.0
    keys = job.speakers * job.spoken * shapes.cache(job.shape, job.held if job.full else job.width)
    made = keys + job.speakers * job.shape.vocabulary * (job.width + 4.0)
    return max(made + passed(job, job.speakers, job.spoken - job.answer), passed(job, job.judged, job.spoken))


def measuring(job: "Job") -> float:
    """Bytes of logits that are read for a measure, of which the stages bound the number, and of the layers below."""
    vocabulary = job.shape.vocabulary

    def bounded(length: int) -> float:
        return float(min(job.rows * length * vocabulary, max(LOGITS, length * vocabulary)))

    logits = max(READ * bounded(job.read), PAIRED * bounded(job.paired))
    read = logits + passed(job, 1, max(job.read, job.paired)) * bool(job.rows)
    # two models' logits of an answer, and five numbers of each for the divergence
    apart = (8.0 * bounded(job.spoken) + 20.0 * job.answer * vocabulary) * job.judge
    return max(read, apart, job.items * vocabulary * 2.0 * job.width)
