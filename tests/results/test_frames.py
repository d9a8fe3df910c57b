"""What rows say, column by column."""

import pandas as pd

from rayfe.results.frames import gammas_of


def test_each_loss_has_a_gamma_of_its_own_and_one_loss_the_rows() -> None:
    rows = pd.DataFrame({"gamma": [4.0, 4.0], "multipliers": [None, None]})
    assert gammas_of(rows).tolist() == [[4.0], [4.0]]
    several = rows.assign(multipliers=[(4.0, 3.0), (2.0, 5.0)])
    assert gammas_of(several).tolist() == [[4.0, 3.0], [2.0, 5.0]]
    assert gammas_of(several[:0]).shape == (0, 1)
