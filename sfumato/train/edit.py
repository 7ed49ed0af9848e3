"""Edit: Gaussians after a change, and which old row each of them comes from."""

from dataclasses import dataclass

from torch import Tensor

from sfumato.core.check import check_shape
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians

__all__ = ["Edit"]


@dataclass(frozen=True, eq=False)
class Edit:
    """What a strategy wants done between two steps; clone, split, prune, relocate, noise and reset all fit in it.

    Raises ShapeError when parents or fresh do not have one entry per Gaussian, InputError when a name in `forget`
    is no field of Gaussians.
    """

    gaussians: Gaussians  # N' rows
    parents: Tensor | None = None  # (N',) int64, the old row of each new one; None: the same rows as before
    fresh: Tensor | None = None  # (N',) bool, True: the optimizer forgets this row; None: none
    forget: tuple[str, ...] = ()  # fields whose moments restart in every row

    def __post_init__(self) -> None:
        N = len(self.gaussians)
        if self.parents is not None:
            check_shape("parents", self.parents, ("N",), N=N)
        if self.fresh is not None:
            check_shape("fresh", self.fresh, ("N",), N=N)
        unknown = [name for name in self.forget if name not in Gaussians.names()]
        if unknown:
            raise InputError(
                f"forget must name fields of Gaussians ({' '.join(Gaussians.names())}); got {unknown[0]!r}"
            )

    def carry(self, rows: Gaussians) -> Gaussians:
        """What the optimizer kept for each old row, brought to the new ones: rows[parents] * ~fresh.

        Fields in `forget` come back as zeros. Tensors are new where they differ, the given ones where they do not.
        """
        if self.parents is not None:
            rows = rows[self.parents]
        elif self.fresh is not None:
            rows = rows.map(Tensor.clone)
        if self.fresh is not None:
            for tensor in rows:
                tensor[self.fresh] = 0
        forgotten = {name: getattr(rows, name).new_zeros(getattr(rows, name).shape) for name in self.forget}
        return Gaussians(**{name: forgotten.get(name, getattr(rows, name)) for name in Gaussians.names()})
