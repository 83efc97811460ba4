"""The methods named on a page, each with a sentence and its reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from jaxmed.report.results._results import ComparisonResults, Results


class Entry(NamedTuple):
    """A method: as pages name it (a regular expression), its title, a sentence, the reference."""

    named: str
    title: str
    text: str
    reference: str


ENTRIES = (
    Entry(
        r"^wilson$",
        "wilson",
        "Wilson's score interval of a proportion, which keeps its level near 0 and 1.",
        "Brown, Cai, DasGupta (2001), Statistical Science 16:101",
    ),
    Entry(
        r"^wilson, clustered$",
        "wilson, clustered",
        "Wilson's interval with the number of rows divided by the design effect, so that rows of "
        "one patient do not count as independent.",
        "Rao and Scott (1992), Biometrics 48:577",
    ),
    Entry(
        r"^wilson of Jaccard$",
        "wilson of Jaccard",
        "Wilson's interval of the Jaccard index J, which is a proportion, carried over to F1 = "
        "2J / (1 + J).",
        "Brown, Cai, DasGupta (2001), Statistical Science 16:101",
    ),
    Entry(
        r"^square-and-add",
        "square-and-add",
        "The distances of the limits of several proportions are squared and added, which gives the "
        "limits of their mean.",
        "Zou and Donner (2008), Stat Med 27:1693",
    ),
    Entry(
        r"^(transformed-)?delta$",
        "delta, transformed-delta",
        "Normal limits with the standard error of a function of counted cases, found by its "
        "derivative; transformed: on a scale without ends, which keeps the limits in range.",
        "Agresti (2013), Categorical Data Analysis, section 16.1",
    ),
    Entry(
        r"^(logit-)?delong$",
        "logit-delong",
        "The AUC's standard error by DeLong's placements of each case among those of the other "
        "class, with limits on the logit scale; with patients, Obuchowski's sums by patient.",
        "DeLong et al. (1988), Biometrics 44:837; Obuchowski (1997), Biometrics 53:567",
    ),
    Entry(
        r"^logit$",
        "logit",
        "The interval of average precision by the binomial variance of the positive cases, on the "
        "logit scale.",
        "Boyd, Eng, Page (2013), ECML PKDD, LNCS 8190:451",
    ),
    Entry(
        r"^logistic, wald$",
        "logistic, wald",
        "Slope and intercept of a logistic regression of the label on the logit of the "
        "probability, with normal limits.",
        "Cox (1958), Biometrika 45:562; Van Calster et al. (2019), BMC Med 17:230",
    ),
    Entry(
        r"infinitesimal jackknife",
        "infinitesimal jackknife",
        "The standard error by the derivative of the estimate in each case's weight, that of the "
        "weights for censoring included; logit: limits on that scale.",
        "Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans; Therneau and "
        "Watson (2017), The concordance statistic and the Cox model",
    ),
    Entry(
        r"^Kaplan-Meier",
        "Kaplan-Meier",
        "The product limit of survival with Greenwood's variance, its limits on the scale of "
        "log(-log S); over the mean prediction it is observed over expected.",
        "Kaplan and Meier (1958), JASA 53:457; Kalbfleisch and Prentice (1980)",
    ),
    Entry(
        r"^Wald, Cox",
        "Wald, Cox",
        "The slope of the predicted log(-log S) in Cox's model of the outcome: below 1 where "
        "predictions are too extreme, above where they are too timid.",
        "van Houwelingen (2000), Stat Med 19:3401",
    ),
    Entry(
        r"^t$",
        "t",
        "Student's interval of a mean.",
        "Student (1908), Biometrika 6:1",
    ),
    Entry(
        r"^bca",
        "bca bootstrap",
        "Percentiles of the metric over resampled cases (or patients), corrected for bias and for "
        "a spread that changes with the value.",
        "Efron (1987), JASA 82:171",
    ),
    Entry(
        r"percentile bootstrap|^bootstrap \(",
        "percentile bootstrap",
        "Percentiles of the metric over resampled cases (or patients).",
        "Efron and Tibshirani (1993), An Introduction to the Bootstrap",
    ),
    Entry(
        r"bins by (width|mass)",
        "bins",
        "The calibration error compares the mean probability of each bin with the frequency in it; "
        "few cases a bin bias it upwards.",
        "Naeini, Cooper, Hauskrecht (2015), AAAI; Nixon et al. (2019), CVPR workshops",
    ),
    Entry(
        r"^Obuchowski-Rockette",
        "Obuchowski-Rockette",
        "Runs that differ in their seed are to a metric what readers are to a reader study: the "
        "limits speak for other runs and other cases; of one run for other cases alone.",
        "Obuchowski and Rockette (1995), Commun Stat Simul 24:285; Hillis (2014), Stat Med 33:330",
    ),
    Entry(
        r"^bland-altman t$",
        "bland-altman t",
        "Student's limits of the mean difference of two measurements, and of the two values "
        "between which 95% of differences lie.",
        "Bland and Altman (1986), Lancet 1:307",
    ),
    Entry(
        r"^ICC\d",
        "intraclass correlation",
        "The share of the variance of measurements that is between the measured, with limits by "
        "generalised pivots of the variances.",
        "Shrout and Fleiss (1979), Psychol Bull 86:420; Tian and Cappelleri (2004), J Biopharm "
        "Stat 14:125",
    ),
    Entry(
        r"^(grouped )?jackknife\b",
        "jackknife",
        "The standard error from values without each image, or without each of some parts, in "
        "turn: a bootstrap's copies of an image would bias distances between sets of images.",
        "Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans",
    ),
    Entry(
        r"^bootstrap of held-out images",
        "bootstrap of held-out images",
        "The share of drawn images nearer to a training image than a quantile of held-out ones "
        "are, with the uncertainty of that quantile; Jeffreys' limits where no image is.",
        "Brown, Cai, DasGupta (2001), Statistical Science 16:101",
    ),
    Entry(
        r"^DeLong, paired",
        "DeLong, paired",
        "Test of the difference of two AUCs on the same cases by the covariance of their "
        "placements; clustered: by Obuchowski's sums by patient.",
        "DeLong et al. (1988), Biometrics 44:837; Obuchowski (1997), Biometrics 53:567",
    ),
    Entry(
        r"^McNemar, mid-p",
        "McNemar, mid-p",
        "Of the cases that only one model gets right, is the split other than half and half? The "
        "mid-p value counts half of the probability of what was seen.",
        "McNemar (1947), Psychometrika 12:153; Fagerland et al. (2013), BMC Med Res Methodol 13:91",
    ),
    Entry(
        r"^McNemar, clustered",
        "McNemar, clustered",
        "McNemar's test with a variance from the sums of each patient.",
        "Obuchowski (1998), Stat Med 17:1495",
    ),
    Entry(
        r"[pn]pv weighted-score test",
        "weighted-score test",
        "Test of the difference of two predictive values on the same cases, which are shares of "
        "different sets of cases.",
        "Kosinski (2013), Stat Med 32:964",
    ),
    Entry(
        r"sign-flip permutation",
        "sign-flip permutation",
        "The mean difference of two models over cases (or patients), among all that arise when the "
        "models of a case are exchanged at random.",
        "Fisher (1935), The Design of Experiments; Phipson and Smyth (2010), SAGMB 9:39",
    ),
    Entry(
        r"paired bootstrap",
        "paired bootstrap",
        "Both models are measured on the same resamples; normal: the p-value is that of the "
        "difference over its standard deviation there.",
        "Efron and Tibshirani (1993), An Introduction to the Bootstrap",
    ),
    Entry(
        r"bootstrap interval",
        "bootstrap interval",
        "The limits of the difference are percentiles over resampled cases (or patients), whatever "
        "gave the p-value.",
        "Efron and Tibshirani (1993), An Introduction to the Bootstrap",
    ),
    Entry(
        r"^subgroup against the others",
        "subgroup against the others",
        "A subgroup's value minus the mean of the others, weighted by their sizes, over its "
        "bootstrap standard deviation; p-values corrected over subgroups.",
        "Collins et al. (2024), TRIPOD+AI, BMJ 385",
    ),
    Entry(
        r"\bholm\b",
        "Holm",
        "The smallest of k p-values is multiplied by k, the next by k - 1, and so on: at most one "
        "chance in twenty of any false finding, at a level of 5%.",
        "Holm (1979), Scand J Stat 6:65",
    ),
    Entry(
        r"^hochberg$",
        "Hochberg",
        "Holm's factors, applied from the largest p-value downwards; for tests that do not "
        "depend on each other negatively.",
        "Hochberg (1988), Biometrika 75:800",
    ),
    Entry(
        r"^hommel$",
        "Hommel",
        "The p-values at which Simes' test of some set of the hypotheses rejects; for tests that "
        "do not depend on each other negatively.",
        "Hommel (1988), Biometrika 75:383",
    ),
    Entry(
        r"^bonferroni$",
        "Bonferroni",
        "Each p-value is multiplied by their number.",
        "Dunn (1961), JASA 56:52",
    ),
    Entry(
        r"annealed importance sampling",
        "annealed importance sampling",
        "The partition function of an energy model, by chains that are led through temperatures "
        "from a model whose own is known; in reverse, from samples of the model, it is bounded "
        "from the other side.",
        "Neal (2001), Statistics and Computing 11:125; Burda, Grosse, Salakhutdinov (2015), "
        "AISTATS",
    ),
    Entry(
        r"^benjamini-hochberg$",
        "Benjamini-Hochberg",
        "Controls the expected share of false findings among all findings, not the chance of any.",
        "Benjamini and Hochberg (1995), JRSS B 57:289",
    ),
)


def named_methods(results: Results) -> Iterator[str]:
    """Yield the method of each interval and test of a page, and of their correction."""
    yield from (estimate.method for estimate in results.metrics.values())
    for table in results.subgroups:
        yield from (estimate.method for estimate in table.found.estimates.values())
        yield from (test.method for test in table.found.differences.values())
        yield table.found.gap.method
    if isinstance(results, ComparisonResults):
        found = results.comparison
        for metrics in found.models.values():
            yield from (estimate.method for estimate in metrics.values())
        yield from (contrast.test.method for contrast in found.contrasts)
        if found.contrasts:
            yield found.adjustment


def glossary(results: Results) -> list[Entry]:
    """Return the entries of the methods that a page names."""
    methods = {*named_methods(results)}
    return [entry for entry in ENTRIES if any(re.search(entry.named, name) for name in methods)]
