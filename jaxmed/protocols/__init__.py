"""Protocols: loops that select data around a Learner that trains.

`k_fold`, `repeated`, `monte_carlo`, `leave_one_out`, `leave_one_site_out` and `nested` split the
cases of a study by patient, with stratification. `study` trains every arm on every split with every
seed, resumes after an interruption, and returns predictions for any test: `runs_of` joins the
folds, `fold_scores` and `compare_arms` evaluate them separately, `site_scores` site by site,
`components` separates the variance of seeds from that of cases. `tuned` is an arm that selects its
model inside each training part, a `Procedure` one that trains and predicts by itself. `open_test`
keeps a ledger of uses of a test set.

`episode` draws small tasks for few-shot learning, `episode_batches` makes batches of them;
`linear_probe` and `knn_probe` evaluate frozen features. `pseudo_label_rounds` trains on its own
most confident predictions, round by round. `deep_stacking` solves modules one upon the other,
whose units may begin as `class_differences`.

`pool`, `weighted_average`, `greedy_selection` and `stacking` make one model of several;
`stacked_runs` adds such a one to a finished study. `boosting` trains models one after the other.

`active_rounds` asks for labels round by round, by an acquisition (`ask_entropy`, `ask_badge`, ...),
of a function, a table or a person (`person_oracle`), of cases or of slices and `regions` of scans;
`label_curve` compares acquisitions.

`suspect_labels` finds labels that contradict confident predictions, `transition_matrix` as what
each class is written down.

`continual_scores` sums up tasks that were learned one after the other; `prequential` predicts a
stream before it learns from it, `regret` compares it with the best fixed learner (`hindsight`),
`hedge` weighs experts, `adwin` and `page_hinkley` notice changes.

`label_propagation` classifies cases by a graph of labelled and unlabelled ones, `propagate` on a
graph of your own; `prior_shift` finds the classes' shares among unlabelled cases.

`interact` trains an agent in its environments, `evaluate_policy` plays episodes and sums them up
with intervals over cases.
"""

from jaxmed.protocols.acting._evaluate import PolicyScores, evaluate_policy
from jaxmed.protocols.acting._interact import interact
from jaxmed.protocols.active._curve import LabelCurve, label_curve
from jaxmed.protocols.active._diverse import ask_badge, ask_core_set, ask_typical
from jaxmed.protocols.active._oracles import LabelsAwaited, person_oracle, table_oracle
from jaxmed.protocols.active._pool import Pool, pool_of
from jaxmed.protocols.active._regions import Regions, region_scores, regions, voxel_scores
from jaxmed.protocols.active._rounds import ActiveRound, ActiveRun, active_rounds
from jaxmed.protocols.active._uncertain import (
    ask_bald,
    ask_batch_bald,
    ask_committee,
    ask_entropy,
    ask_least_confident,
    ask_margin,
    ask_mixed,
    ask_power_bald,
    ask_random,
    ask_score,
    ask_score_per_cost,
)
from jaxmed.protocols.continual._scores import ContinualScores, continual_scores
from jaxmed.protocols.ensembles._boosting import Boosted, boosting
from jaxmed.protocols.ensembles._pools import pool
from jaxmed.protocols.ensembles._stacking import Stacked, stacked_runs, stacking
from jaxmed.protocols.ensembles._weights import (
    EnsembleWeights,
    greedy_selection,
    weighted_average,
)
from jaxmed.protocols.episodes._batches import EpisodeBatches, episode_batches
from jaxmed.protocols.episodes._draw import Episode, episode
from jaxmed.protocols.episodes._probe import LinearProbe, knn_probe, linear_probe
from jaxmed.protocols.episodes._pseudo_label_rounds import Round, pseudo_label_rounds
from jaxmed.protocols.noise._confident import Suspects, suspect_labels, transition_matrix
from jaxmed.protocols.online._drift import Drifts, adwin, page_hinkley
from jaxmed.protocols.online._hedge import Hedged, hedge
from jaxmed.protocols.online._prequential import Trace, prequential
from jaxmed.protocols.online._regret import hindsight, regret
from jaxmed.protocols.solved._class_differences import class_differences
from jaxmed.protocols.solved._deep_stacking import DeepStack, Tuning, deep_stacking
from jaxmed.protocols.studies._ledger import Opening, Openings, open_test
from jaxmed.protocols.studies._options import Reading, TrainingPlan
from jaxmed.protocols.studies._procedure import Procedure
from jaxmed.protocols.studies._result import Choice, Failure, Study
from jaxmed.protocols.studies._sites import SiteScores, site_scores
from jaxmed.protocols.studies._splits import (
    Split,
    k_fold,
    leave_one_out,
    leave_one_site_out,
    monte_carlo,
    nested,
    repeated,
    with_inner,
)
from jaxmed.protocols.studies._study import study
from jaxmed.protocols.studies._tidy import (
    ArmTest,
    Runs,
    compare_arms,
    components,
    fold_scores,
    runs_of,
    study_table,
    write_study,
)
from jaxmed.protocols.studies._tuned import Tuned, tuned
from jaxmed.protocols.transductive._graph import neighbour_graph
from jaxmed.protocols.transductive._prior_shift import PriorShift, prior_shift
from jaxmed.protocols.transductive._propagation import Propagated, label_propagation, propagate

__all__ = [
    "ActiveRound",
    "ActiveRun",
    "ArmTest",
    "Boosted",
    "Choice",
    "ContinualScores",
    "DeepStack",
    "Drifts",
    "EnsembleWeights",
    "Episode",
    "EpisodeBatches",
    "Failure",
    "Hedged",
    "LabelCurve",
    "LabelsAwaited",
    "LinearProbe",
    "Opening",
    "Openings",
    "PolicyScores",
    "Pool",
    "PriorShift",
    "Procedure",
    "Propagated",
    "Reading",
    "Regions",
    "Round",
    "Runs",
    "SiteScores",
    "Split",
    "Stacked",
    "Study",
    "Suspects",
    "Trace",
    "TrainingPlan",
    "Tuned",
    "Tuning",
    "active_rounds",
    "adwin",
    "ask_badge",
    "ask_bald",
    "ask_batch_bald",
    "ask_committee",
    "ask_core_set",
    "ask_entropy",
    "ask_least_confident",
    "ask_margin",
    "ask_mixed",
    "ask_power_bald",
    "ask_random",
    "ask_score",
    "ask_score_per_cost",
    "ask_typical",
    "boosting",
    "class_differences",
    "compare_arms",
    "components",
    "continual_scores",
    "deep_stacking",
    "episode",
    "episode_batches",
    "evaluate_policy",
    "fold_scores",
    "greedy_selection",
    "hedge",
    "hindsight",
    "interact",
    "k_fold",
    "knn_probe",
    "label_curve",
    "label_propagation",
    "leave_one_out",
    "leave_one_site_out",
    "linear_probe",
    "monte_carlo",
    "neighbour_graph",
    "nested",
    "open_test",
    "page_hinkley",
    "person_oracle",
    "pool",
    "pool_of",
    "prequential",
    "prior_shift",
    "propagate",
    "pseudo_label_rounds",
    "region_scores",
    "regions",
    "regret",
    "repeated",
    "runs_of",
    "site_scores",
    "stacked_runs",
    "stacking",
    "study",
    "study_table",
    "suspect_labels",
    "table_oracle",
    "transition_matrix",
    "tuned",
    "voxel_scores",
    "weighted_average",
    "with_inner",
    "write_study",
]
