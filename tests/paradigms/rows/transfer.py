"""Beginning elsewhere, and changing less."""

from __future__ import annotations

from jaxmed import paradigms
from rows._row import Row

SOME = ("batch", "group")

ROWS = {
    "frozen": Row(network=lambda trunk, task: paradigms.frozen(trunk, "Conv"), norms=SOME),
    "lora": Row(
        network=lambda trunk, task: paradigms.lora(trunk, rank=2, learns="^head"), norms=SOME
    ),
    "adapters": Row(
        network=lambda trunk, task: paradigms.adapters(trunk, width=2, learns="^head"), norms=SOME
    ),
    "l2_sp": Row(
        lambda task: paradigms.l2_sp(task.objective, only="", rest=0.1), norms=SOME, stacks=True
    ),
}
