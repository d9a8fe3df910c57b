"""Certificates of first order: how far a stored model is from models that were trained at the same multipliers in another way."""

from __future__ import annotations

from dataclasses import dataclass

from rayfe.records.stored import column

ON, ANEW = "on", "anew"
"""Methods: train on from the stored weights, and train from newly initialised ones."""
TOO_SHORT = "TOO_SHORT"
"""Outcome of a certificate for which the examples that it may cost do not pay for a single update."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateRecord:
    """One certified model and method: a row of certificates/<trajectory>.parquet.

    Differences are the stored model minus the mean of the new models, at the stored model's multipliers and with the same draws of
    z. Their standard errors are of that mean: from the scatter of the new models over seeds, and from the draws. They are None
    where the outcome is not OK.
    """

    trajectory: str = column("name of the trajectory")
    step: int = column("number of the step whose model is certified")
    state_sha256: str = column("SHA-256 of its weight file, as in steps/")
    method: str = column("on: trained on from its weights, annealed; anew: trained from newly initialised weights, annealed")
    outcome: str = column("OK, NONFINITE (a training diverged) or TOO_SHORT (the examples it may cost pay for no update)")
    lam: float = column("multiplier of D")
    gamma: float = column("multiplier of C")
    t: float = column("position on the data path")
    sigma: float | None = column("multiplier of S; null: no weights are random", default=None)
    held_on: str = column("split whose C is held: C_gamma and dgamma are of it; train or control")
    seeds: int = column("seeds of the new models: of initial weights (anew), batches and noise")
    epochs: float = column("epochs of each training")
    R: float | None = column("rate of the new models on the training split, mean over seeds, nats", default=None)
    D: float | None = column("their distortion", default=None)
    C: float | None = column("their loss of the task on the training split, nats", default=None)
    C_scale: float | None = column("nats by which dC counts, of a loss that may be negative; null: C itself", default=None)
    S: float | None = column("information in their random weights, nats; null: none are random", default=None)
    F: float | None = column("R + lam D + gamma C (+ sigma S) of these means, nats", default=None)
    dF: float | None = column("F of the stored model minus that of the new ones, nats; below 0 it proves nothing", default=None)
    dF_se: float | None = column("standard error of dF, from seeds and draws", default=None)
    dR: float | None = column("R of the stored model minus that of the new ones, nats", default=None)
    dR_se: float | None = column("standard error of dR, from seeds, and from draws where R has them", default=None)
    dD: float | None = column("D of the stored model minus that of the new ones", default=None)
    dD_se: float | None = column("standard error of dD, from seeds and draws", default=None)
    dC: float | None = column("C of the stored model minus that of the new ones, training split, nats", default=None)
    dC_se: float | None = column("standard error of dC, from seeds and draws", default=None)
    control_C: float | None = column("C of the new models on the control split (--hold control), nats", default=None)
    control_dC: float | None = column("the same difference of C on the control split (--hold control), nats", default=None)
    control_dC_se: float | None = column("standard error of control_dC, from seeds and draws", default=None)
    C_gamma: float | None = column(
        "dC/dgamma between new models at gamma (1 + d) and gamma (1 - d), d = neighbours.gamma_delta, nats; null where gamma is 0",
        default=None,
    )
    C_gamma_se: float | None = column("standard error of C_gamma, from seeds and draws", default=None)
    dgamma: float | None = column(
        "dC / |C_gamma| on the split of held_on: gamma minus the multiplier at which the new models have this model's C, to first "
        "order; null where the 95 % interval of C_gamma over seeds is not below 0",
        default=None,
    )
    dgamma_se: float | None = column("standard error of dgamma, from those of dC and C_gamma", default=None)
    lowest_R: float | None = column("R of the new model whose F is lowest, nats: it bounds F at all multipliers", default=None)
    lowest_D: float | None = column("its D, in the unit of the likelihood", default=None)
    lowest_C: float | None = column("its C on the training split, nats", default=None)
    lowest_S: float | None = column("its S, nats; null: no weights are random", default=None)
    budget: float | None = column(
        "training examples that it might cost at the end of a job; null: made by python -m rayfe certify", default=None
    )
    examples: float = column("training examples that it cost, beside those that rows count; forward-only passes as 1/3")
    seconds: float = column("seconds that it took")
