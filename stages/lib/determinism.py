"""One code path on every CPU, so that a run gives the same bytes on the next machine.

MKL and oneDNN pick kernels by vendor and instruction set, and those round differently: the choice is
fixed here, before torch is loaded, and so is the number of threads. Not covered: other processor
architectures, and GPUs, whose recipes are compared by their metrics.
"""

import os

CPU = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "TOKENIZERS_PARALLELISM": "false",
}


def pin(seed: int, device: str, threads: int) -> None:
    """Fix kernels, threads and every random generator. Call it before anything imports torch or numpy."""
    if device == "cpu":
        os.environ.update(CPU, CUDA_VISIBLE_DEVICES="")
    os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")

    import random

    import numpy
    import torch

    random.seed(seed)  # transformers.set_seed does these three too, but imports every trainer on the way
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(device == "cpu")
    # Writing NaN into every fresh buffer changes no result and slows training.
    torch.utils.deterministic.fill_uninitialized_memory = False
