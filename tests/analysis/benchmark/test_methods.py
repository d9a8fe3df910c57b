"""Searching for gamma, and what a method's configuration becomes."""

import dataclasses
import math

import pytest

from analysis.benchmark import settings as settings_of
from analysis.benchmark.forms import FORMS, step_length
from analysis.benchmark.job import Options, main
from analysis.benchmark.methods import LARGEST_FACTOR, next_gamma
from analysis.benchmark.registry import FAMILIES, METHODS, NAMES, ROUTES, label_of
from analysis.benchmark.running import plain
from analysis.benchmark.search import restored, stages
from analysis.benchmark.settings import BEYOND, FRESH_ADAM, LEAP, Settings, configured
from rayfe.config import RunConfig, configure
from rayfe.exceptions import UsageError
from rayfe.records import Point, Velocity
from rayfe.surface.process import IsoClassification
from rayfe.surface.step_control import propose

SHORT = FORMS["short"].walk


def defaults(base: RunConfig) -> dict[str, Settings]:
    return settings_of.defaults(base, FORMS["short"].adam)


@pytest.mark.parametrize("elasticity", [0.35, 0.7, 1.5])
def test_gamma_is_found_on_a_power_law_within_the_trainings_that_a_point_has(elasticity):
    def loss(gamma):
        return 0.08 * (gamma / 9.0) ** -elasticity

    tried: list[tuple[float, float]] = []
    for _ in range(6):
        gamma = next_gamma(tried, first=4.0, C0=0.08)
        tried.append((gamma, loss(gamma)))
    assert min(abs(C / 0.08 - 1.0) for _, C in tried) < 0.05


def test_gamma_stays_within_the_bracket_and_one_try_moves_it_by_a_factor_at_most():
    assert next_gamma([(4.0, 1e6)], first=4.0, C0=0.08) == pytest.approx(4.0 * LARGEST_FACTOR)
    steep = [(4.0, 0.0801), (5.0, 0.02), (4.1, 0.079)]
    assert 4.0 < next_gamma(steep, first=4.0, C0=0.08) < 4.1


def test_every_method_that_follows_a_curve_is_there_with_both_optimizers_and_on_every_route():
    for family, about in FAMILIES.items():
        found = {(method.optimizer, method.route) for method in METHODS.values() if method.family == family}
        assert found == {(optimizer, route) for optimizer in ("adam", "soap") for route in about.routes}
        assert about.from_scratch or about.routes in (tuple(ROUTES), ("there",))
    assert len({label_of(name) for name in NAMES}) == len(FAMILIES) + len(set(NAMES) - set(METHODS))
    assert {"rayfe", "rayfe-leap", "rayfe-plain", "nupi", "nupi-soap", "grid", "warm-grid"} <= set(METHODS)  # of stored runs


def test_every_method_has_settings_and_a_configuration():
    base = configure(SHORT, both_ways=True)
    settings = defaults(base)
    assert list(settings) == list(METHODS)
    for name, method in METHODS.items():
        found, config = settings[name], configured(base, settings[name])
        asked = config.asked
        assert (found.method, config.equilibration.optimizer) == (name, method.optimizer)
        if method.from_scratch:
            assert config.equilibration.first_learning_rate == found.learning_rate and not asked.both_ways
            continue
        assert asked.both_ways == (method.route != "there")
        assert asked.renewal.leap == (LEAP.leap if method.route == "leap" else 0)
        assert (asked.renewal.every is None) == (method.route != "leap" and not method.renews)
        steps = BEYOND.get(method.route, 0)
        assert asked.lam_end == pytest.approx(base.asked.lam_end * math.exp(steps * base.asked.step_length))


def test_a_leap_of_the_walk_and_of_any_other_differ_by_their_optimizer_only():
    """Epochs, shares of new weights and where it lands are the same; new weights have a rate that suits the optimizer."""
    base = SHORT
    settings = defaults(base)
    walk, soap, adam = (configured(base, settings[name]) for name in ("rayfe-leap", "nupi-soap-leap", "nupi-leap"))
    assert walk.asked.renewal == soap.asked.renewal == adam.asked.renewal
    assert walk.asked.lam_end == soap.asked.lam_end == adam.asked.lam_end
    for name in ("first_batch", "first_schedule", "first_learning_rate"):
        assert getattr(walk.equilibration, name) == getattr(soap.equilibration, name)
    assert adam.equilibration.first_learning_rate == FRESH_ADAM


def test_the_papers_recipe_is_a_configuration_of_the_walk():
    config = configured(SHORT, defaults(SHORT)["paper"])
    assert (config.asked.stencil, config.asked.refresh, config.asked.settle, config.asked.predictor) == (
        "paper",
        1,
        False,
        False,
    )


def test_a_budget_scales_epochs_of_walks_and_of_models_from_scratch_but_not_of_renewals():
    base = SHORT
    for name in ("rayfe", "grid"):
        settings = defaults(base)[name]
        once, twice = configured(base, settings), configured(base, settings.scaled(2.0))
        key = "first_epochs" if METHODS[name].from_scratch else "epochs"
        assert getattr(twice.equilibration, key) == 2.0 * getattr(once.equilibration, key)
        assert twice.asked.renewal == once.asked.renewal == base.asked.renewal


def test_models_from_scratch_settle_by_the_settings_of_their_optimizer():
    base = SHORT
    for name in ("grid", "grid-adam", "envelope-adam"):
        by = FORMS["short"].adam if name.endswith("adam") else base.equilibration
        found = configured(base, restored(plain(defaults(base)[name]))).equilibration
        assert (found.learning_rate, found.batch) == (by.learning_rate, by.batch)
    assert "settling" not in plain(defaults(base)["grid"])  # settings of stored runs are what they were


def test_unknown_methods_are_refused():
    with pytest.raises(UsageError, match="method='magic': known are rayfe"):
        configured(SHORT, dataclasses.replace(defaults(SHORT)["geco"], method="magic"))


def test_settings_survive_their_file():
    for settings in defaults(SHORT).values():
        assert restored(plain(settings)) == settings


def test_a_search_varies_one_thing_after_the_other():
    settings = defaults(SHORT)["augmented"]
    first = [candidate.learning_rate for candidate in stages(settings)[0](settings)]
    assert first == [factor * settings.learning_rate for factor in (0.25, 0.5, 1.0, 2.0)]
    assert {candidate.batch for candidate in stages(settings)[1](settings)} == {128, 256, 512}
    gains = {candidate.rule.gain for candidate in stages(settings)[2](settings)}
    penalties = {candidate.rule.penalty for candidate in stages(settings)[3](settings)}
    assert gains == {1.0, 3.0, 10.0} and penalties == {0.3, 1.0, 3.0}
    assert len(stages(defaults(SHORT)["warm-grid"])) == 2
    nupi = defaults(SHORT)["nupi"]
    proportional = {candidate.rule.proportional for candidate in stages(nupi)[3](nupi)}
    assert nupi.rule.proportional > 0 and min(proportional) > 0  # without it nuPI is plain ascent


@pytest.mark.parametrize("points", [3, 4, 7, 20])
def test_steps_of_the_given_length_arrive_after_as_many_points(points):
    at, length, ways = Point(lam=0.25, gamma=4.0), step_length(0.25, 0.7, points), IsoClassification(0.7)
    for _ in range(points):
        assert at.lam < 0.7
        at = propose(ways, at, Velocity(lam=at.lam, gamma=0.0), length=length).point
    assert at.lam == 0.7


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--method magic", "--method magic: known are rayfe"),
        ("--budget 1 0", "--budget 0: must be a positive number"),
        ("--form medium", "--form medium: "),
        ("--data npz:none.npz", "--data npz:none.npz: no such file"),
    ],
)
def test_a_job_that_cannot_be_run_is_refused_in_one_line(words, line, capsys):
    assert main(words.split()) == 2
    assert capsys.readouterr().err.startswith(line)


def test_the_long_form_has_three_seeds_and_several_seeds_have_a_folder_each(tmp_path):
    assert list(Options(form="long").starts) == [0, 1, 2] and list(Options().starts) == [0]
    alone, both = (Options(out=str(tmp_path), seed=seeds).starts for seeds in ((3,), (3, 4)))
    assert alone == {3: tmp_path} and both == {3: tmp_path / "seed3", 4: tmp_path / "seed4"}
