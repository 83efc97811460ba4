"""Protocols: loops that choose data, around a Learner that trains.

`k_fold`, `repeated`, `monte_carlo`, `leave_one_out`, `leave_one_site_out` and `nested` part the
cases of a study, by patient and in strata. `open_test` keeps a ledger of each look at a test set.
"""

from jaxmed.protocols._ledger import Opening, Openings, open_test
from jaxmed.protocols._splits import (
    Split,
    k_fold,
    leave_one_out,
    leave_one_site_out,
    monte_carlo,
    nested,
    repeated,
    with_inner,
)

__all__ = [
    "Opening",
    "Openings",
    "Split",
    "k_fold",
    "leave_one_out",
    "leave_one_site_out",
    "monte_carlo",
    "nested",
    "open_test",
    "repeated",
    "with_inner",
]
