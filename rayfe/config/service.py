"""Where a run works and what it leaves besides rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from rayfe.config.checks import POSITIVE, Checked, Needs, With, at_least, require

ON_RAY = With("backend", "ray")


@dataclass(frozen=True, kw_only=True)
class Service(Checked):
    """Backend, evaluators, placement, budget: few of these change a row, and then by rounding."""

    backend: Literal["inline", "ray"] = "ray"
    """ray: Ray Tune trials and a pool of evaluator actors; inline: the same requests in this process, without Ray."""
    evaluators: Annotated[int | None, at_least(1), ON_RAY] = None
    """Evaluator actors at most; without it as many as are of use, and as the cluster can hold at the time."""
    placement: Annotated[Literal["shared", "isolated"], ON_RAY] = "shared"
    """shared: all trajectories send their work to one pool of evaluators, which is never idle while there is work;
    isolated: each trajectory has evaluators of its own in a placement group."""
    autoscale: Annotated[Literal["cpu", "gpu"] | None, ON_RAY] = None
    """Ask the cluster's autoscaler for machines for the evaluators, and wait for them: gpu for machines with GPUs, also
    where none is up yet."""
    train_workers: Annotated[int, at_least(0), ON_RAY, Needs("placement", "shared")] = 0
    """Workers that share each mini-batch of first equilibria and baselines (Ray Train); 0: an evaluator trains them."""
    log_format: Literal["text", "json"] = "text"
    """text: a table or a line a step for people; json: one JSON object a line on stderr for each event, instead."""
    time_budget: Annotated[float | None, POSITIVE] = None
    """Seconds after which a trajectory starts no further step."""
    threads: Annotated[int, at_least(1, 1024)] = 2
    """Threads of one evaluator."""
    replicas_per_evaluator: Annotated[int | Literal["all", "auto"], at_least(1)] = "auto"
    """Neighbours trained together on one evaluator, 1 to all. auto: as the run began, all for new runs. 1 needs an evaluator
    for each and pays where one model fills a GPU and others are idle. Rows differ by rounding."""
    trajectories_per_evaluator: Annotated[int | Literal["auto"], at_least(1, 1024)] = "auto"
    """Trajectories that one evaluator trains together, each with its neighbours. auto: as the run began; new runs have 1 on a CPU, and
    where evaluators have GPUs all trajectories, up to 64 on each. Rows differ by noise: a run goes on with the number that it has."""
    keep_states: str = "all"
    """Weight files to keep: all, last, or a number."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        known = self.keep_states in ("all", "last") or re.fullmatch("[1-9][0-9]{0,8}", self.keep_states) is not None
        require(known, "keep_states", self.keep_states, "give all, last or a number of steps")
        slots, name = self.slots, "trajectories_per_evaluator"
        whole = self.replicas_per_evaluator in ("all", "auto")
        require(slots == 1 or whole, name, slots, "keeps neighbours together; give ``replicas_per_evaluator=all``")
        require(
            slots == 1 or self.placement == "shared", name, slots, "needs evaluators that are shared; give ``placement=shared``"
        )
        require(slots == 1 or not self.train_workers, name, slots, "is not for Ray Train; give ``train_workers=0``")

    @property
    def slots(self) -> int:
        """Trajectories that one evaluator trains together; 1 where that is still left to the machine."""
        return self.trajectories_per_evaluator if isinstance(self.trajectories_per_evaluator, int) else 1
