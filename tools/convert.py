"""``python -m tools.convert REPO REVISION FOLDER``: a model published as pickles, as safetensors in a folder.

torch's weights-only loader reads the pickles, which builds tensors and calls nothing; code beside them is neither
fetched nor run. Name the folder as ``base.repo`` of a recipe. Not covered: formats of other libraries.
"""

import sys
from pathlib import Path

from stages.lib import hub
from stages.lib.contract import Refusal


def main(words: list[str]) -> int:
    """The exit code: 2 where the words or the model don't fit."""
    if len(words) != 3:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    repo, revision, folder = words
    from huggingface_hub import snapshot_download
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        found = Path(repo)
        if not found.is_dir():
            kinds = [*hub.FILES, "*.bin"]
            found = Path(snapshot_download(repo, revision=revision, allow_patterns=kinds, ignore_patterns=["*/*"]))
        hub.config(found, repo)
        model = AutoModelForCausalLM.from_pretrained(str(found), dtype="auto", trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(str(found), trust_remote_code=False)
    except Refusal as refusal:
        print(f"error: {refusal}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {repo} at {revision}: {hub.explain(repo, revision, error)}", file=sys.stderr)
        return 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{folder}: safetensors of {repo} at {revision}; name it as base.repo")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
