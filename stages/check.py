"""Read every dial before anything is spent.

All of params.yaml and of the recipe that it names is held against the schemas, so that a wrong learning
rate fails in the first second and not after the translation was paid. The output never changes: whatever
waits for it runs after this stage, and runs again only for reasons of its own. Not covered: whether the
values are wise.
"""

from stages.lib import contract, paramfile
from stages.lib.contract import Dep, Out


def main(dials: Dep, recipes: Dep, checked: Out) -> None:
    """Refuse unknown, missing and mistyped keys."""
    paramfile.check(dials, recipes)
    checked.write_text("Every key of params.yaml and of its recipe has been read and is allowed.\n", encoding="utf-8")


if __name__ == "__main__":
    contract.run(main)
