"""``python -m tools.convert REPO REVISION FOLDER``: a model published as pickles, as safetensors in a folder.

torch's weights-only loader reads the pickles, which builds tensors and calls nothing; code beside them is neither
fetched nor run. Take a folder below data/hub, name it as ``base.repo`` of a recipe, and ``base`` keeps its
``origin.json``, which tells where the model is from. Not covered: formats of other libraries.
"""

import pickle
import sys
from pathlib import Path

from stages.lib import hub, models, weights
from stages.lib.contract import Refusal


def main(words: list[str]) -> int:
    """The exit code: 2 where the words or the model don't fit."""
    if len(words) != 3:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    repo, revision, folder = words
    from transformers import AutoModelForCausalLM, AutoTokenizer

    faults: tuple[type[BaseException], ...] = (*hub.failures(), pickle.UnpicklingError)
    found, origin = Path(repo), models.Origin()
    try:
        if not found.is_dir():
            found = hub.download(repo, revision, [*hub.FILES, "*.bin"], ["*/*"])
            origin = {"repo": repo, "revision": revision, "commit": found.name}
        hub.config(found, repo)
        model, told = AutoModelForCausalLM.from_pretrained(
            str(found), dtype="auto", trust_remote_code=False, output_loading_info=True
        )
        weights.whole(model, told, repo)
        tokenizer = AutoTokenizer.from_pretrained(str(found), trust_remote_code=False)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    except faults as error:
        print(f"error: {repo} at {revision}: {hub.explain(repo, revision, error)}", file=sys.stderr)
        return 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if origin:
        models.write_origin(Path(folder), origin)
    print(f"{folder}: safetensors of {repo} at {revision}; name it as base.repo")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
