#!/usr/bin/env bash
# The entropy coder constriction reads a table of probabilities that lies in memory by columns as if it lay by rows: no error is raised, and
# symbols are coded by other probabilities than those that were given.
#
# Version: constriction 0.5.0, numpy 2.4.6. The model is stream.model.Categorical(perfect=False), given one row of probabilities for each
# symbol, as bits-back coding of images gives them. A network's table is often such a view: softmax over the first axis, then transposed.
# Seen: 1,000 symbols of 5 values take 1,312 bits by a table that lies by rows (1,263 by its own probabilities) and 4,768 by an equal one
# that lies by columns; decoded by the first table they are other symbols. Coding and decoding by tables that both lie by columns give the
# symbols back, so that a test of the round trip passes. A table with gaps between its numbers is refused: "not contiguous".
# In rayfe: rayfe/coding/images.py hands the coder tables that lie by rows; a test compares bits with - log of the probabilities.
# Exits with 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check constriction==0.5.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import constriction
import numpy as np

model, stack = constriction.stream.model, constriction.stream.stack

rng = np.random.default_rng(0)
rows = rng.dirichlet(np.full(5, 0.3), size=1000).astype(np.float32)
symbols = np.array([rng.choice(5, p=row / row.sum()) for row in rows.astype(float)], dtype=np.int32)
columns = np.asfortranarray(rows)
gaps = np.repeat(rows, 2, axis=1)[:, ::2]
categorical = model.Categorical(perfect=False)
assert np.array_equal(rows, columns) and np.array_equal(rows, gaps)


def coded(table) -> stack.AnsCoder:
    coder = stack.AnsCoder()
    coder.encode_reverse(symbols, categorical, table)
    return coder


right = -np.log2(rows[np.arange(1000), symbols]).sum()
bits = {name: coded(table).num_bits() for name, table in (("by rows", rows), ("by columns", columns))}
mixed = np.array_equal(coded(columns).decode(categorical, rows), symbols)
alike = np.array_equal(coded(columns).decode(categorical, columns), symbols)
try:
    refused = f"accepted, {coded(gaps).num_bits()} bits"
except TypeError as error:
    refused = str(error)
print(f"by the probabilities {right:.0f} bits; coded {bits}")
print(f"by columns, decoded by rows: {'the symbols' if mixed else 'other symbols'}; by columns: {'the symbols' if alike else 'other symbols'}")
print(f"with gaps: {refused}")
wrong = bits["by columns"] > 2 * right
assert wrong and bits["by rows"] < 1.1 * right and not mixed and alike and "contiguous" in refused, "the behaviour has changed"
PYTHON
