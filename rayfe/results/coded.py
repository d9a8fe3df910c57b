"""What a record of coded images says, in words."""

from __future__ import annotations

from rayfe.records.codec import CodecRecord

CLOSE = 0.02
"""Excess of a code without loss over (R + D) / ln 2 that needs no second look."""


def sentences(record: CodecRecord) -> list[str]:
    """What a record says, of z and of images."""
    cut = f"; {record.cut} searches were cut short" if record.cut else ""
    z = (
        f"z: R is {record.R_bits:.2f} bits{_base(record)}, its code {record.own_z_bits:.2f}{_once(record.z_fixed)} "
        f"({record.own_z_bits - record.base_bits:+.2f}, at most {record.most_z_bits - record.base_bits:+.2f} wanted){cut}; "
        f"D of what is decoded {record.coded_D:.4g}, of usual draws {record.D:.4g} "
        f"(difference {record.coded_D - record.D:+.2g} ± {record.D_se:.1g})"
    )
    if record.accuracy is not None and record.coded_accuracy is not None:
        z += f"; accuracy {100 * record.coded_accuracy:.1f} % and {100 * record.accuracy:.1f} %"
    if record.RD_bits is None or record.own_x_bits is None:
        return [z, "images: not coded without loss, since their pixels have more than 256 values"]
    whole = record.RD_bits + record.gain_bits
    excess = f"{100.0 * (record.own_x_bits / whole - 1.0):+.2f} %"
    also = f" of {whole:.1f}, with z so coded" if _base(record) else ""
    code = f"{record.own_x_bits:.1f}{_once(record.x_fixed)}"
    return [z, f"images without loss: (R + D) / ln 2 is {record.RD_bits:.1f} bits, their code {code} ({excess}{also})"]


def _base(record: CodecRecord) -> str:
    """That z is coded by another density than m(z), where it is, and what that costs."""
    if record.R_base is None or record.R_base == record.R:
        return ""
    return f", {record.base_bits:.2f} relative to the Gaussian with the moments of m(z), by which z is coded"


def _once(fixed: int | None) -> str:
    return "" if fixed is None else f" and {fixed} bits once"


def is_close(record: CodecRecord) -> bool:
    """Whether both codes are as near to R and R + D as codes of this z should be; what a stream has but once does not count."""
    RD, own = record.RD_bits, record.own_x_bits
    near = RD is None or own is None or own <= (1.0 + CLOSE) * (RD + record.gain_bits)
    return near and record.own_z_bits <= record.most_z_bits and not record.cut


def brief(record: CodecRecord) -> str:
    """The same in half a line."""
    z = f"step {record.step} ({record.trajectory}): R {record.R_bits:.2f} bits{_base(record)}, z coded in {record.own_z_bits:.2f}"
    if record.RD_bits is None or record.own_x_bits is None:
        return z
    return f"{z}; R + D {record.RD_bits:.1f} bits, images coded in {record.own_x_bits:.1f}"
