"""Shape errors in one sentence: the argument, what was wanted, what came."""

from torch import Tensor

from sfumato.core.errors import ShapeError

__all__ = ["check_shape"]


def check_shape(name: str, tensor: Tensor, shape: tuple[int | str, ...], **known: int) -> None:
    """Raise ShapeError unless `tensor` has `shape`, whose letters stand for sizes given in `known`.

    A letter that is not in `known` matches any size: `check_shape("means", means, ("N", 3))`.
    """
    wanted = [known.get(size, size) if isinstance(size, str) else size for size in shape]
    fits = tensor.ndim == len(wanted) and all(
        isinstance(want, str) or want == have for want, have in zip(wanted, tensor.shape, strict=True)
    )
    if fits:
        return
    letters = ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "")
    sizes = ", ".join(f"{letter}={size}" for letter, size in known.items() if letter in shape)
    given = f" with {sizes}" if sizes else ""
    raise ShapeError(f"{name} must be ({letters}){given}; got {tuple(tensor.shape)}")
