"""slurm.sbatch with stand-ins for SLURM and Ray: the exit code is the job's, whatever happens around it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "cluster" / "slurm.sbatch"

SCONTROL = """
if [[ $1 == show ]]; then printf 'n1\\nn2\\n'; else echo "$*" >>"$LOG"; fi
"""
SRUN = """
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
RAY = """
echo "$*" >>"$LOG"
[[ $1 == symmetric-run && $RAY_STARTS == no ]] && exit 0  # as the true one where `ray start` fails
[[ $1 == get-auth-token ]] && mkdir -p "$HOME/.ray" && echo token >"$HOME/.ray/auth_token"
[[ $1 == symmetric-run ]] || exit 0
while [[ $1 != -- ]]; do shift; done
shift
"$@"
"""
JOB = """
echo "job $RAY_ADDRESS $RAY_AUTH_MODE $*" >>"$LOG"
[[ $JOB_CODE == wait ]] || exit "$JOB_CODE"
trap 'exit 143' TERM
echo started >>"$LOG"
sleep 60 & wait
"""


@pytest.fixture
def stage(tmp_path: Path) -> dict[str, str]:
    """Environment of a batch script on the first of two nodes; `LOG` collects what was called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in {"scontrol": SCONTROL, "srun": SRUN, "ray": RAY, "python": JOB}.items():
        program = programs / name
        program.write_text(f"#!/bin/bash\n{body}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "log").touch()
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LOG": str(tmp_path / "log"),
        "PYTHON": str(programs / "python"),
        "HEAD_IP": "192.0.2.1",
        "JOB_CODE": "0",
        "RAY_STARTS": "yes",
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "3",
        "SLURM_GPUS_ON_NODE": "1",
    }


def run(stage: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(["bash", str(SCRIPT), *arguments], env=stage, capture_output=True)
    return done.returncode, Path(stage["LOG"]).read_text()


def test_script_parses() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("no shellcheck (a Debian package)")
    done = subprocess.run([shellcheck, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("code", [0, 1, 2])
def test_exit_code_is_the_job_s(stage: dict[str, str], code: int) -> None:
    stage["JOB_CODE"] = str(code)
    returned, log = run(stage, "fig2", "--out", "/shared/run")
    assert returned == code
    assert "job 192.0.2.1:24711 token jobs/isoc.py fig2 --out /shared/run" in log
    assert "symmetric-run --address 192.0.2.1:24711 --min-nodes 2 --num-cpus 3 --num-gpus 1 -- " in log
    assert "requeue" not in log
    assert not list(Path(stage["SLURM_SUBMIT_DIR"]).glob(".rayfe-slurm-*"))


def test_a_ray_that_does_not_start_is_a_failure(stage: dict[str, str]) -> None:
    stage["RAY_STARTS"] = "no"
    assert run(stage, "fig2", "--out", "/shared/run")[0] == 70


@pytest.mark.parametrize("arguments", [("fig2",), ("fig2", "--out", "runs/a"), ("fig2", "--out=runs/a")])
def test_out_must_be_reachable_from_all_nodes(stage: dict[str, str], arguments: tuple[str, ...]) -> None:
    code, log = run(stage, *arguments)
    assert code == 2
    assert log == ""


@pytest.mark.parametrize("restarts, requeued", [("0", True), ("20", False)])
def test_time_limit_stops_the_job_and_puts_it_back(stage: dict[str, str], restarts: str, requeued: bool) -> None:
    stage |= {"JOB_CODE": "wait", "SLURM_RESTART_COUNT": restarts}
    batch = subprocess.Popen(["bash", str(SCRIPT), "fig2", "--out=/shared/run"], env=stage)
    while "started" not in Path(stage["LOG"]).read_text():
        time.sleep(0.05)
    batch.send_signal(signal.SIGTERM)
    assert batch.wait() == 143
    assert ("requeue 4711" in Path(stage["LOG"]).read_text()) is requeued
