"""A stored model beside models that were trained at the same multipliers in another way: by how much they differ."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayfe.records import CertificateRecord, Held, Reading, Split
from rayfe.surface.equivalence import over_seeds
from rayfe.surface.process import LOSS


@dataclass(frozen=True, kw_only=True, slots=True)
class Certified:
    """The models of one seed as they were read: at the row's multipliers, and at its gamma neighbours (none where gamma is 0).

    C of `held` and of the neighbours is that of the split on which it is held.
    """

    train: Reading
    held: Reading
    higher: Reading | None = None
    lower: Reading | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float


def compared(record: CertificateRecord, stored: Certified, found: Sequence[Certified]) -> CertificateRecord:
    """The certificate with its comparison of the stored model with those that were found."""
    trains = [model.train for model in found]
    lowest = min(trains, key=lambda reading: reading.F)
    F = Held(R=1.0, D=record.lam, C=record.gamma, S=record.sigma or 0.0)
    dF, dR, dD, dC = (_off(stored.train, trains, one) for one in (F, Held(R=1.0), Held(D=1.0), LOSS))
    record = dataclasses.replace(
        record,
        R=_mean([one.R for one in trains]),
        D=_mean([one.D for one in trains]),
        C=_mean([one.C for one in trains]),
        C_scale=stored.train.C_scale,
        S=None if stored.train.S is None else _mean([one.S or 0.0 for one in trains]),
        F=_mean([one.F for one in trains]),
        lowest_R=lowest.R,
        lowest_D=lowest.D,
        lowest_C=lowest.C,
        lowest_S=lowest.S,
        dF=dF.value,
        dF_se=dF.error,
        dR=dR.value,
        dR_se=dR.error,
        dD=dD.value,
        dD_se=dD.error,
        dC=dC.value,
        dC_se=dC.error,
    )
    held = [model.held for model in found]
    off = _off(stored.held, held, LOSS)
    if record.held_on == Split.CONTROL:
        control_C = _mean([one.C for one in held])
        record = dataclasses.replace(record, control_C=control_C, control_dC=off.value, control_dC_se=off.error)
    return _in_gamma(record, found, off)


def _off(stored: Reading, found: Sequence[Reading], held: Held) -> Estimate:
    """A combination of R, D and C of the stored model minus the mean of the others'."""
    noise = _noise(stored, held) - np.mean([_noise(one, held) for one in found], axis=0)
    off = [held.of(stored) - held.of(one) for one in found]
    return Estimate(value=_mean(off), error=_error(off, noise))


def _in_gamma(record: CertificateRecord, found: Sequence[Certified], off: Estimate) -> CertificateRecord:
    """The certificate with C_gamma of the new models, and the distance in gamma by which they would have the stored model's C."""
    pairs = [(model.higher, model.lower) for model in found if model.higher and model.lower]
    if not pairs:
        return record
    width = pairs[0][0].point.gamma - pairs[0][1].point.gamma
    slopes = [(higher.C - lower.C) / width for higher, lower in pairs]
    noise = np.mean([_noise(higher, LOSS) - _noise(lower, LOSS) for higher, lower in pairs], axis=0) / width
    C_gamma, C_gamma_se = _mean(slopes), _error(slopes, noise)
    record = dataclasses.replace(record, C_gamma=C_gamma, C_gamma_se=C_gamma_se)
    if not C_gamma < -over_seeds(len(pairs)) * C_gamma_se:  # gamma is compared only where C_gamma surely is below 0
        return record
    error = math.hypot(off.error / C_gamma, off.value * C_gamma_se / C_gamma**2)
    return dataclasses.replace(record, dgamma=off.value / abs(C_gamma), dgamma_se=error)


def _noise(reading: Reading, held: Held) -> np.ndarray:
    """What the draws of z add to a combination in each block of examples; replicas share it as far as they are alike."""
    noise = held.D * np.array(reading.D_noise) + held.C * np.array(reading.C_noise)
    return noise + held.R * np.array(reading.R_noise) if reading.R_noise else noise


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _error(values: Sequence[float], noise: np.ndarray) -> float:
    """Standard error of the mean over seeds, with that of the draws that all seeds share."""
    return math.hypot(float(np.std(values, ddof=1)) / math.sqrt(len(values)), float(np.linalg.norm(noise)))
