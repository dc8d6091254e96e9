"""What the terms of a report mean, in one sentence each.

The page links a term in a table to its entry here, and lists the entries it uses.
"""

from __future__ import annotations

import re

__all__ = ["TERMS", "entry_of"]

TERMS: dict[str, str] = {
    "Accuracy": "Share of cases decided rightly. It flatters where one class is common.",
    "AUROC": "Probability that a positive case gets a higher score than a negative one: a half "
    "is guessing, one is perfect. Area under the ROC curve.",
    "Average precision": "Area under the curve of precision against recall. Guessing gives the "
    "share of positive cases.",
    "Balanced accuracy": "Mean over the classes of the share found; of several labels the mean of "
    "sensitivity and specificity over the labels. Guessing gives one half for labels, and else one "
    "divided by the number of classes.",
    "Brier score": "Mean squared distance between the scores and what was true; zero is perfect.",
    "Bootstrap": "Interval from drawing whole groups again and again, with replacement, and "
    "computing the number anew each time.",
    "Brier skill score": "Share by which the Brier score beats always giving the class shares of "
    "these cases: zero is no better, one is perfect.",
    "Calibration": "Whether scores can be read as probabilities: of cases with a score near a "
    "value, that share should be positive.",
    "Calibration-in-the-large": "Whether scores are too high or too low as a whole, in log odds: "
    "zero is right, below zero is too high.",
    "Calibration slope": "Whether scores are too extreme: one is right, below one is too extreme.",
    "Decision curve": "Net benefit of acting on the score, against acting on every case or on "
    "none, at each threshold.",
    "DeLong": "Formula for the interval of an AUROC that resamples nothing.",
    "Events": "Positive cases; how many there are limits how sure a number can be.",
    "Expected calibration error": "Mean distance between score and observed share over bins of "
    "equal width; zero is perfect, and few cases make it look large.",
    "F1": "Harmonic mean of precision and recall of a class.",
    "Held-out test": "Cases that were used neither for training nor for choosing anything.",
    "Holm": "Correction of p values for the number of comparisons.",
    "Interval": "Range of true values that agree with the cases seen; made by leaving out or "
    "resampling whole groups, or by a formula that counts groups.",
    "Jackknife": "Interval from leaving out one whole group after another.",
    "Likelihood ratio": "By how much a call (LR+) or no call changes the odds of being positive; "
    "one changes nothing.",
    "Linear weighted kappa": "Agreement of ordered grades beyond chance, errors counting by their "
    "distance: zero is chance, one is perfect.",
    "Log-loss": "Mean of minus the logarithm of the score of the true class; zero is perfect, "
    "confident errors cost most.",
    "Macro-F1": "Mean over the classes of F1, each class counting alike.",
    "Net benefit": "Positive cases found per case, less false alarms weighted by the odds of the "
    "threshold.",
    "Mean absolute error": "Mean distance between decided and true grade, in grades.",
    "Negative predictive value": "Of the cases not called positive, the share that is negative. "
    "It depends on how common positive cases are.",
    "Operating point": "Score from which a case is called (screen-)positive. It is chosen on "
    "validation, to reach an aim such as a sensitivity, and only counted on the cases judged.",
    "Out-of-distribution score": "Mahalanobis distance of the embedding; one is the 95th "
    "percentile of validation.",
    "Positive predictive value": "Of the cases called positive, the share that is. It depends on "
    "how common positive cases are.",
    "Precision": "Of the cases called a class, the share that is of it.",
    "Probe": "Logistic regression on the features of the network as it started: what "
    "fine-tuning has to beat.",
    "Quadratic weighted kappa": "Agreement of ordered grades beyond chance, distant errors "
    "counting more: zero is chance, one is perfect.",
    "Recall": "Of the cases of a class, the share found. Of positive cases: sensitivity.",
    "Risk-coverage curve": "Error among the cases still decided when the least certain are "
    "left to a person.",
    "Sensitivity": "Of the positive cases, the share called positive.",
    "Shortcut baselines": "Classifiers given only the file, the mean colour or brightness, or the "
    "border. A network could rely on the same cue.",
    "Specificity": "Of the negative cases, the share not called positive.",
    "Temperature": "One number that divides all logits, so that scores become better calibrated; "
    "the order of the classes of a case stays.",
    "Wilson": "Formula for the interval of a share; it stays within 0 and 100 %.",
}


def entry_of(text: str) -> str:
    """The term a cell or heading speaks of; empty if it is none.

    >>> entry_of("AUROC, by breast"), entry_of("Macro AUROC, one versus rest"), entry_of("rust")
    ('AUROC', 'AUROC', '')
    """
    if str(text)[:1].islower() and str(text).split(" ")[0] not in _METHODS:
        # The name of a setting, "precision", is no measure.
        return ""
    head = re.split(r"[,(:]", str(text))[0].strip().removesuffix(" %").lower()
    head = head.removeprefix("macro ").removesuffix(" curve.").removesuffix(".")
    return _BY_NAME.get(head) or (
        _BY_NAME[first] if (first := head.split(" ")[0]) in _METHODS else ""
    )


_BY_NAME = {name.lower(): name for name in TERMS} | {
    "roc": "AUROC",
    "kappa": "Quadratic weighted kappa",
    "error if the least certain are left to a person": "Risk-coverage curve",
    "frozen features": "Probe",
    "shortcuts": "Shortcut baselines",
    "adaptive calibration error": "Expected calibration error",
    "slope": "Calibration slope",
    "in the large": "Calibration-in-the-large",
    "calibration in the large": "Calibration-in-the-large",
    "calibration line": "Calibration slope",
    "lr+": "Likelihood ratio",
    "lr\N{MINUS SIGN}": "Likelihood ratio",
    "threshold": "Operating point",
}
# Methods of intervals, told with their groups or scale behind them.
_METHODS = frozenset({"jackknife", "bootstrap", "delong", "wilson"})
