"""What a stage needs in a GPU's memory, by part, for each process.

Weights, adapters, the optimizer's state and other models stay; the rest comes and goes, and the peak is where the
most of it stands at once: while it learns, while it answers, or while it reads for a measure. Each part is a formula
over the model's shape (``shapes.py``) and the recipe, which follows what the stages load: weights that move in
float32 under autocast, frozen ones in the recipe's precision or in 4 bits, adapters in float32, and so the ends of a
vocabulary that are learned whole beside them. Not covered: swapping by paged optimizers, which is counted as if it did
not happen; what answering and reading take (``reading.py``).
"""

from dataclasses import dataclass

from stages.lib import recipes
from tools.planning import reading, shapes
from tools.planning.shapes import Shape

GIB = 1 << 30
CONTEXT = 0.6 * GIB  # what the driver and the libraries' workspaces take before the first tensor
SLACK = 0.05  # of what comes and goes: blocks that the allocator holds but can't use
TILE = (4096, 32768)  # tokens and pieces of the vocabulary that trl's fused head reads at once
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)  # a 4-bit number, and its double quantised scale (Dettmers et al. 2023)
ENGINES = ("zero2", "zero3")  # DeepSpeed: weights in 16 bits, their float32 masters among the optimizer's states
SHARDS = ("fsdp2", "zero3")
STAYING = ("weights", "adapters", "optimizer", "others")
Parts = dict[str, float]


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
    head: str = "fused"  # what makes the loss: fused (trl), whole (all logits), one (a reward)
    scratch: bool = False
    grown: bool = False  # the vocabulary has new pieces: adapters leave both of its ends to be learned whole
    unread: bool = False  # or tokens of a turn that nothing has read, of which they learn rows
    speakers: int = 0  # answers that are made together
    spoken: int = 0  # tokens of the longest prompt and its answer
    answer: int = 0  # tokens of the answer alone
    judge: bool = False  # a reward model stands beside it
    judged: int = 0  # answers that it reads together
    frozen: bool = False  # so does the start of a policy that moves as a whole
    rows: int = 0  # that are read together for a measure, fewer where their logits are many
    read: int = 0  # tokens of the longest conversation among them
    paired: int = 0  # and of the longest ranked answer with its prompt
    items: int = 0  # tokens of a benchmark's questions that are read together

    @property
    def full(self) -> bool:
        """Whether all weights move."""
        return self.scratch or (self.tuning is not None and self.tuning.method == "full")

    @property
    def held(self) -> int:
        """Bytes of a weight that is not in 4 bits."""
        return 4 if self.full and self.launch not in ENGINES else BYTES[self.precision]

    @property
    def width(self) -> int:
        """Bytes of what matrices read."""
        return BYTES[self.precision]

    @property
    def stream(self) -> int:
        """Bytes of the hidden state between layers; FSDP hands out its shards in the recipe's precision."""
        return self.width if self.launch == "fsdp2" else self.held

    @property
    def checkpointed(self) -> bool:
        """Whether layers are computed anew on the way back."""
        return self.tuning is not None and self.tuning.gradient_checkpointing and not self.scratch


def trainable(job: Job) -> int:
    """Parameters that move."""
    if job.tuning is None:
        return 0
    if job.full:
        return shapes.parameters(job.shape) - spared(job)
    return adapted(job) + sum(ends(job))


def adapted(job: Job) -> int:
    """Parameters of low-rank adapters, and of a new head beside them."""
    assert job.tuning is not None
    return shapes.adapter_parameters(job.shape, job.tuning.lora.r) + (job.shape.hidden if job.head == "one" else 0)


def ends(job: Job) -> tuple[int, int]:
    """Parameters of the vocabulary that are learned whole beside adapters: (where it is read, what only the head has).

    As ``stages/lib/train/adapters.py`` has it: both ends of a grown one; and peft can't learn rows of a head with a
    bias. A reward model has no such head.
    """
    if job.tuning is None or job.full:
        return 0, 0
    head = job.grown or (job.unread and job.shape.built.head_bias)
    return (
        job.shape.vocabulary * job.shape.hidden * job.grown,
        shapes.head_parameters(job.shape) * (head and job.head != "one"),
    )


def row_wise(job: Job) -> int:
    """Parameters of an end of the vocabulary of which adapters learn rows: peft copies all of it at each use."""
    learned = job.unread and not (job.tuning is None or job.full or job.grown)
    return job.shape.vocabulary * job.shape.hidden * learned


def learns_head(job: Job) -> bool:
    """Whether the matrix that the head reads moves, also where it is the one of the other end."""
    read, head = ends(job)
    return job.full or head > 0 or (read > 0 and job.shape.tied and job.head != "one")


def spared(job: Job) -> int:
    """Parameters of the head that a reward model has not, without its one row."""
    return judge_spares(job.shape) if job.head == "one" else 0


def judge_spares(shape: Shape) -> int:
    """What a model that gives one number has less than one that speaks."""
    return max(0, shapes.head_parameters(shape) - shape.hidden)


def packed(shape: Shape, count: int, width: int) -> float:
    """Bytes of so many parameters whose layers' matrices are in 4 bits."""
    matrices = shape.layers * shapes.layer_matrices(shape)
    return matrices * NF4 + (count - matrices) * width


def weight_bytes(job: Job) -> float:
    """Bytes of the model, without adapters."""
    count = shapes.parameters(job.shape) - spared(job)
    four_bit = job.tuning is not None and job.tuning.method == "qlora" and not job.scratch
    return packed(job.shape, count, job.held) if four_bit else float(count * job.held)


def other_bytes(job: Job) -> float:
    """Bytes of a judge, in 4 bits beside such a policy, and of a frozen start, in float32."""
    count, judged = shapes.parameters(job.shape), shapes.parameters(job.shape) - judge_spares(job.shape)
    four_bit = job.tuning is not None and job.tuning.method == "qlora"
    judge = packed(job.shape, judged, BYTES[job.precision]) if four_bit else judged * BYTES[job.precision]
    return job.judge * judge + job.frozen * 4.0 * count


def moving(job: Job) -> int:
    """Bytes of a trained parameter and of its gradient: float32 everywhere but in DeepSpeed's 16-bit copy."""
    return job.held if job.full else 4


def state_bytes(job: Job) -> float:
    """Bytes of the optimizer's state before it is cut into shards."""
    assert job.tuning is not None
    count = trainable(job)
    if job.scratch:  # Muon has one momentum for a matrix, AdamW two for the rest
        inner = job.shape.layers * shapes.layer_matrices(job.shape)
        return 4 * inner + 8 * (count - inner)
    if job.launch in ENGINES:
        return 12 * count if job.precision != "fp32" else 8 * count  # a master copy beside the moments
    if job.tuning.optimizer == "adafactor":
        return 4 * factored(job)
    if job.tuning.optimizer == "adamw":
        return 8 * count
    # two bytes, and a float32 each for 256 of them; but the Trainer leaves embeddings in float32
    whole = job.shape.vocabulary * job.shape.hidden if job.full else ends(job)[0]
    return 8 * whole + (count - whole) * (2 + 8 / 256)


def factored(job: Job) -> int:
    """Rows and columns of what is trained, as Adafactor keeps them."""
    assert job.tuning is not None
    shape, lora = job.shape, 0 if job.full else job.tuning.lora.r
    per_layer = sum(linear.ins + linear.outs + 2 * lora for linear in shapes.linears(shape))
    vectors = 0 if lora else shapes.layer_parameters(shape) - shapes.layer_matrices(shape)  # these are kept whole
    whole = sum(end > 0 for end in ends(job)) if lora else 2
    return shape.layers * (per_layer + vectors) + whole * (shape.vocabulary + shape.hidden)


def kept(job: Job, *, cuda: bool = True) -> tuple[float, float]:
    """(bytes that the layers keep for the way back, those of one that is computed anew on it)."""
    tuning = job.tuning
    if tuning is None:
        return 0.0, 0.0
    tokens, full = job.batch * job.length, job.full
    # without autocast on a GPU, adapters over 4-bit weights have their input in their own precision
    apart = not full and job.width < 4 and (tuning.method == "lora" or not cuda)
    layer = tokens * shapes.kept(
        job.shape, job.length, job.width, cuda=cuda, stream=job.stream, r=0 if full else tuning.lora.r,
        dropout=0.0 if full else tuning.lora.dropout, apart=apart,
    )  # fmt: skip
    edge = tokens * job.shape.hidden * (2 * job.width + 4)  # the embeddings, and the last norm
    if job.checkpointed:
        return edge + tokens * job.shape.hidden * job.stream * job.shape.layers, layer
    return edge + layer * job.shape.layers, 0.0


def casts(job: Job) -> float:
    """Bytes of the 16-bit copies that autocast makes of float32 weights in a forward pass."""
    if job.tuning is None or job.width == 4:
        return 0.0
    head = job.shape.vocabulary * job.shape.hidden * (job.head == "whole" and learns_head(job))
    if not job.full:
        return float(job.width * (adapted(job) + head))
    matrices = job.shape.layers * shapes.layer_matrices(job.shape) + head
    return float(job.width * matrices * (job.stream != job.width))


def head_bytes(job: Job) -> tuple[float, float]:
    """(bytes of what the head makes on the way forward, bytes on its way back, its own gradient included)."""
    tokens, vocabulary, hidden = job.batch * job.length, job.shape.vocabulary, job.shape.hidden
    if job.tuning is None or job.head == "one":
        return 0.0, 0.0
    copied = row_wise(job) * (not job.shape.built.head_bias)  # a head with a bias is learned whole instead
    if job.head == "whole":  # the logits, a copy of all but the last, their log-softmax, its gradient
        return 8.0 * tokens * vocabulary + job.width * copied, 16.0 * tokens * vocabulary + job.width * copied
    tile = min(tokens, TILE[0]) * min(vocabulary, TILE[1]) * job.width
    own = 4.0 * vocabulary * hidden * learns_head(job)  # in float32
    rows = 8.0 * copied  # the copy; its gradient, that trl's head sums in float32; and the same as the copy wants it
    return tile + float(job.width * copied), tile + 4.0 * tokens * hidden + own + rows


def learning(job: Job) -> Parts:
    """Gradients, activations and the head's numbers, at the moment of a step when they are most."""
    if job.tuning is None:
        return {}
    whole = float(trainable(job) * moving(job))
    share = whole / job.processes if job.launch in (*SHARDS, "zero2") else whole
    before = share if job.tuning.accumulate > 1 else 0.0  # those of the batches before it in the step
    (through, back), (stored, layer) = head_bytes(job), kept(job)
    copies = casts(job)
    if job.tuning.method == "qlora" and not job.scratch:
        layer += 2.0 * job.width * max(li.ins * li.outs for li in shapes.linears(job.shape))  # a matrix spelled out
    end = 4.0 * job.shape.vocabulary * job.shape.hidden  # the gradient of an end of the vocabulary
    first, last = end * learns_head(job), end * (job.full or ends(job)[0] > 0)
    rows = float(job.width * row_wise(job))  # that of a copy of the end that reads, of which rows are learned
    moments: list[Parts] = [
        {"gradients": before, "activations": stored + copies, "logits": through},
        {"gradients": before, "activations": stored + (0 if job.checkpointed else copies), "logits": back},
        {"gradients": before or min(first, share), "activations": stored + layer, "logits": 0.0},
        {"gradients": share, "activations": layer, "logits": last * (job.shape.tied or before > 0) + rows},
    ]
    most = max(moments, key=lambda moment: sum(moment.values()))
    return most | {"gradients": most["gradients"] + whole * (job.launch == "ddp")}  # the buckets that are exchanged


def gathered(job: Job) -> float:
    """Bytes of shards that are put together: two layers at a time, or the vocabulary's matrix."""
    if job.launch not in SHARDS:
        return 0.0
    layer = BYTES[job.precision] * shapes.layer_parameters(job.shape)
    return max(2.0 * layer, float(job.shape.vocabulary * job.shape.hidden * job.held))


def parts(job: Job) -> Parts:
    """Bytes of each part on one process."""
    n, launch, weights = job.processes, job.launch, weight_bytes(job)
    found: Parts = {"weights": weights}
    if job.tuning is not None:
        adapters = 0.0 if job.full else float(trainable(job) * moving(job))
        state = state_bytes(job)
        if launch in SHARDS:
            weights, adapters = weights / n, adapters / n
        if launch in (*SHARDS, "zero2"):
            state = state / n
        if launch == "zero3":  # launch/zero3.yaml keeps weights and states in the CPU's memory
            weights = adapters = state = 0.0
        found = {"weights": weights, "adapters": adapters, "optimizer": state} | learning(job)
    found |= {"others": other_bytes(job), "answering": reading.answering(job), "reading": reading.measuring(job)}
    found["context"] = CONTEXT + SLACK * passing(found) + (1 + SLACK) * gathered(job)
    return {key: value for key, value in found.items() if value}


def passing(found: Parts) -> float:
    """Bytes that come and go, at their most: while it learns, while it answers, or while it reads."""
    learned = sum(found.get(key, 0.0) for key in ("gradients", "activations", "logits"))
    return max(learned, found.get("answering", 0.0), found.get("reading", 0.0))


def peak(job: Job) -> float:
    """Bytes that stand at once."""
    found = parts(job)
    return sum(found.get(key, 0.0) for key in (*STAYING, "context")) + passing(found)
