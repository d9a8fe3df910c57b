"""Where the conditioned model of a stored run has wanted values: found by readings alone."""

from __future__ import annotations

from collections.abc import Mapping

from rayfe.config import RunConfig
from rayfe.data.paths import PathData
from rayfe.records import MeasureRequest, Point, Reading, Replica, Split, StepKey, StepRecord
from rayfe.records.carried import Carried
from rayfe.storage.store import Store
from rayfe.trajectory.conditioned import find_point


def read_in_the_box(
    store: Store, config: RunConfig, data: PathData, row: StepRecord, wanted: Mapping[str, float], near: Point
) -> Reading | None:
    """The reading of the model that has the wanted values of two of R, D, C, lam and gamma, by a search from `near`; None: the box has
    none. It is what the run's own row will say of it; `row` is the last of the trajectory whose conditioned model it is.

    Raises:
        FileNotFoundError: what was left for the step after `row` is not kept any more.
        CorruptFile: it is not what was stored.
        UsageError: the run's model class is not to be found here.
    """
    from rayfe.backend.inline import InlineBackend  # imports torch

    weights, box = Carried.of(store.carry(row)).conditioned, config.box
    assert box is not None
    backend = InlineBackend(config, data)

    def read(point: Point) -> Reading:
        replica = Replica(name="settled", point=point, weights=weights, box=box)
        key = StepKey(trajectory=row.trajectory, seed=row.seed, step=row.step, attempt=0)
        asked = MeasureRequest(key=key, replicas=(replica,), splits=(Split.TRAIN,), purpose="test")
        return backend.measure(asked).readings[0]

    return find_point(box, wanted, near, read)
