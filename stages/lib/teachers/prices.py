"""What tokens cost: the price table of the params, and sums of money in words.

Sums are kept in whole tokens and turned into dollars at the end, so that no rounding adds up and another price list
is another factor. Not covered: how many tokens there were (``account.py``).
"""

from stages.lib.contract import Refusal
from stages.lib.params import Price, Spend

MILLION = 1_000_000
NOTHING = Price(input=0.0, output=0.0)


def price(spend: Spend, model: str, engine: str) -> Price:
    """The price of a model that is about to be asked; a refusal if the params name none, but for this machine's own."""
    if engine == "nllb":
        return spend.prices.get(model, NOTHING)
    if model not in spend.prices:
        raise Refusal(
            f"params.yaml: spend.prices has no price for {model!r}, so nothing is asked. Write the line "
            f"`{model}: {{input: …, output: …}}` there, in dollars for a million tokens; both are 0.0 for a server "
            "of your own"
        )
    return spend.prices[model]


def dollars(price: Price, prompt: int, completion: int, share: float = 1.0) -> float:
    """What so many tokens cost; ``share`` is what a discount leaves of the price."""
    return (prompt * price.input + completion * price.output) * share / MILLION


def money(amount: float) -> str:
    """Dollars in words: cents, and more digits for what is less than a dollar."""
    return f"${amount:.4f}" if 0.00005 <= amount < 1 else f"${amount:,.2f}"


def dong(amount: float, spend: Spend) -> str:
    """Dollars as whole đồng, in words."""
    return f"{round(amount * spend.dong):,} ₫"


def both(amount: float, spend: Spend) -> str:
    """Dollars, and the same in đồng."""
    return f"{money(amount)} ({dong(amount, spend)})"
