"""What certificates say of stored models: how far they are from new ones, in words, and whether that is near enough.

A model is near equilibrium if models that were trained at the same multipliers in another way have the same R, D and C, and
end no higher in F. Where they end higher they are further from equilibrium than the stored model, and prove nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from rayfe.records import ON, CertificateRecord
from rayfe.results.frames import counted_steps, holds_losses, numbers, percent_of_F, size_of_F, told_F
from rayfe.results.walk_summary import NOTHING, envelope_excess
from rayfe.surface.equivalence import over_seeds
from rayfe.surface.water_filling import is_worth_it

State = Literal["holds", "look", "not measured"]
LIMITS: Mapping[str, float] = MappingProxyType({"C": 0.05, "D": 0.02, "R": 0.02, "gamma": 0.05})
"""Distance from the new models, as a part of their value, its 95 % interval included, up to which a model is near equilibrium."""
LEAST_SCALE: Mapping[str, float] = MappingProxyType({"R": 1.0})
"""What a part is taken of at least: of a rate below one nat 0.02 nats are near."""
ROUNDING = 1e-9
"""Part of F by which new models are not higher."""
METHODS: Mapping[str, str] = MappingProxyType({"on": "trained on", "anew": "trained anew"})
STATES: Mapping[State, str] = MappingProxyType({"holds": "near", "look": "not near, or not surely so"})
"""What measured states are called, in short."""
NONE = "no model was trained on or anew at its multipliers (python -m rayfe certify)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What the certificates of one stored model say."""

    trajectory: str
    step: int
    state: State
    off: str
    """The distances in words, or why there are none."""
    how: str = ""
    """What they are from, and what their errors are."""
    why: str = ""
    """Why the state is not `holds`."""

    @property
    def text(self) -> str:
        """All of it."""
        return ": ".join(filter(None, (" ".join(filter(None, (self.off, self.how))), self.why)))


@dataclass(frozen=True, kw_only=True, slots=True)
class MissedUptake:
    """That a dimension of z of an accepted row's model would be better used for what the reconstruction misses."""

    trajectory: str
    step: int
    nats: float
    percent: float
    """Of F."""
    in_percent: bool
    """Whether that is told: `frames.percent_of_F`."""

    def __str__(self) -> str:
        size = told_F(self.nats, self.percent, in_percent=self.in_percent)
        return f"J would fall by {size} if a dimension of z took up, linearly, what the reconstruction misses"

    @property
    def placed(self) -> str:
        """The same with the row's name."""
        return f"{self} ({self.trajectory}, step {self.step})"


def missed_by(rows: pd.DataFrame) -> list[MissedUptake]:
    """The accepted rows whose column `uptake` is more than a walk leaves undone."""
    if rows.empty:
        return []
    accepted = rows[rows["accepted"].astype(bool)]
    found = zip(accepted["trajectory"], accepted["step"], numbers(accepted, "uptake"), size_of_F(accepted), strict=True)
    told = percent_of_F(rows)
    return [
        MissedUptake(trajectory=name, step=int(step), nats=gain, percent=100.0 * gain / F, in_percent=told)
        for name, step, gain, F in found
        if is_worth_it(gain, F)
    ]


def largest_missed(rows: pd.DataFrame, found: Iterable[Finding]) -> MissedUptake | None:
    """The largest of the rows that count, as a part of F; those of the models that were found upon say it themselves."""
    return max(_largest_by_trajectory(rows, found).values(), key=lambda one: one.percent, default=None)


def _largest_by_trajectory(rows: pd.DataFrame, found: Iterable[Finding]) -> dict[str, MissedUptake]:
    said, largest = {(one.trajectory, one.step) for one in found}, dict[str, MissedUptake]()
    for one in missed_by(rows if rows.empty else counted_steps(rows)):
        before = largest.get(one.trajectory)
        if (one.trajectory, one.step) not in said and (before is None or one.percent > before.percent):
            largest[one.trajectory] = one
    return largest


def findings(certificates: pd.DataFrame, rows: pd.DataFrame, *, step_epochs: float) -> list[Finding]:
    """One for each certified model, by trajectory and step: of several methods by the one whose models end lowest.

    `certificates` has the columns of CertificateRecord, `rows` those of StepRecord; `step_epochs` are the epochs of one step of
    the run. New models may miss the directions that the stored one misses, so what `rows` say of these counts, too.
    """
    found, missed = [], {(one.trajectory, one.step): one for one in missed_by(rows)}
    told = rows.empty or percent_of_F(rows)
    for _, same in certificates.groupby(["trajectory", "step"], sort=True):
        lines = [_plain(line) for line in same.to_dict("records")]
        line = max(lines, key=lambda one: (one["outcome"] == "OK", one["dF"] if one["outcome"] == "OK" else 0.0))
        state, why = judged(line, step_epochs=step_epochs)
        if left := missed.get((line["trajectory"], int(line["step"]))):
            state, why = "look" if line["outcome"] == "OK" else state, "; ".join(filter(None, (why, str(left))))
        off, how = _told(line, in_percent=told)
        found.append(Finding(trajectory=line["trajectory"], step=int(line["step"]), state=state, off=off, how=how, why=why))
    return found


def judged(line: Mapping[str, Any], *, step_epochs: float) -> tuple[State, str]:
    """The verdict of one certificate, by column, and why it is no better; nothing where there are no numbers or none is needed."""
    if line["outcome"] != "OK":
        return "not measured", ""
    if line["dF"] < -ROUNDING * abs(line["F"]):
        return "not measured", "the new models end above it in F, which proves nothing"
    parts = distances(line)
    if far := [name for name, (part, _) in parts.items() if not abs(part) <= LIMITS[name]]:
        return "look", f"further than {_limits(far)}"
    wide = over_seeds(int(line["seeds"]))
    if vague := [name for name, (part, error) in parts.items() if not abs(part) + wide * error <= LIMITS[name]]:
        return "look", f"the intervals do not exclude more than {_limits(vague)}"
    if line["gamma"] > 0 and "gamma" not in parts:
        return "look", "the 95 % interval of C_gamma of the new models is not below 0, so gamma is not compared"
    if line["method"] == ON and line["epochs"] < step_epochs:
        short = f"shorter than a step of the walk, {step_epochs:g} epochs, which says too little"
        return "not measured", f"{short} (python -m rayfe certify trains longer)"
    return "holds", ""


def distances(line: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """C, D, R and gamma of the stored model minus those of the new ones, as parts of the latter (of a nat where C may be negative), each
    with its standard error.

    C is that of the split on which it is held; gamma, a part of the row's own, is left out where it was not compared. At gamma = 0
    nothing trains the classifier, and C is left out, too.
    """
    held = "control_" if line["held_on"] == "control" else ""
    names = {"C": (f"{held}dC", f"{held}C"), "D": ("dD", "D"), "R": ("dR", "R"), "gamma": ("dgamma", "gamma")}
    if not line["gamma"]:
        names = {name: names[name] for name in ("D", "R")}
    found = {}
    for name, (difference, value) in names.items():
        if line[difference] is not None and line[value]:
            own = line.get("C_scale") if name == "C" else None
            scale = own or max(abs(line[value]), LEAST_SCALE.get(name, 0.0))
            found[name] = (line[difference] / scale, line[f"{difference}_se"] / scale)
    return found


def sentence(line: Mapping[str, Any], *, in_percent: bool = True) -> str:
    """One certificate in words: how the new models were trained, and the distances from them, each ± half its 95 % interval.

    The standard errors are taken to be of seeds altogether; the part of the draws of z, mostly small, is in them. Unless `in_percent`
    the distance in F is in nats.
    """
    return " ".join(filter(None, _told(line, in_percent=in_percent)))


def _told(line: Mapping[str, Any], *, in_percent: bool) -> tuple[str, str]:
    """The distances, and what they are from."""
    how = f"{line['seeds']} seeds {METHODS[line['method']]} for {line['epochs']:.3g} epochs each"
    if line["outcome"] == "TOO_SHORT":
        return "not certified: the examples that this may cost pay for no training (python -m rayfe certify)", ""
    if line["outcome"] != "OK":
        return f"not certified: a training diverged ({how})", ""
    wide = over_seeds(int(line["seeds"]))
    off = [f"{name} {100 * part:+.2f} ± {100 * wide * error:.2f} %" for name, (part, error) in distances(line).items()]
    unit, scale = ("%", abs(line["F"]) / 100) if in_percent else ("nats", 1.0)
    off.append(f"F {line['dF'] / scale:+.2f} ± {wide * line['dF_se'] / scale:.2f} {unit}")
    return f"off by {', '.join(off)}", f"(95 % intervals over seeds; {how})"


def certificate_line(record: CertificateRecord, examples: float) -> str:
    """That a certificate is made, on one line, with its cost beside the `examples` of its trajectory up to its model."""
    part = f"{100 * record.examples / examples:.1f} % of the trajectory's"
    return f"certificate of step {record.step}: {record.examples / 1e6:.3g} M examples, {part}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """How far F of a row is at least above equilibrium: above the envelope of the models that happen to be there."""

    percent: float
    """Of F."""
    trajectory: str
    step: int
    nats: float
    in_percent: bool
    """Whether per cent are told: `frames.percent_of_F`."""

    def __str__(self) -> str:
        if self.percent < NOTHING:
            return "no other model that is here is lower in F, which proves nothing"
        size = told_F(self.nats, self.percent, in_percent=self.in_percent)
        return f"F is at least {size} above equilibrium, by the models that are here ({self.trajectory}, step {self.step})"


def gaps(rows: pd.DataFrame, models: pd.DataFrame | None = None) -> dict[str, Gap]:
    """The largest `envelope_excess` of the rows that count, by trajectory; none where no two models are at one t.

    `models` are all that bound F, those of the rows among them (`pooling.models_of`); None: those of the rows alone.
    """
    if rows.empty:
        return {}
    accepted = rows[rows["accepted"].astype(bool)]
    at_its_t = rows["t"].map((accepted if models is None else models)["t"].value_counts())
    nats = envelope_excess(rows, models)
    counts = rows.index.isin(counted_steps(rows).index) & (at_its_t > 1)
    percent = (100.0 * nats / size_of_F(rows)).where(counts)
    known = percent.dropna()
    found = rows.loc[known.groupby(rows["trajectory"]).idxmax(), ["trajectory", "step"]]
    told = percent_of_F(rows)
    return {
        name: Gap(percent=float(percent[row]), trajectory=name, step=int(step), nats=float(nats[row]), in_percent=told)
        for row, name, step in found.itertuples(name=None)
    }


def largest_gap(rows: pd.DataFrame, models: pd.DataFrame | None = None) -> Gap | None:
    """The largest of `gaps`."""
    return max(gaps(rows, models).values(), key=lambda one: one.percent, default=None)


def equilibrium_lines(rows: pd.DataFrame, certificates: pd.DataFrame, *, step_epochs: float, location: str) -> list[str]:
    """How near to equilibrium the trajectories of the run at `location` end by their last certificates, or what would measure it."""
    last = last_findings(findings(certificates, rows, step_epochs=step_epochs))
    names = sorted(set(rows.loc[rows["accepted"].astype(bool), "trajectory"]))
    known = {name: last[name] for name in names if name in last and last[name].state != "not measured"}
    texts = [f"{len(known)} of {len(names)} measured"] if known and len(names) > 1 else []
    for state, what in STATES.items():
        of = [one for one in known.values() if one.state == state]
        texts += [f"{what}: {of[0].trajectory}, step {of[0].step}, {_brief(of[0])}"] if len(of) == 1 else []
        texts += [f"{what}: {len(of)}, such as {of[0].trajectory}, step {of[0].step}, {_brief(of[0])}"] if len(of) > 1 else []
    if len(known) < len(names):
        left = [last[name] for name in names if name in last and name not in known]
        why = f" ({left[0].why or left[0].off})" if len(left) == len(names) == 1 else ""
        texts += [] if known else [f"not measured{why}"]
        texts.append(way_to_measure(rows, location))
    lines = [f"distance from equilibrium: {'; '.join(texts)}"] if texts else []
    missed = largest_missed(rows, known.values())
    return lines if missed is None else [*lines, missed.placed]


def way_to_measure(rows: pd.DataFrame, location: str) -> str:
    """What would tell how far the run at `location` is from equilibrium, or why nothing does."""
    if holds_losses(rows):
        return "nothing measures it: certificates compare one loss at one multiplier"
    return f"python -m rayfe certify {location} measures it"


def _brief(one: Finding) -> str:
    return ": ".join(filter(None, (one.off, one.why)))


def last_findings(found: Iterable[Finding]) -> dict[str, Finding]:
    """The last certified model of each trajectory."""
    return {one.trajectory: one for one in sorted(found, key=lambda one: one.step)}


def _limits(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {100 * LIMITS[name]:g} %" for name in names)


def _plain(line: Mapping[Hashable, Any]) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in line.items()}
