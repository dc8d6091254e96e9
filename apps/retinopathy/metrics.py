"""What is counted on decisions about eyes and patients, in the order a report shows it.

The quadratic kappa comes first, over all five grades whether or not each occurs; it is
given per eye, as in the competitions and papers it is compared with. Referable is
grade 2 or more, vision-threatening grade 3 or more: both are sums of calibrated
scores, so no second model is needed. Macular oedema, which would also make an eye
referable, is not among the labels. Core adds what every ordinal task has: sensitivity
for each grade, AUROC and average precision of the referable grades, calibration.

Source: Wilkinson et al. 2003, doi:10.1016/S0161-6420(03)00475-5 (the scale).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from core.app import Metric
from core.statistics.metrics import (
    auroc_of_positive,
    average_precision_of_positive,
    off_by_two,
    sensitivity_of_positive,
    specificity_of_positive,
)
from core.statistics.standard_metrics import ACCURACY, MEAN_ABSOLUTE_ERROR, QUADRATIC_KAPPA

__all__ = ["GRADES", "METRICS", "REFERABLE", "VISION_THREATENING"]

# The International Clinical Diabetic Retinopathy scale.
GRADES = ("0", "1", "2", "3", "4")
# Class indices: moderate or worse, severe or worse.
REFERABLE = (2, 3, 4)
VISION_THREATENING = (3, 4)


METRICS = (
    replace(QUADRATIC_KAPPA, unit="eye", tasks=()),
    replace(ACCURACY, unit="eye"),
    replace(MEAN_ABSOLUTE_ERROR, unit="eye", tasks=()),
    Metric(
        name="off_by_two",
        title="Two grades or more off",
        compute=off_by_two,
        unit="eye",
        higher_is_better=False,
        percent=True,
    ),
    *(
        Metric(
            name=f"vision_threatening_{measure}",
            title=f"Vision-threatening: {words}",
            compute=partial(compute, positive=VISION_THREATENING),
        )
        for measure, words, compute in (
            ("auroc", "AUROC", auroc_of_positive),
            ("average_precision", "average precision", average_precision_of_positive),
        )
    ),
    *(
        Metric(
            name=f"{name}_{measure}",
            title=f"{title}, by the predicted grade: {measure}",
            compute=partial(compute, positive=positive),
            percent=True,
        )
        for name, title, positive in (
            ("referable", "Referable", REFERABLE),
            ("vision_threatening", "Vision-threatening", VISION_THREATENING),
        )
        for measure, compute in (
            ("sensitivity", sensitivity_of_positive),
            ("specificity", specificity_of_positive),
        )
    ),
)
