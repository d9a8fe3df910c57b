"""What rows guarantee on new data, in words (`surface.pac_bayes`)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rayfe.results.frames import numbers


def guarantee_line(rows: pd.DataFrame) -> str:
    """The accepted row with the lowest bound of errors, for people; empty where no row has one."""
    if rows.empty or "gibbs_error_bound" not in rows:
        return ""
    given = rows[rows["accepted"].to_numpy(bool) & rows["gibbs_error_bound"].notna().to_numpy()]
    if given.empty:
        return ""
    best = given.iloc[int(np.argmin(numbers(given, "gibbs_error_bound")))]
    bound, guess = float(best["gibbs_error_bound"]), 1.0 - float(np.exp(-best["label_entropy"]))
    said = [
        f"at most {100 * bound:.1f} % of answers by one draw of weights and z are wrong on new data, with probability 95 %"
        + (", which says nothing: guessing the likeliest class is as good" if bound >= guess else ""),
        f"{100 * best['val_gibbs_error']:.1f} ± {100 * best['val_gibbs_error_se']:.1f} % of validation examples are",
        f"clipped C is at most {best['gibbs_C_bound']:.3g} nats (a guess has {best['label_entropy']:.3g}), and "
        f"{best['val_gibbs_C']:.3g} ± {best['val_gibbs_C_se']:.1g} there",
    ]
    knows = f"{best['gibbs_S']:.4g} nats of {best['read_size']:.0f} training examples"
    return f"{'; '.join(said)} (step {best['step']} of {best['trajectory']}, whose weights know {knows})"
