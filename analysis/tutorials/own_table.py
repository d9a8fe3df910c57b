"""A table of your own: scikit-learn's breast cancer data as a pandas frame.

    python analysis/tutorials/own_table.py
    python analysis/tutorials/own_table.py --small                # seconds

`rayfe.dataset(x, y)` takes frames, arrays and tensors. D is the squared error summed over features, so the scale of a feature
is its weight. With `rescale=True` each feature is brought to [0, 1] by the range that it has in the training rows; stored models
give features back in their own units. Labels may be words. With a few hundred rows the training set is over-fitted soon; the
validation columns say how much.

What the walk shows on a table: how many nats about the features the representation needs beyond those that tell the classes apart.
"""

from __future__ import annotations

import argparse

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import rayfe
from rayfe.config import EquilibrationConfig, MeasureConfig, ModelConfig
from rayfe.data.examples import Dataset


def breast_cancer() -> Dataset:
    """569 rows of 30 measurements, malignant or benign; a fifth is for validation."""
    frame = load_breast_cancer(as_frame=True)
    diagnosis = frame.target.map(dict(enumerate(frame.target_names)))
    train, test, y_train, y_test = train_test_split(frame.data, diagnosis, test_size=0.2, random_state=0, stratify=diagnosis)
    return rayfe.dataset(train, y_train, validation=(test, y_test), name="breast-cancer", rescale=True)


def main() -> None:
    """Walk with the built-in perceptron, then say what the representation keeps."""
    parser = argparse.ArgumentParser(description="A table of your own.")
    parser.add_argument("--small", action="store_true", help="little training")
    parser.add_argument("--out", help="the run's folder")
    options = parser.parse_args()
    first, each = (20, 4) if options.small else (200, 40)  # epochs of the start, and of a step
    run = rayfe.walk(
        data=breast_cancer(),
        model=ModelConfig(hidden=32, latent=4, classifier_hidden=0),
        lam=5.0,  # D is small here: thirty features within [0, 1], most of them far from the ends
        gamma=4.0,
        lam_end=50.0,
        steps=1 if options.small else 12,
        tolerance=0.1 if options.small else 0.03,
        step_length=0.2,
        equilibration=EquilibrationConfig(
            first_schedule="linear", first_learning_rate=1e-2, learning_rate=5e-3, batch=64, first_epochs=first, epochs=each
        ),
        measure=MeasureConfig(head_draws=128),
        out=options.out,
    )
    walk = run.accepted
    print(walk[["lam", "gamma", "R", "D", "C", "val_C", "val_accuracy"]].round(3))
    print(f"R {walk.R.iloc[0]:.2f} -> {walk.R.iloc[-1]:.2f} nats, while C stays {walk.C.iloc[-1]:.3f} nats")
    print(f"the run keeps a copy of the table: {run.location}/data/breast-cancer.npz")


if __name__ == "__main__":
    main()
