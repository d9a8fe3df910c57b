"""Move a representation to new data at constant classification loss (sec. 4, App. G).

    python jobs/transfer.py [PRESET] [--options] --out DIR
    ray job submit --working-dir . -- python jobs/transfer.py [PRESET] [--options] --out s3://bucket/run

PRESET is fig5-quick (default), fig5, fig6 or fig6-quick; `--help` explains every option. The same command again
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

    sys.exit(ended(main("transfer", sys.argv[1:])))
