"""What one encoder for all points of a stored walk would lose: new decoders and classifiers for the encoders of its models.

    python jobs/universal.py RUN [--models 8] [--seeds 3] [--epochs N]

RUN is the folder of a run of jobs/isoc.py. The same command again goes on where it stopped, and draws the figure again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package need not be installed on a cluster
sys.path.append(str(Path.cwd()))  # for --trust of a model beside the user

from rayfe.signals import ended, handle_signals

if __name__ == "__main__":
    handle_signals()  # before what takes time to import
    from rayfe.cli.universal import main

    sys.exit(ended(main(sys.argv[1:])))
