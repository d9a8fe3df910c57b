"""Every error that users and callers see, and one-line messages of them."""

from __future__ import annotations

import errno


class UsageError(ValueError):
    """Bad input from a user: one line that names the field, the value and the fix."""

    def __init__(self, name: str, value: object, fix: str) -> None:
        super().__init__(name, value, fix)  # all three, so that it survives pickling between processes
        self.name, self.value, self.fix = name, value, fix

    def __str__(self) -> str:
        return f"--{self.name} {self.value}: {self.fix}".replace("\n", " ")


class CorruptFile(RuntimeError):
    """A stored file is not what was written: `path` names it, `fault` says what is wrong."""

    def __init__(self, path: str, fault: str) -> None:
        super().__init__(path, fault)  # both, so that it survives pickling between processes
        self.path = path
        self.fault = fault

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}"


class StorageFull(OSError):
    """There is no room for a file. What was there before stays whole, and the same command goes on when there is room."""

    def __init__(self, path: str) -> None:
        text = f"No space left for {path}; make room, then the same command goes on from the last committed step"
        super().__init__(errno.ENOSPC, text)
        self.path = path

    def __str__(self) -> str:
        return str(self.args[1])

    def __reduce__(self) -> tuple[type[StorageFull], tuple[str]]:
        return StorageFull, (self.path,)


class LeaseLost(RuntimeError):
    """Another driver has taken this run over, or its folder is not the one that the driver holds."""


class WalkFailed(RuntimeError):
    """The trajectory cannot go on, and not by a named stop."""


class RunBroken(RuntimeError):
    """What answers the requests died, such as Ray; what is stored stays, and the same job goes on."""


class NotExported(RuntimeError):
    """torch.export cannot take this model, or what it made computes something else."""


CONTROLS = dict.fromkeys((*range(127, 160), *range(8234, 8239), *range(8294, 8298)), "�")
CONTROLS |= {code: chr(0x2400 + code) for code in range(0x20)}
"""Characters that would move a terminal's cursor, or turn its text round, and what is shown in their place."""


def visible(text: str) -> str:
    """Text that somebody else may have written, as it may be shown: on one line, without control characters."""
    return text if text.isprintable() else " ".join(text.splitlines()).translate(CONTROLS)


def dashed(name: str) -> str:
    return name.replace("_", "-")


def one_line(error: UsageError) -> str:
    """The error as one line that names the option as it is typed."""
    name = error.name if error.name == "PRESET" else "--" + dashed(error.name)
    given = f"{name} {error.value}".rstrip()
    return visible(f"{given}: {error.fix}")
