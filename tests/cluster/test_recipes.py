"""The cluster recipes, checked without a cluster: what each file must and must not say, and that they agree."""

from __future__ import annotations

import json
import re
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rayfe.config.fields import hints_of
from rayfe.config.kinds import KINDS
from rayfe.config.presets import PRESETS
from rayfe.exceptions import dashed

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "cluster"
RECIPES = sorted(path for path in CLUSTER.iterdir() if path.is_file())
IMAGE = re.compile(r"[\w./-]+/rayfe:[\w.]+")
SECRET = re.compile(
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY|\b[0-9a-f]{32,}\b"
    r"|(?i:auth_token|password|secret_access_key)[\"']?\s*[:=]\s*[\"']?(?!~|\$|<)[\w+/-]{16,}"
)
PRIVATE = re.compile(r"/(root|Users)/|file://|\b(10|192\.168|172\.(1[6-9]|2\d|3[01]))(\.\d{1,3}){2,3}\b|\.internal\b|\.corp\b")


def read(name: str) -> str:
    return (CLUSTER / name).read_text()


def document(name: str) -> dict[str, Any]:
    content = yaml.safe_load(read(name))
    assert isinstance(content, dict)
    return content


# --- all files ------------------------------------------------------------------------------------------------------


def test_nothing_is_missing() -> None:
    names = {path.name for path in RECIPES}
    assert {"Dockerfile", "rayjob.yaml", "pvc.yaml", "aws.yaml", "gcp.yaml", "slurm.sbatch", "README.md"} <= names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_no_secret_and_no_private_place_is_named(path: Path) -> None:
    text = path.read_text()
    assert not SECRET.search(text)
    assert not PRIVATE.search(text)


def test_one_image_of_the_package_s_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    named = {path.name: set(IMAGE.findall(path.read_text())) for path in RECIPES}
    for name in ("Dockerfile", "rayjob.yaml", "aws.yaml", "gcp.yaml"):
        assert named[name] == {f"REGISTRY/rayfe:{version}"}, name
    assert named["README.md"] <= {f"REGISTRY/rayfe:{version}"}


def test_the_ray_of_the_recipes_is_the_pinned_one() -> None:
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned and document("rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]


# --- Dockerfile -----------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n", " ", "\n".join(line for line in read("Dockerfile").splitlines() if not line.startswith("#")))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines.splitlines() if line.strip())]


def test_image_has_a_pinned_base_and_another_user_than_root() -> None:
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert len(set(bases)) == 1  # packages are built where they run
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", bases[0])
    assert ":latest" not in read("Dockerfile")
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users and users[-1] == "ray"
    assert not re.search(r"\bsudo\b", "\n".join(rest for _, rest in instructions()))


def test_image_installs_pinned_packages_and_leaves_no_caches() -> None:
    runs = [rest for word, rest in instructions() if word == "RUN"]
    installs = [run for run in runs if "pip install" in run]
    assert installs and all("--no-cache-dir" in run and ("-c constraints.txt" in run or "--no-deps" in run) for run in installs)
    assert all("rm -rf /var/lib/apt/lists/*" in run and "--no-install-recommends" in run for run in runs if "apt-get" in run)


def test_image_copies_only_what_exists_and_the_ignore_file_lets_through() -> None:
    allowed = {line[1:] for line in read("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    copied = [rest.split() for word, rest in instructions() if word == "COPY" and "--from=" not in rest]
    sources = {word for words in copied for word in words[:-1] if not word.startswith("--")}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


def test_code_is_copied_after_the_packages() -> None:
    words = [rest for _, rest in instructions()]
    assert words.index("--from=packages /packages /usr/local") < words.index("--chown=ray:ray rayfe rayfe")


def test_extra_packages_are_exact_and_fit_the_constraints() -> None:
    lines = [line for line in read("requirements.txt").splitlines() if line and not line.startswith("#")]
    extra = dict(line.split("==") for line in lines)
    fsspec = re.search(r"^fsspec==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert fsspec and extra["s3fs"] == fsspec[1]
    assert {"boto3", "google-api-python-client", "gcsfs"} <= set(extra)


# --- KubeRay --------------------------------------------------------------------------------------------------------

RESOURCES = {"type": "object", "required": ["cpu", "memory"], "additionalProperties": {"type": "string"}}
TEMPLATE = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["containers", "securityContext", "volumes"],
            "properties": {
                "securityContext": {"properties": {"runAsNonRoot": {"const": True}}, "required": ["runAsNonRoot"]},
                "containers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["name", "image", "resources", "volumeMounts"],
                        "properties": {
                            "resources": {
                                "required": ["requests", "limits"],
                                "properties": {"requests": RESOURCES, "limits": RESOURCES},
                            }
                        },
                    },
                },
            },
        }
    },
}
START = {"type": "object", "additionalProperties": {"type": "string"}}  # a number here is refused by the CRD
COUNT = {"type": "integer", "minimum": 0}
RAYJOB: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": [
                "entrypoint",
                "rayClusterSpec",
                "submissionMode",
                "shutdownAfterJobFinishes",
                "ttlSecondsAfterFinished",
            ],
            "additionalProperties": False,
            "properties": {
                "entrypoint": {"type": "string"},
                "submissionMode": {"enum": ["K8sJobMode", "HTTPMode", "SidecarMode"]},
                "runtimeEnvYAML": {"type": "string"},
                "shutdownAfterJobFinishes": {"const": True},
                "ttlSecondsAfterFinished": COUNT,
                "backoffLimit": COUNT,
                "activeDeadlineSeconds": {"type": "integer", "minimum": 1},
                "rayClusterSpec": {
                    "type": "object",
                    "required": ["rayVersion", "headGroupSpec", "workerGroupSpecs", "authOptions"],
                    "additionalProperties": False,
                    "properties": {
                        "rayVersion": {"type": "string"},
                        "authOptions": {
                            "type": "object",
                            "required": ["mode", "secretName"],
                            "additionalProperties": False,
                            "properties": {"mode": {"const": "token"}, "secretName": {"type": "string"}},
                        },
                        "enableInTreeAutoscaling": {"const": True},
                        "autoscalerOptions": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {"version": {"enum": ["v1", "v2"]}, "idleTimeoutSeconds": COUNT},
                        },
                        "headGroupSpec": {
                            "type": "object",
                            "required": ["rayStartParams", "template"],
                            "additionalProperties": False,
                            "properties": {"rayStartParams": START, "template": TEMPLATE},
                        },
                        "workerGroupSpecs": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "required": [
                                    "groupName",
                                    "replicas",
                                    "minReplicas",
                                    "maxReplicas",
                                    "rayStartParams",
                                    "template",
                                ],
                                "additionalProperties": False,
                                "properties": {
                                    "groupName": {"type": "string"},
                                    "replicas": COUNT,
                                    "minReplicas": COUNT,
                                    "maxReplicas": COUNT,
                                    "rayStartParams": START,
                                    "template": TEMPLATE,
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


def test_rayjob_has_the_fields_of_the_resource() -> None:
    jsonschema.validate(document("rayjob.yaml"), RAYJOB)


def test_rayjob_gives_gpus_to_workers_only_and_may_grow_from_what_it_starts_with() -> None:
    spec = document("rayjob.yaml")["spec"]["rayClusterSpec"]
    head = spec["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["replicas"] > 0  # preflight counts the nodes that are there
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert int(limits["nvidia.com/gpu"]) >= 1
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in group["template"]["spec"][
            "tolerations"
        ]
    assert "nvidia.com/gpu" not in head["template"]["spec"]["containers"][0]["resources"]["limits"]


def test_rayjob_writes_where_head_and_workers_see_it() -> None:
    spec = document("rayjob.yaml")["spec"]
    claim = document("pvc.yaml")
    out = re.search(r"--out (\S+)", spec["entrypoint"])
    assert out and claim["spec"]["accessModes"] == ["ReadWriteMany"]
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in groups):
        claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        folder = next(path for path in mounts if out[1].startswith(f"{path}/"))
        assert claims[mounts[folder]] == claim["metadata"]["name"]


def test_a_stopped_job_has_time_to_end() -> None:
    environment = yaml.safe_load(document("rayjob.yaml")["spec"]["runtimeEnvYAML"])
    assert environment["env_vars"] == document("job-env.yaml")["env_vars"]
    assert int(environment["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) > 3  # Ray's own; ours ends within 2


# --- ray up ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["aws.yaml", "gcp.yaml"])
def ray_up(request: pytest.FixtureRequest) -> dict[str, Any]:
    return document(request.param)


def test_ray_up_file_meets_ray_s_schema_with_and_without_its_defaults(ray_up: dict[str, Any]) -> None:
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    schema = Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    jsonschema.validate(ray_up, json.loads(schema.read_text()))
    validate_config(prepare_config(ray_up))


def test_ray_up_installs_nothing_over_the_image(ray_up: dict[str, Any]) -> None:
    """Ray's defaults install a nightly Ray on every node, and an old API client on the head."""
    for name in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert name in ray_up
        assert not any("install" in command for command in ray_up[name])


def test_ray_up_has_a_head_without_work_and_gpu_workers_that_may_grow(ray_up: dict[str, Any]) -> None:
    types = ray_up["available_node_types"]
    assert types[ray_up["head_node_type"]]["resources"]["CPU"] == 0
    workers = {name: kind for name, kind in types.items() if name != ray_up["head_node_type"]}
    for kind in workers.values():
        assert 0 < kind["min_workers"] < kind["max_workers"] <= ray_up["max_workers"]
        machine = kind["node_config"].get("InstanceType") or kind["node_config"]["machineType"]
        assert machine.startswith(("g", "p", "a"))
    assert ray_up["provider"]["cache_stopped_nodes"] is False


def test_ray_up_uses_a_token_on_all_nodes_and_shows_the_dashboard_to_none(ray_up: dict[str, Any]) -> None:
    assert "-e RAY_AUTH_MODE=token" in ray_up["docker"]["run_options"]
    assert ray_up["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    start = " ".join(ray_up["head_start_ray_commands"])
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start and "--dashboard-host=127.0.0.1" in start


# --- README ---------------------------------------------------------------------------------------------------------


def commands() -> list[str]:
    """Lines of the fenced shell blocks of the README, continued lines joined, without prompts."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", read("README.md"), re.S)
    return [line.strip().removeprefix("$ ") for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]


def test_readme_names_only_files_that_exist() -> None:
    named = set(re.findall(r"\b(?:cluster|jobs|rayfe|analysis)/[\w./-]+\.\w+|\bcluster/Dockerfile\b", read("README.md")))
    assert {"jobs/isoc.py", "cluster/rayjob.yaml", "cluster/aws.yaml", "cluster/gcp.yaml", "cluster/slurm.sbatch"} <= named
    assert all((ROOT / name).exists() for name in named), named


def test_recipes_use_only_options_and_presets_that_the_job_knows() -> None:
    known = {f"--{dashed(name)}" for kind in KINDS for name in hints_of(kind)} | {"--help"}
    entrypoint = document("rayjob.yaml")["spec"]["entrypoint"]
    usage = re.findall(r"^#.*slurm\.sbatch (.*)$", read("slurm.sbatch"), re.M)
    lines = [entrypoint, *(f"jobs/isoc.py {line}" for line in usage), *commands()]
    calls = [
        re.split(r"jobs/isoc\.py|slurm\.sbatch", line)[1].split()
        for line in lines
        if re.search(r"jobs/isoc\.py|slurm\.sbatch", line)
    ]
    assert len(calls) >= 4
    for words in calls:
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert set(options) <= known, words
        if words and not words[0].startswith(("-", '"')):
            assert words[0] in PRESETS["isoc"], words


def test_recipes_give_out_a_place_that_all_nodes_reach() -> None:
    text = "\n".join([document("rayjob.yaml")["spec"]["entrypoint"], *commands(), read("slurm.sbatch").partition("set -uo")[0]])
    places = re.findall(r"--out[ =]([\w./:-]+)", text)
    assert places and all(place.startswith("/") or "://" in place for place in places)


# --- upload ---------------------------------------------------------------------------------------------------------


def test_working_dir_upload_is_small_and_leaves_out_what_git_ignores(tmp_path: Path) -> None:
    """`ray job submit --working-dir . --runtime-env cluster/job-env.yaml`; Ray's limit is 512 MiB."""
    from ray._private.runtime_env.packaging import _zip_files

    archive = tmp_path / "package.zip"
    _zip_files(str(ROOT), document("job-env.yaml")["excludes"], str(archive), include_gitignore=True)
    with zipfile.ZipFile(archive) as package:
        tops = {name.split("/")[0] for name in package.namelist() if not name.endswith("/")}
    assert archive.stat().st_size < 30 * 2**20
    assert {"rayfe", "jobs"} <= tops
    assert not tops & {".venv", "runs", ".git", "rayfe.egg-info"}
