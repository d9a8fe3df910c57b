"""An evaluator uses the GPU that Ray granted it, and none where it was granted none; GPUs that do not exist are enough to see it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")
pytestmark = pytest.mark.ray
SCRIPT = """
import json, os, tempfile
import ray
ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False, logging_level="error",
    object_store_memory=80 << 20, _temp_dir=tempfile.mkdtemp(prefix="r", dir="/tmp"))

@ray.remote
class Granted:
    def device(self):
        from rayfe.on_ray.evaluator import granted_device
        return os.environ.get("CUDA_VISIBLE_DEVICES"), str(granted_device())

shown = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}}
found = {}
for name, gpus, count, environment in (("hidden", 1, 2, {}), ("shown", 1, 2, shown), ("part", 0.5, 1, {}), ("none", 0, 1, {})):
    actors = [Granted.options(num_cpus=0, num_gpus=gpus, runtime_env=environment).remote() for _ in range(count)]
    found[name] = ray.get([actor.device.remote() for actor in actors])
    for actor in actors:
        ray.kill(actor)

from rayfe.config import configure
from rayfe.on_ray.evaluator import Unit, make_inline, share
from rayfe.on_ray.machines import offers, try_out
from rayfe.data.paths import load_path
from rayfe.exceptions import UsageError
config = configure(**{"data.name": "digits", "model.hidden": 8, "threads": 1})
try:
    try_out(make_inline, config, share(load_path(config)), Unit(cpus=0.5, gpus=1))
except UsageError as error:
    found["refused"] = str(error)
found["offers"] = [bool(offer.host) for offer in offers(config)]
print(json.dumps(found))
"""


def test_each_evaluator_has_the_gpu_that_it_was_granted() -> None:
    hidden = {"CUDA_VISIBLE_DEVICES", "RAY_ADDRESS", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert sorted(found["hidden"]) == [["0", "cuda:0"], ["1", "cuda:0"]]  # of those that each sees
    assert sorted(device for _, device in found["shown"]) == ["cuda:0", "cuda:1"]
    assert [device for _, device in found["part"]] == ["cuda:0"]
    assert [device for _, device in found["none"]] == ["cpu"]  # Ray hides no GPU from it
    assert found["refused"].startswith("GPU='cuda:0': torch ")  # these GPUs do not exist
    assert found["offers"] == [True]
