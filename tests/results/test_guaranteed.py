"""What a run guarantees on new data, in words."""

import math

import pandas as pd
import pytest

from rayfe.results.guaranteed import guarantee_line
from tests.helpers.stored_steps import step_record

READ = {
    "gibbs_error": 0.05,
    "gibbs_C": 0.2,
    "gibbs_S": 6280.5,
    "gibbs_C_bound": 1.1561,
    "val_gibbs_error": 0.0612,
    "val_gibbs_error_se": 0.0021,
    "val_gibbs_C": 0.2512,
    "val_gibbs_C_se": 0.0061,
    "label_entropy": math.log(10.0),
    "read_size": 60_000,
}


def line(*bounds: float | None, **others: object) -> str:
    rows = [step_record(step, gibbs_error_bound=bound, **READ | others) for step, bound in enumerate(bounds)]
    return guarantee_line(pd.DataFrame(rows))


def test_the_lowest_bound_is_told_with_what_was_measured() -> None:
    assert line(0.4, 0.2954, None) == (
        "at most 29.5 % of answers by one draw of weights and z are wrong on new data, with probability 95 %; 6.1 ± 0.2 % of "
        "validation examples are; clipped C is at most 1.16 nats (a guess has 2.3), and 0.251 ± 0.006 there (step 1 of "
        "lam0.25-gamma4-seed0, whose weights know 6280 nats of 60000 training examples)"
    )


@pytest.mark.parametrize(("bound", "vacuous"), [(0.89, False), (0.9001, True), (1.0, True)])
def test_a_bound_that_guessing_meets_says_nothing(bound: float, vacuous: bool) -> None:
    """One of ten classes is guessed wrong nine times of ten."""
    assert ("which says nothing: guessing the likeliest class is as good" in line(bound)) == vacuous


def test_rows_without_random_weights_say_nothing() -> None:
    assert line(None, None) == ""
    assert line(0.3, accepted=False) == ""
    assert guarantee_line(pd.DataFrame()) == ""
    assert guarantee_line(pd.DataFrame([step_record(0)]).drop(columns="gibbs_error_bound")) == ""
