"""Walk along the equilibrium surface at constant classification loss (iso-classification, sec. 3).

    python jobs/isoc.py [PRESET] [--options] --out DIR
    ray job submit --working-dir . -- python jobs/isoc.py [PRESET] [--options] --out s3://bucket/run

PRESET is mnist-quick (default), mnist-walk, digits-smoke, fig2, fig3 or fig3-quick; `--help` explains every option. The same command again
goes on where a run stopped.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package need not be installed on a cluster
sys.path.append(str(Path.cwd()))  # for --model.name of a module beside the user

from rayfe.signals import ended, handle_signals

if __name__ == "__main__":
    handle_signals()  # before what takes time to import
    from rayfe.cli.job_command import main

    sys.exit(ended(main("isoc", sys.argv[1:])))
