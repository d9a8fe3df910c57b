"""What a record of coded images says, in words."""

from __future__ import annotations

from rayfe.records.codec import CodecRecord

CLOSE = 0.02
"""Excess of a code without loss over (R + D) / ln 2 that needs no second look."""


def sentences(record: CodecRecord) -> list[str]:
    """What a record says, of z and of images."""
    cut = f"; {record.cut} searches were cut short" if record.cut else ""
    z = (
        f"z: R is {record.R_bits:.2f} bits, its code {record.z_bits:.2f} ({record.z_bits - record.R_bits:+.2f}, at most "
        f"{record.most_z_bits - record.R_bits:+.2f} wanted){cut}; D of what is decoded {record.coded_D:.4g}, of usual draws {record.D:.4g} "
        f"(difference {record.coded_D - record.D:+.2g} ± {record.D_se:.1g})"
    )
    if record.accuracy is not None and record.coded_accuracy is not None:
        z += f"; accuracy {100 * record.coded_accuracy:.1f} % and {100 * record.accuracy:.1f} %"
    if record.RD_bits is None or record.x_bits is None:
        return [z, "images: not coded without loss, since their pixels have more than 256 values"]
    excess = 100.0 * (record.x_bits / record.RD_bits - 1.0)
    return [
        z,
        f"images without loss: (R + D) / ln 2 is {record.RD_bits:.1f} bits, their code {record.x_bits:.1f} ({excess:+.2f} %)",
    ]


def is_close(record: CodecRecord) -> bool:
    """Whether both codes are as near to R and R + D as codes should be."""
    near = record.RD_bits is None or record.x_bits is None or record.x_bits <= (1.0 + CLOSE) * record.RD_bits
    return near and record.z_bits <= record.most_z_bits and not record.cut


def brief(record: CodecRecord) -> str:
    """The same in half a line."""
    z = f"step {record.step} ({record.trajectory}): R {record.R_bits:.2f} bits, z coded in {record.z_bits:.2f}"
    if record.RD_bits is None or record.x_bits is None:
        return z
    return f"{z}; R + D {record.RD_bits:.1f} bits, images coded in {record.x_bits:.1f}"
