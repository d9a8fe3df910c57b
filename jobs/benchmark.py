"""rayfe against what people would use instead: same data, model, start and training loop, measured side by side.

    python jobs/benchmark.py                                       # short form, minutes: the tables are printed
    python jobs/benchmark.py --form long --examples 8e6 16e6       # all of MNIST, three seeds, hours: run it in the background
    python jobs/benchmark.py --form fashion                        # Fashion-MNIST; --form resnet: a narrow ResNet on CIFAR-10
    python jobs/benchmark.py --form long --method envelope --budget 2 4 --seed 0 1  # models from scratch, to compare with
    python jobs/benchmark.py --search nupi augmented geco          # search settings first
    python jobs/benchmark.py table runs/benchmark-long             # tables and figure again, from the rows
    python jobs/benchmark.py records                               # what was reached, and when
    python jobs/benchmark.py machine                               # the training loop, a step's parts, replicas

The same command goes on where it stopped; each method has a folder of its own below --out, or below the folder of its seed.
"""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package need not be installed on a cluster

from rayfe.signals import ended, handle_signals

PARTS = {"table": "report", "records": "records", "machine": "machine"}

if __name__ == "__main__":
    handle_signals()  # before what takes time to import
    part = PARTS.get(sys.argv[1] if len(sys.argv) > 1 else "", "job")
    sys.exit(ended(import_module(f"analysis.benchmark.{part}").main(sys.argv[1 + (part != "job") :])))
