"""All tables that some records come to."""

from collections.abc import Iterator, Mapping, Sequence

from deblur_cli.evaluation.breakdown import sigma_table
from deblur_cli.evaluation.score_tables import (
    Record,
    by_pairs,
    by_protocol,
    cross_table,
    measured,
    score_table,
)
from deblur_cli.evaluation.typeset import Table
from deblur_cli.host.declarations import Metric

CROSSED = ("psnr", "ssim")
"""Metrics of the tables over data sets, unless others are chosen."""


def result_tables(
    records: Sequence[Record],
    metrics: Mapping[str, Metric],
    *,
    chosen: Sequence[str] = (),
    deviations: bool = False,
) -> Iterator[Table]:
    """One or two a protocol and pixels, then one a metric where there are several sets of data.

    Parameters
    ----------
    metrics, chosen, deviations : as those of `score_table`
    """
    for same in by_protocol(records):
        for section in by_pairs(same):
            if measured(section, chosen):
                yield score_table(section, metrics, chosen=chosen, deviations=deviations)
            by_sigma = sigma_table(section)
            if by_sigma is not None and "psnr" in measured(section, chosen):
                yield by_sigma
    if len({record["protocol"]["data"] for record in records}) > 1:
        for name in measured(records, chosen or CROSSED):
            yield cross_table(records, name, metrics)
