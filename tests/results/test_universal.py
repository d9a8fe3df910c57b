"""Encoders at each other's points: which are chosen, the penalties and their errors, and what is said of them."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.exceptions import UsageError
from rayfe.records import StepRecord
from rayfe.records.universal import UniversalRecord
from rayfe.results.universal import frame_of, matrix_of, sentence, spread, table_of
from stored_steps import step_record

LAM, GAMMA = (0.5, 2.0), (4.0, 1.0)


def walk(name: str, *, lam: tuple[float, ...] = LAM, gamma: tuple[float, ...] = GAMMA) -> list[StepRecord]:
    points = enumerate(zip(lam, gamma, strict=True))
    return [step_record(i, trajectory=name, lam=a, gamma=b, F=10.0, state_sha256=f"{name}{i}") for i, (a, b) in points]


def trained(row: StepRecord, seed: int = 1, *, point: tuple[float, float] = (1.0, 1.0), **values: object) -> UniversalRecord:
    key = {"trajectory": row.trajectory, "step": row.step, "state_sha256": str(row.state_sha256), "seed": seed, "epochs": 5.0}
    lam, gamma = point
    return UniversalRecord(**key, lam=lam, gamma=gamma, **({"outcome": "OK", "examples": 1.0, "seconds": 0.0} | values))


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=40, unique=True), st.data())
def test_chosen_models_differ_are_in_order_and_span_the_walk(lams: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(2, len(lams)))
    (chosen,) = spread({"a": walk("a", lam=tuple(lams), gamma=(1.0,) * len(lams))}, count).values()
    found = [row.lam for row in chosen]
    assert len(found) == count and found == sorted(set(found))
    assert (found[0], found[-1]) == (min(lams), max(lams))


def test_walks_of_other_lengths_are_compared_where_all_have_been() -> None:
    long = tuple(2.0 ** np.arange(9.0))
    walks = {"a": walk("a", lam=long, gamma=(1.0,) * 9), "b": walk("b", lam=long[:5], gamma=(1.0,) * 5)}
    assert [[row.lam for row in rows] for rows in spread(walks, 3).values()] == [[1.0, 4.0, 16.0]] * 2


def test_too_few_models_are_refused_with_the_number_there_is() -> None:
    with pytest.raises(UsageError, match=r"models=8: a has 2 of different lam .*; give models=2"):
        spread({"a": walk("a")}, 8)


def test_penalties_are_those_of_the_encoders_constant_rate_and_its_best_decoder_and_classifier() -> None:
    first, second = rows = walk("a")
    records = [trained(first, R=3.0, D=4.0, C=0.5), trained(second, R=5.0, D=2.0, C=0.6)]
    matrix = matrix_of({"a": rows}, records, seeds=1, epochs=5.0, shared=False)
    F = np.array([[3 + 0.5 * 4 + 4 * 0.5, 3 + 2 * 4 + 0.5], [5 + 0.5 * 2 + 4 * 0.6, 5 + 2 * 2 + 0.6]])
    np.testing.assert_allclose(matrix.penalty["F"], F / np.diag(F) - 1.0)
    np.testing.assert_allclose(matrix.penalty["D"], [[0.0, 2.0], [-2.0, 0.0]])
    np.testing.assert_allclose(matrix.penalty["C"], [[0.0, -0.1], [0.1, 0.0]])
    np.testing.assert_allclose(matrix.excess, np.diag(F) / 10.0 - 1.0)
    np.testing.assert_allclose(matrix.mean, matrix.penalty["F"].mean(1))
    assert np.isnan(matrix.error["F"]).all() and "±" not in sentence(matrix)  # of one training there is no scatter


def test_where_decoder_and_classifier_share_something_each_point_has_its_own_training() -> None:
    first, second = rows = walk("a")
    points = list(zip(LAM, GAMMA, strict=True))
    values = {(0, 0): (4.0, 0.5), (0, 1): (3.0, 0.7), (1, 0): (2.5, 0.4), (1, 1): (2.0, 0.6)}
    records = [trained(rows[i], point=points[j], R=3.0 + i, D=D, C=C) for (i, j), (D, C) in values.items()]
    matrix = matrix_of({"a": rows}, records, seeds=1, epochs=5.0, shared=True)
    np.testing.assert_allclose(matrix.penalty["D"], [[0.0, 1.0], [-1.5, 0.0]])
    F = [[3 + LAM[j] * values[0, j][0] + GAMMA[j] * values[0, j][1] for j in (0, 1)]]
    assert matrix.penalty["F"][0, 1] == pytest.approx(F[0][1] / (4 + 2 * 2 + 0.6) - 1.0)
    np.testing.assert_allclose(matrix.own["D"], [4.0, 2.0])


def test_errors_are_over_walks_where_there_are_several_and_over_decoders_of_one() -> None:
    def with_D(name: str, *D: float) -> list[UniversalRecord]:
        (first, second) = walk(name)
        own = [trained(first, seed, R=3.0, D=value, C=0.5) for seed, value in enumerate(D, 1)]
        return own + [trained(second, seed, R=3.0, D=2.0, C=0.5) for seed in range(1, 1 + len(D))]

    one = matrix_of({"a": walk("a")}, with_D("a", 3.0, 4.0, 5.0), seeds=3, epochs=5.0, shared=False)
    assert (one.repeats, one.penalty["D"][0, 1]) == (3, pytest.approx(2.0))
    assert one.error["D"][0, 1] == pytest.approx(np.std([1.0, 2.0, 3.0], ddof=1) / 3**0.5)
    assert one.error["D"][0, 0] == 0.0
    both = [*with_D("a", 3.0, 4.0), *with_D("b", 6.0, 7.0)]
    two = matrix_of({"a": walk("a"), "b": walk("b")}, both, seeds=2, epochs=5.0, shared=False)
    assert (two.repeats, two.penalty["D"][0, 1]) == (2, pytest.approx(3.0))
    assert two.error["D"][0, 1] == pytest.approx(np.std([1.5, 4.5], ddof=1) / 2**0.5)
    assert "95 % intervals over 2 walks, 2 new decoders of each encoder" in sentence(two)


def test_an_encoder_that_beats_a_points_own_is_told() -> None:
    first, second = rows = walk("a")
    better = [trained(first, R=3.0, D=2.0, C=0.5), trained(second, R=5.0, D=2.0, C=0.6)]
    matrix = matrix_of({"a": rows}, better, seeds=1, epochs=5.0, shared=False)
    assert matrix.worst.tolist() == [1, 0]  # not at its own point, where every penalty is 0
    assert matrix.penalty["F"][0, 1] == pytest.approx(7.5 / 9.6 - 1.0)
    assert " 1 of 2 penalties are negative, down to -21.87 %: there the point's own encoder is not the best" in sentence(matrix)


def test_a_seed_that_diverged_is_left_out_and_all_of_them_are_refused() -> None:
    first, second = rows = walk("a")
    whole = [trained(first, 1, R=3.0, D=4.0, C=0.5), trained(second, 1, R=5.0, D=2.0, C=0.6)]
    lost = [dataclasses.replace(one, seed=2, R=None, D=None, C=None, outcome="NONFINITE") for one in whole]
    assert matrix_of({"a": rows}, [*whole, *lost], seeds=2, epochs=5.0, shared=False).decoders == 1
    with pytest.raises(UsageError, match="diverged for a; give seeds=2"):
        matrix_of({"a": rows}, [dataclasses.replace(one, seed=1) for one in lost], seeds=1, epochs=5.0, shared=False)


def test_the_sentence_names_the_encoder_that_loses_least_and_the_table_has_all() -> None:
    first, second = rows = walk("a")
    records = [
        trained(row, seed, R=R, D=D + 0.01 * seed, C=0.5)
        for row, R, D in ((first, 3.0, 4.0), (second, 5.0, 2.0))
        for seed in (1, 2)
    ]
    matrix = matrix_of({"a": rows}, records, seeds=2, epochs=5.0, shared=False)
    assert matrix.best == int(matrix.penalty["F"].mean(1).argmin()) == 1
    assert sentence(matrix).startswith("One encoder for all 2 points, the one of lam 2, would lose ")
    frame = frame_of(matrix)
    lines = table_of(matrix).splitlines()[2:]
    assert [re.split(r"\s{2,}", line.strip())[-2:] for line in lines] == [
        [f"{100 * value:.2f}" for value in part["F"]] for _, part in frame.groupby("encoder_lam")
    ]
    assert frame.query("encoder_lam == lam")[["F", "D", "C"]].eq(0.0).all(axis=None)
