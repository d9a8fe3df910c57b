"""One model for a whole box of (lam, gamma), trained once, and ordinary models of it at all pairs that are given.

    python jobs/conditioned.py [PRESET] --lam LAM ... --gamma GAMMA ... [--options] --out DIR
    ray job submit --working-dir . -- python jobs/conditioned.py [PRESET] [--options] --out s3://bucket/run

The box is what all lam and gamma span. The same command goes on where a run stopped; with more of them inside the box it
stores more models, without training again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package need not be installed on a cluster
sys.path.append(str(Path.cwd()))  # for --model.name of a module beside the user

from rayfe.signals import ended, handle_signals

if __name__ == "__main__":
    handle_signals()  # before what takes time to import
    from rayfe.cli.job_command import main

    sys.exit(ended(main("conditioned", sys.argv[1:])))
