"""How the model that a run starts from is named: a stored step of a run, or weights that were given in Python."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rayfe.config.checks import require

STATE_DICT = "state-dict:"
"""How the name of given weights begins; the first letters of their digest follow."""
STEP = re.compile(r"(?P<run>.+?)@((?P<trajectory>[^@:/]+):)?(?P<step>\d+)")
HOW = "give RUN@STEP, or RUN@TRAJECTORY:STEP of a run with several trajectories"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredStep:
    """A step of a stored run; None where the name leaves it open."""

    run: str
    """Folder or URI."""
    trajectory: str | None = None
    step: int | None = None

    @property
    def name(self) -> str:
        """As it is typed."""
        trajectory = "" if self.trajectory is None else f"{self.trajectory}:"
        return self.run if self.step is None else f"{self.run}@{trajectory}{self.step}"


def stored_step(text: str) -> StoredStep:
    """The step that a text such as `runs/walk@12` names.

    Raises:
        UsageError: it names none.
    """
    found = STEP.fullmatch(text)
    if found:
        return StoredStep(run=found["run"], trajectory=found["trajectory"], step=int(found["step"]))
    require(bool(text.strip()) and "@" not in text.rpartition("/")[2], "start", text, HOW)
    return StoredStep(run=text)


def is_state_dict(text: str) -> bool:
    """Whether it is the name of weights that were given in Python."""
    return text.startswith(STATE_DICT)


def portable(text: str) -> str:
    """The name without the folder that its run lies in: what run.json has."""
    if is_state_dict(text):
        return text
    step = stored_step(text)
    return StoredStep(run=step.run.rstrip("/").rpartition("/")[2], trajectory=step.trajectory, step=step.step).name
