"""What the fields of a run must satisfy, each and together: the first that does not is a UsageError with the fix."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

from rayfe.config.checks import at_least, fraction, positive, require
from rayfe.config.sections import PROCESSES, UNHELD

if TYPE_CHECKING:
    from rayfe.config.run import RunConfig

EXAMPLES = MappingProxyType({"lam": 0.25, "gamma": 4.0, "seed": 0})
"""A value of each field that takes several, to show how it is given."""


def check(config: RunConfig) -> None:
    """Raise UsageError for the first field that is wrong."""
    for name in ("lam", "gamma", "seed"):
        values = getattr(config, name)
        require(len(values) > 0, name, "(nothing)", f"give at least one value, e.g. --{name} {EXAMPLES[name]}")
        require(len(set(values)) == len(values), name, " ".join(map(str, values)), "give each value once")
    for value in config.lam:
        positive("lam", value)
        _check_lam(config, value)
    for value in config.gamma:
        _check_gamma(config, value)
    for value in config.seed:
        require(0 <= value < 2**63, "seed", value, "must be at least 0 and below 2^63")
    _check_process(config)
    _check_seek(config)
    at_least("steps", config.steps, 1)
    positive("lam_end", config.lam_end)
    positive("method_epochs", config.method_epochs)
    _check_steps(config)
    at_least("refresh", config.refresh, 1)
    _check_hold(config)
    fraction("tolerance", config.tolerance)
    floor = config.tolerance_floor
    require(math.isfinite(floor) and floor >= 0, "tolerance_floor", floor, "must be at least 0 (nats)")
    share = config.certificate_share
    require(0 <= share <= 1, "certificate_share", share, "must be at least 0 and at most 1")
    if config.time_budget is not None:
        positive("time_budget", config.time_budget, " of seconds")
    at_least("threads", config.threads, 1)
    _check_service(config)
    require(
        config.keep_states in ("all", "last") or (config.keep_states.isdecimal() and int(config.keep_states) >= 1),
        "keep_states",
        config.keep_states,
        "give all, last or a number of steps",
    )


def _check_service(config: RunConfig) -> None:
    for name in ("evaluators", "replicas_per_evaluator"):
        if isinstance(getattr(config, name), int):
            at_least(name, getattr(config, name), 1)
    share = config.gpus_per_evaluator
    require(0 < share <= 1, "gpus_per_evaluator", share, "must be positive and at most 1: an evaluator uses one GPU")
    workers, batch = config.train_workers, config.equilibration.batch_of(annealed=True)
    name = "batch" if config.equilibration.first_batch is None else "first-batch"
    at_least("train_workers", workers, 0)
    require(
        not workers or batch % workers == 0,
        "train_workers",
        workers,
        f"must divide --equilibration.{name} {batch}, which they share",
    )
    for name in ("train_workers", "tensorboard", "mlflow", "autoscale"):
        value = getattr(config, name)
        require(not value or config.backend == "ray", name, value, "needs --backend ray")
    shared = config.placement == "shared"
    require(shared or not workers, "train_workers", workers, "borrows from the shared pool, needs --placement shared")


def _check_lam(config: RunConfig, lam: float) -> None:
    if config.moves_data:
        end = lam + (config.lam_dot if config.process == "constant-rate" else 0.0)
        require(end > 0, "lam_dot", config.lam_dot, f"lam would be {end:g} at t = 1, which must be positive")
        pole = 1.0 + (config.k or 0.0) * lam
        require(
            config.process != "geodesic" or abs(pole) >= 0.05,
            "k",
            config.k,
            f"1 + k lam is {pole:.3g} at lam {lam:g}, where the geodesic has its pole; give another k or lam",
        )
    elif config.method is None and not config.seek:
        require(lam != config.lam_end, "lam", lam, "is --lam-end already, give another of the two")


def _check_gamma(config: RunConfig, gamma: float) -> None:
    if config.process not in UNHELD:
        fix = "must be a positive number" + ("; --process fixed-gamma goes without labels" if gamma == 0 else "")
        require(math.isfinite(gamma) and gamma > 0, "gamma", gamma, fix)
    require(math.isfinite(gamma) and gamma >= 0, "gamma", gamma, "must be 0 or a positive number")


def _check_seek(config: RunConfig) -> None:
    if config.seek is None:
        return
    fix = "give wanted values of two of R, D and C, e.g. --seek C=0.1 R=12"
    shown = " ".join(config.seek) or "(nothing)"
    for text in config.seek:
        name, _, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        require(name in ("R", "D", "C"), "seek", text, fix)
        require(math.isfinite(number) and number > 0, "seek", text, f"{name} must be a positive number; {fix}")
    names = {text.partition("=")[0] for text in config.seek}
    require(len(config.seek) == len(names) == 2, "seek", shown, fix)
    require(
        config.process == "iso-classification" and config.method is None, "seek", shown, "goes without --process and --method"
    )
    require(config.settle, "seek", shown, "needs settles, leave --no-settle away")


def _check_process(config: RunConfig) -> None:
    known = f"unknown process; give {', '.join(PROCESSES)}, or package.module:Class of your own"
    require(config.process in PROCESSES or ":" in config.process, "process", config.process, known)
    shown = " ".join(f"{value:g}" for value in config.functional)
    require(all(map(math.isfinite, config.functional)), "functional", shown, "give three finite numbers a b c")
    require(any(config.functional), "functional", shown, "is zero everywhere, give a b c of which one is not 0")
    baseline = config.method is not None  # shares the options of the transfer that it is compared to
    require(
        config.k is None or config.process == "geodesic" or baseline, "k", config.k, "is for process geodesic, leave it away"
    )


def _check_unheld(config: RunConfig) -> None:
    """A process that holds nothing has no stencil and no settle."""
    if config.process not in UNHELD:
        return
    for name, usual in (("method", None), ("derivatives", "stencil"), ("stencil", "iso")):
        value = getattr(config, name)
        require(
            value == usual, name, value, f"is for processes that hold something, {config.process} holds nothing; leave it away"
        )


def _check_hold(config: RunConfig) -> None:
    for possible, fix in (
        (config.process in ("iso-classification", "constant-rate"), "needs a process that holds C alone, iso-classification"),
        (config.method is None and not config.seek, "goes without --method and --seek"),
        (config.settle, "needs settles, leave --no-settle away"),
        (config.derivatives == "stencil", "has no exact derivatives, give --derivatives stencil"),
    ):
        require(config.hold == "training" or possible, "hold", config.hold, fix)


def _check_steps(config: RunConfig) -> None:
    implicit = config.derivatives == "implicit"
    fixed = not config.moves_data and config.method is None
    require(not implicit or fixed, "derivatives", config.derivatives, "does not give derivatives in t, give stencil")
    _check_unheld(config)
    positive("step_length", config.step_length, " (a length in log lam, or in t)")
    first = config.step_length_first
    if first is not None:
        positive("step_length_first", first, " (a length in log lam, or in t)")
        require(first <= config.step_length, "step_length_first", first, "must not exceed --step-length")
    walks_in_lam = config.process == "iso-classification" and config.method is None and not config.seek
    require(
        walks_in_lam or not config.both_ways, "both_ways", config.both_ways, "is for process iso-classification, leave it away"
    )
    every = config.renewal.every
    require(every is None or walks_in_lam, "renewal.every", every, "is for walks in lam at constant C, give None")
    returns = config.both_ways and config.renewal.every is not None
    require(
        not config.renewal.leap or returns,
        "renewal.leap",
        config.renewal.leap,
        "needs --both-ways and --renewal.every; 0 goes there in steps",
    )
    require(not config.moves_data or config.step_length <= 1, "step_length", config.step_length, "must be at most 1 in t")
    require(
        config.process not in ("geodesic", "iso-functional") or config.stencil == "paper" or config.derivatives == "implicit",
        "stencil",
        config.stencil,
        f"{config.process} needs lam neighbours, give --stencil paper",
    )
