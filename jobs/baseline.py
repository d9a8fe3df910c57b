"""What people do instead of a transfer: fine-tuning, training from scratch, joint training; the same rows.

    python jobs/baseline.py [PRESET] --method finetune|scratch|joint [--options] --out DIR
    ray job submit --working-dir . -- python jobs/baseline.py [PRESET] [--options] --out s3://bucket/run

PRESET is one of jobs/transfer.py: data, model and start are those of the transfer. The same command again goes on
where a run stopped.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package need not be installed on a cluster
sys.path.append(str(Path.cwd()))  # for --model.name of a module beside the user

from rayfe.signals import ended, handle_signals

if __name__ == "__main__":
    handle_signals()  # before what takes time to import
    from rayfe.cli.job_command import main

    sys.exit(ended(main("baseline", sys.argv[1:])))
