"""What a training or answering stage needs in a GPU's memory, by part, for each process.

Each part is a formula over the model's shape (``tools/shapes.py``) and the recipe; the peak is where the head's tile
meets all that the layers keep, or where a cache of keys and values is fullest. Not covered: swapping by paged
optimizers, which is counted as if it did not happen.
"""

from dataclasses import dataclass

from stages.lib import recipes
from tools import shapes
from tools.shapes import Shape

GIB = 1 << 30
CONTEXT = 0.6 * GIB  # what the driver and the libraries' workspaces take before the first tensor
SLACK = 0.05  # of what comes and goes: blocks that the allocator holds but can't use
TILE = (4096, 32768)  # tokens and pieces of the vocabulary that trl's fused head reads at once
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # a 4-bit number, and its double quantised scale (Dettmers et al. 2023)


@dataclass(frozen=True)
class Job:
    """One stage as the arithmetic sees it."""

    name: str
    shape: Shape
    tuning: recipes.Tuning | None  # None: nothing is trained
    precision: str
    launch: recipes.Launch
    processes: int
    batch: int  # rows that stand in memory together while training
    length: int  # tokens of the longest row
    answer: int = 0  # tokens that are generated to a prompt
    answers: int = 0  # rows that are generated or read together
    copies: int = 0  # other whole models: a judge, a reference
    head: str = "fused"  # what makes the loss: fused (trl), whole (all logits), one (a reward)
    scratch: bool = False
    scored: int = 0  # tokens of the logits that are whole when nothing is trained

    @property
    def width(self) -> int:
        """Bytes of an activation."""
        return BYTES[self.precision]


def trainable(job: Job) -> int:
    """Parameters that move."""
    if job.tuning is None:
        return 0
    if job.tuning.method == "full" or job.scratch:
        return shapes.parameters(job.shape) - spared(job)
    return shapes.adapter_parameters(job.shape, job.tuning.lora.r) + (job.shape.hidden if job.head == "one" else 0)


def spared(job: Job) -> int:
    """Parameters of the head that a reward model has not, without its one row."""
    return shapes.head_parameters(job.shape) - job.shape.hidden if job.head == "one" and not job.shape.tied else 0


def weight_bytes(job: Job) -> float:
    """Bytes of the model, without adapters."""
    count = shapes.parameters(job.shape) - spared(job)
    if job.tuning is None:
        return count * job.width
    if job.tuning.method == "qlora":
        packed = job.shape.layers * shapes.layer_matrices(job.shape)
        return packed * NF4 + (count - packed) * job.width
    return count * master(job)


def master(job: Job) -> int:
    """Bytes of a trained weight: fp16 can't hold the small steps of a whole model."""
    full = job.tuning is not None and (job.tuning.method == "full" or job.scratch)
    return 4 if job.precision == "fp16" and full else job.width


def moving(job: Job) -> int:
    """Bytes of a trained parameter: adapters are fp32, but bf16 over 4-bit weights, as trl sets them."""
    assert job.tuning is not None
    if job.tuning.method == "full" or job.scratch:
        return master(job)
    return 2 if job.tuning.method == "qlora" and job.precision != "fp32" else 4


def state_bytes(job: Job) -> float:
    """Bytes of the optimizer's state before it is cut into shards."""
    assert job.tuning is not None
    count = trainable(job)
    if job.scratch:  # Muon has one momentum for a matrix, AdamW two for the rest
        inner = job.shape.layers * shapes.layer_matrices(job.shape)
        return 4 * inner + 8 * (count - inner)
    if job.launch in ("zero2", "zero3"):
        return 12 * count if job.precision != "fp32" else 8 * count  # a master copy beside the moments
    if job.tuning.optimizer == "adafactor":
        return 4 * factored(job)
    if job.tuning.optimizer == "adamw":
        return 2 * moving(job) * count
    return count * (2 + 8 / 256)  # two bytes, and a float32 each for 256 of them


def factored(job: Job) -> int:
    """Rows and columns of what is trained, as Adafactor keeps them."""
    assert job.tuning is not None
    shape, lora = job.shape, 0 if job.tuning.method == "full" else job.tuning.lora.r
    per_layer = sum(linear.ins + linear.outs + 2 * lora for linear in shapes.linears(shape))
    vectors = 0 if lora else shapes.layer_parameters(shape) - shapes.layer_matrices(shape)  # these are kept whole
    return shape.layers * (per_layer + vectors) + (0 if lora else 2 * (shape.vocabulary + shape.hidden))


def activations(job: Job, *, cuda: bool = True) -> float:
    """Bytes that the layers keep for the backward pass."""
    tuning = job.tuning
    if tuning is None:
        return 0.0
    full = tuning.method == "full" or job.scratch
    per_layer = job.batch * job.length * shapes.kept(
        job.shape, job.length, job.width, cuda=cuda, r=0 if full else tuning.lora.r,
        dropout=0.0 if full else tuning.lora.dropout, apart=not full and job.width < 4 and tuning.method == "lora",
    )  # fmt: skip
    edge = job.batch * job.length * job.shape.hidden * (2 * job.width + 4)  # the embeddings, and the last norm
    if tuning.gradient_checkpointing and not job.scratch:
        return edge + per_layer + job.batch * job.length * job.shape.hidden * job.width * job.shape.layers
    return edge + per_layer * job.shape.layers


def head_bytes(job: Job) -> float:
    """Bytes of what the head makes in training."""
    tokens, vocabulary, hidden = job.batch * job.length, job.shape.vocabulary, job.shape.hidden
    if job.tuning is None or job.head == "one":
        return 0.0
    if job.head == "whole":
        return 16.0 * tokens * vocabulary  # the logits, a copy of all but the last, their log-softmax, its gradient
    tile = min(tokens, TILE[0]) * min(vocabulary, TILE[1]) * job.width
    trained = 4.0 * vocabulary * hidden if job.tuning.method == "full" else 0.0  # its gradient is summed in float32
    return tile + 4.0 * tokens * hidden + trained


def answer_bytes(job: Job) -> tuple[float, float]:
    """(bytes of keys and values when the longest answers end, bytes of one token's logits for each answer)."""
    if not job.answer:
        return 0.0, 0.0
    keys = job.answers * job.length * shapes.cache(job.shape, job.width)
    return float(keys), job.answers * job.shape.vocabulary * (job.width + 4.0)


def read_bytes(job: Job) -> float:
    """Bytes of the logits when held-out text is read for its perplexity: them, in float32, and their log-softmax."""
    return job.scored * job.shape.vocabulary * (job.width + 8.0)


def parts(job: Job) -> dict[str, float]:
    """Bytes of each part on one process."""
    n, launch = job.processes, job.launch
    weights, layer = weight_bytes(job), job.width * shapes.layer_parameters(job.shape)
    found: dict[str, float] = {"weights": weights}
    if job.tuning is not None:
        gradients = float(trainable(job) * moving(job))
        adapters = 0.0 if job.tuning.method == "full" or job.scratch else gradients
        state = state_bytes(job)
        if launch in ("fsdp2", "zero3"):
            weights, adapters = weights / n, adapters / n
        if launch in ("fsdp2", "zero2", "zero3"):
            gradients, state = gradients / n, state / n
        if launch == "ddp":
            gradients *= 2  # the buckets that are exchanged
        if launch == "zero3":  # launch/zero3.yaml keeps weights and states in the CPU's memory
            weights = adapters = state = 0
        found = {"weights": weights, "adapters": adapters, "gradients": gradients, "optimizer": state}
        if launch in ("fsdp2", "zero3"):  # two layers are whole at a time, or the vocabulary's matrix
            found["gathered"] = max(2.0 * layer, job.shape.vocabulary * job.shape.hidden * job.width)
        if job.precision == "fp16" and master(job) == 4:
            found["casts"] = 2.0 * shapes.parameters(job.shape)  # autocast's copies of the weights
        found["activations"] = activations(job)
        if job.tuning.method == "qlora":
            found["unpacked"] = 2.0 * job.width * max(li.ins * li.outs for li in shapes.linears(job.shape))
    found["logits"] = max(head_bytes(job), answer_bytes(job)[1], read_bytes(job))
    found["cache"] = answer_bytes(job)[0]
    found["others"] = float(job.copies * shapes.parameters(job.shape) * job.width)
    found["context"] = CONTEXT + SLACK * passing(job, found)
    return {key: value for key, value in found.items() if value}


def passing(job: Job, found: dict[str, float]) -> float:
    """Bytes that come and go, at their most: while it learns, while it answers, or while it reads."""
    learning = found.get("activations", 0) + found.get("casts", 0) + found.get("gradients", 0) + head_bytes(job)
    return max(learning, sum(answer_bytes(job)), read_bytes(job)) + found.get("gathered", 0) + found.get("unpacked", 0)


def peak(job: Job) -> float:
    """Bytes that stand at once."""
    found = parts(job)
    return sum(found.get(key, 0) for key in ("weights", "adapters", "optimizer", "others", "context")) + passing(
        job, found
    )
