"""Stored rows: every column with its description."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rayfe.records.kinds import Leg
from rayfe.records.points import Point, drift


def column(description: str, **options: Any) -> Any:
    """A stored column: `description` goes into the Parquet schema."""
    return field(metadata={"description": description}, **options)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class StepRecord:
    """One attempted quasi-static step: a row of steps/<trajectory>.parquet. None where not measured."""

    trajectory: str = column("name of the trajectory, from its start and seed")
    step: int = column("number of the step; 0 is the start's own equilibrium")
    attempt: int = column("numerical attempts at this step so far, from 0")
    accepted: bool = column("whether the walk went on from here")
    outcome: str = column("OK, NOT_EQUILIBRATED, NONFINITE or SINGULAR")
    reason: str | None = column("why a step was rejected, or the name of the stop; null if accepted", default=None)
    kind: str | None = column(
        "what was attempted: start (step 0), step, renewal, leap, last_training, or stop (nothing: reason says why there is no further "
        "step). Of seeks and baselines all after the start are steps. Renewals, leaps and last trainings have step_length 0",
        default=None,
    )
    leg: str | None = column(
        "leg of a walk that goes both ways: there, back or there_again; of all others, seeks and baselines among them, there",
        default=str(Leg.THERE),
    )
    process: str = column("the process that chose the step, seek, or the method of a baseline")
    lam: float = column("multiplier of D at the settled point")
    gamma: float = column("multiplier of C at the settled point")
    t: float = column("position on the data path, 0 = source, 1 = target", default=0.0)
    sigma: float | None = column("multiplier of S; null: no weights are random (model.posterior)", default=None)
    R: float | None = column("rate on the training split, nats (1)", default=None)
    D: float | None = column(
        "distortion on the training split, summed over an example (1): -log d(x|z) of the likelihood (model.likelihood). Of gaussian it is "
        "the squared error: the variance is 1/2, and the constant is left out. Of the others nats, every constant kept, so that D of a "
        "density may be negative",
        default=None,
    )
    C: float | None = column("loss of the task, such as classification, on the training split, nats (4)", default=None)
    C_scale: float | None = column(
        "nats by which a change of C counts, of a loss that may be negative; C / C_target - 1 is (C - C_target) / C_scale then, here "
        "and in other columns. null: C itself",
        default=None,
    )
    S: float | None = column(
        "information in the random weights, KL(p(theta|data) || m(theta)) (5), nats of all of them together; not per example",
        default=None,
    )
    losses: tuple[float, ...] | None = column(
        "each loss of a task that has several, nats; their sum is C (process iso-losses; run.json has their names)",
        default=None,
    )
    multipliers: tuple[float, ...] | None = column(
        "multiplier of each of these losses: the start's gamma, which column gamma has all along, times the loss's price",
        default=None,
    )
    loss_drifts: tuple[float, ...] | None = column(
        "each loss over its value at step 0, minus 1; nats where C_scale is 1; null at step 0", default=None
    )
    loss_drift_ses: tuple[float, ...] | None = column(
        "standard errors of loss_drifts from the draws of z; paired", default=None
    )
    F: float | None = column(
        "R + lam D + gamma C of this row (8), with random weights + sigma S (5); of process iso-losses gamma C is the sum of multipliers "
        "times losses",
        default=None,
    )
    accuracy: float | None = column(
        "training accuracy of the mean prediction over draws of z; null where the task is no classification", default=None
    )
    score: float | None = column(
        "the same of another task, mean of its score: of regression the squared error of the mean prediction (mean over targets), of "
        "multi-label the share of labels that are predicted rightly; null where it has none",
        default=None,
    )
    R_dims: tuple[float, ...] | None = column(
        "rate of each dimension of z on the training split, nats; its sum is R; null where the marginal gives none",
        default=None,
    )
    active_dims: int | None = column("dimensions of z with more than 0.01 nats", default=None)
    val_R: float | None = column("rate on the validation split, nats", default=None)
    val_D: float | None = column("distortion on the validation split", default=None)
    val_C: float | None = column("loss of the task on the validation split, nats", default=None)
    val_accuracy: float | None = column("validation accuracy of the mean prediction over draws of z", default=None)
    val_score: float | None = column("score on the validation split", default=None)
    R_se: float | None = column(
        "standard error of R from the draws of z (0: closed form over all training examples)", default=None
    )
    D_se: float | None = column(
        "standard error of D from the draws of z that are decoded; those by which the statistics of a decoder's batch-norm are taken, "
        "the same at every step of a seed, are not in it",
        default=None,
    )
    C_se: float | None = column("standard error of C from the draws of z", default=None)
    val_C_se: float | None = column("standard error of val_C over validation examples", default=None)
    read_size: int | None = column("training examples that R, D and C are of, both ends of a mixture together", default=None)
    statistics_size: int | None = column(
        "training examples whose batch-norm statistics the model had when it was read: a part of them, drawn at random and of each "
        "class in proportion, where it is less than read_size; null: no such layers",
        default=None,
    )
    draw_sets: int | None = column(
        "nested sets of measure.head_draws draws of z that C of this row was read with; null: one (older runs)", default=None
    )
    decoder_sets: int | None = column("the same of measure.decoder_draws draws for D", default=None)
    label_entropy: float | None = column(
        "entropy of the mean label under p(x, t), nats: the C of a classifier that knows nothing of x", default=None
    )
    gibbs_error: float | None = column(
        "part of wrong answers on the training split where each is of one draw of the random weights and of z; this and the columns to "
        "val_gibbs_C_se are null unless the weights of encoder and classifier are random",
        default=None,
    )
    gibbs_C: float | None = column("mean of C of such draws, each clipped at twice log(classes), nats", default=None)
    gibbs_S: float | None = column("S of encoder and classifier alone, nats", default=None)
    gibbs_error_bound: float | None = column(
        "upper bound of the part of wrong answers on new data, of probability 95 % (PAC-Bayes, from gibbs_error, gibbs_S and read_size)",
        default=None,
    )
    gibbs_C_bound: float | None = column("the same of the clipped loss, nats", default=None)
    val_gibbs_error: float | None = column("part of wrong answers of such draws on the validation split", default=None)
    val_gibbs_error_se: float | None = column("standard error of val_gibbs_error over validation examples", default=None)
    val_gibbs_C: float | None = column("their clipped loss on the validation split, nats", default=None)
    val_gibbs_C_se: float | None = column("standard error of val_gibbs_C over validation examples", default=None)
    first_updates: int | None = column("updates of the first equilibrium; null but at step 0", default=None)
    held_on: str | None = column(
        "split whose C is held: C_target, drift_se, held_drift, C_before_settle, C_settle_target, C_lam and C_gamma are of it; "
        "train or control (--hold); null: train, or no C is held",
        default=None,
    )
    control_C: float | None = column(
        "loss of the task on the control split, which is set apart from the training split, nats (--hold control)",
        default=None,
    )
    control_C_se: float | None = column("standard error of control_C from the draws of z", default=None)
    control_accuracy: float | None = column("accuracy on the control split", default=None)
    target_C: float | None = column("loss of the task on the target's validation split alone, nats", default=None)
    target_accuracy: float | None = column("accuracy on the target's validation split alone", default=None)
    C_target: float | None = column(
        "the loss to be held, nats; at step 0 the measured C on the split of held_on; null if C is not held", default=None
    )
    drift_se: float | None = column("standard error of C / C_target - 1; paired, the draws are those of step 0", default=None)
    C_settle_target: float | None = column("C of step 0 on the first set of the settle's draws, nats", default=None)
    held_drift: float | None = column(
        "what the process holds first, relative to its size at the start, minus its value there (C: C / C0 - 1); of several losses the "
        "one that is furthest off",
        default=None,
    )
    held_drift_se: float | None = column("standard error of held_drift from the draws of z; paired", default=None)
    line_miss: float | None = column("D - D0 - k (R - R0) on the geodesic's line (30), in the unit of D", default=None)
    line_miss_se: float | None = column("standard error of line_miss from the draws of z", default=None)
    k: float | None = column("slope dD/dR of the geodesic (30)", default=None)
    end_gamma: float | None = column("gamma at which a model of the target alone has C0 at the start's lam", default=None)
    end_R: float | None = column("its rate, nats", default=None)
    end_D: float | None = column("its distortion", default=None)
    end_moved: float | None = column(
        "how far one more equilibration and settle moved that model in the plane of R and lam D, nats", default=None
    )
    C_before_settle: float | None = column("C after training, before the settle", default=None)
    settle_shift: float | None = column("change of gamma by the settle", default=None)
    settle_shift_lam: float | None = column("change of lam by the settle, where the process moves both", default=None)
    D_lam: float | None = column("dD/dlam at the stencil's centre", default=None)
    D_gamma: float | None = column("dD/dgamma at the stencil's centre", default=None)
    C_lam: float | None = column("dC/dlam at the stencil's centre; stencil iso: filled from D_gamma", default=None)
    C_gamma: float | None = column("dC/dgamma at the stencil's centre", default=None)
    S_gamma: float | None = column(
        "dS/dgamma at the stencil's centre, equal to dC/dsigma; null: no weights are random", default=None
    )
    S_lam: float | None = column("dS/dlam there, equal to dD/dsigma; null also without lam neighbours", default=None)
    F_t: float | None = column("dF/dt at fixed multipliers", default=None)
    D_t: float | None = column("dD/dt at fixed multipliers", default=None)
    C_t: float | None = column("dC/dt at fixed multipliers", default=None)
    C_gamma_se: float | None = column("standard error of C_gamma from the draws of z", default=None)
    C_lam_se: float | None = column("standard error of C_lam from the draws of z", default=None)
    response_size: int | None = column(
        "training examples on which neighbours were read for the response, drawn at random and of each class in proportion where it "
        "is less than read_size; null: no neighbours",
        default=None,
    )
    response_age: int | None = column("accepted steps since the response was measured", default=None)
    hess_max_eig: float | None = column("largest eigenvalue of Hess F; positive violates concavity", default=None)
    maxwell_gap: float | None = column("D_gamma - C_lam; a check of noise and code", default=None)
    first_law_residual: float | None = column(
        "dR + lam dD + gamma dC over the step, with random weights + sigma dS, mid-point multipliers, nats (7)", default=None
    )
    excess: float | None = column("F above the lower envelope of this trajectory's models so far, nats", default=None)
    restarted_from: int | None = column(
        "step whose model this one started from, where that was not the last one; only older runs have it",
        default=None,
    )
    chart_defect: float | None = column("F after the settle above the quadratic model of the stencil, nats", default=None)
    grad_norm: float | None = column(
        "norm of the gradient of J over all parameters at this row's model and multipliers: root of the mean product of the "
        "gradients from pairs of 8 random parts of the training split, fixed by the seed, of the size of measure.gradient_share, "
        "each with its own draws and batch-norm statistics. The square is unbiased but for its cut at 0: nothing beyond noise",
        default=None,
    )
    missed: float | None = column(
        "largest variance in a direction of what the reconstruction misses, the mean of x - x_hat over z, "
        "in the unit of D; null where D is no multiple of the squared error",
        default=None,
    )
    uptake: float | None = column(
        "by how much J would fall if the dimension of z with the fewest nats took up, linearly, what the reconstruction misses most, "
        "nats: exact of one more direction of a Gaussian decoder. 0: no direction pays for its rate",
        default=None,
    )
    taken_up: int | None = column(
        "dimensions of z that took something up before this step was trained; null: the row before saw no need", default=None
    )
    exact_F: float | None = column(
        "minimum of F at this row's multipliers over all models of the family, where the data set knows it, nats", default=None
    )
    exact_R: float | None = column("R there, nats", default=None)
    exact_D: float | None = column("D there, squared units summed over features", default=None)
    exact_C: float | None = column("C there, nats; null at gamma = 0, where nothing determines it", default=None)
    exact_held_gamma: float | None = column("gamma at which the exact surface has C_target at this row's lam", default=None)
    exact_held_R: float | None = column("R of the exact surface at this lam and C_target, nats", default=None)
    exact_held_D: float | None = column("D of the exact surface at this lam and C_target, squared units", default=None)
    F_start: float | None = column("J on the probe before training, training-mode batch-norm", default=None)
    F_end: float | None = column("J on the probe after training, training-mode batch-norm", default=None)
    J_K: float | None = column(
        "K-sample bound of the free energy (10), (14), nats; D without its Gaussian constant. F minus the mean of J_1 - J_K over a "
        "fixed part of the training split (of the size of measure.bound_share, K = measure.bound_draws)",
        default=None,
    )
    J_K_se: float | None = column("standard error of J_K over these examples and the draws of z", default=None)
    J_K_ess: float | None = column(
        "mean effective sample size of the K draws as a share of K, 1 at an exact posterior", default=None
    )
    lam_dot: float | None = column("velocity in lam that led here, per unit of log lam (walk) or of t (transfer)", default=None)
    gamma_dot: float | None = column(
        "velocity in gamma that led here, per unit of log lam (walk) or of t (transfer)", default=None
    )
    step_length: float | None = column(
        "length of the step that led here, in log lam (walk) or in t (transfer); 0 of renewals, leaps and last trainings",
        default=None,
    )
    next_step_length: float | None = column("length that the stepper proposes after this row", default=None)
    decrement: float | None = column("Newton decrement, F above the equilibrium nearby, nats; before the settle", default=None)
    C_lag: float | None = column("change of C on the way to the equilibrium nearby, nats; before the settle", default=None)
    solve_residual: float | None = column("largest relative residual of the solves for exact derivatives", default=None)
    examples: float = column(
        "cumulative training examples of this run; forward-only passes as 1/3. Of a run that starts from a stored step those that the "
        "step had cost before are start.examples in run.json, and not in here"
    )
    seconds: float = column("cumulative seconds of work on this trajectory")
    seed: int = column("seed of the trajectory")
    state: str | None = column("weights of this row, path relative to the run", default=None)
    state_sha256: str | None = column("SHA-256 of the weight file", default=None)
    carry_sha256: str | None = column("SHA-256 of what the next step needs besides the weights", default=None)

    def __repr__(self) -> str:
        """What a reader looks for first; all columns are attributes."""
        values = {name: getattr(self, name) for name in ("lam", "gamma", "t", "R", "D", "C", "F")}
        where = ", ".join(f"{name}={value:.6g}" for name, value in values.items() if value is not None)
        found = "accepted" if self.accepted else f"{self.outcome}: {self.reason}"
        return f"<StepRecord {self.trajectory} step {self.step}: {found}; {where}>"

    @property
    def point(self) -> Point:
        """Where the row is."""
        return Point(lam=self.lam, gamma=self.gamma, t=self.t, sigma=self.sigma or 0.0)

    @property
    def held_C(self) -> float | None:
        """C on the split on which it is held."""
        return self.C if self.control_C is None else self.control_C

    @property
    def drift(self) -> float | None:
        """C / C_target - 1 on the split on which C is held; None: not measured or not held."""
        return None if self.held_C is None or not self.C_target else drift(self.held_C, self.C_target, self.C_scale)
