"""Memory before it is spent: what a run will take, what is given up for it to fit, and the table that says so."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from sfumato.core.errors import InputError
from sfumato.core.units import parse_bytes, say_bytes
from sfumato.kernels.backends import choose, load

if TYPE_CHECKING:
    from sfumato.core.scene import Scene, Size
    from sfumato.train import TrainConfig
    from sfumato.train.demand import Demand
    from sfumato.train.memory import Fitted

__all__ = ["Budget"]

LEAST = 100_000_000  # bytes; Python with torch alone holds more, so whoever asks for less forgot a unit
COMPILING = 200_000_000  # bytes that stay taken when kernels have been compiled, as they are before training


class Budget:
    """The bytes that a run may hold, first asked before photos are decoded, then when the steps are known."""

    def __init__(
        self,
        asked: str | None,
        config: "TrainConfig",
        backend: str,
        downscale: float = 1.0,
        at_least: int = 0,
        resumed: bool = False,
        watched: bool = False,
        gpu: str | None = None,
    ) -> None:
        """asked: as in --memory; None: most of what is free. at_least: Gaussians there are before training. resumed:
        the photos' size was settled by the run that is gone on with. watched: in the browser. gpu: as in --gpu-memory.

        Raises InputError when it is no amount of memory, or too little for anything, BackendError when the backend
        cannot run here.
        """
        from sfumato.train.memory import default_budget, default_gpu_budget

        self._backend, device = choose(backend)
        self.bytes = _parsed("--memory", asked) or default_budget()
        self.gpu_bytes = _parsed("--gpu-memory", gpu) or default_gpu_budget(device)  # None: nothing is on a GPU
        if gpu and self._backend != "gpu":
            raise InputError(f"--gpu-memory is for a GPU, and backend {self._backend!r} computes here; leave it out")
        self._config, self._downscale, self._at_least = config, downscale, at_least
        self._resumed, self._watched = resumed, watched
        self._demand: Demand | None = None
        self._told: list[str] = []
        self._most_pairs: int | None = None
        self.fitted: Fitted | None = None

    def fit_photos(self, train: "Sequence[Size]", test: "Sequence[Size]") -> tuple[float, int | None]:
        """How many times smaller photos must be, and how many bytes of them a scene may hold; see `load_scene`.

        Raises InputError when nothing fits.
        """
        from sfumato.train.demand import demand_of
        from sfumato.train.memory import fit

        demand = demand_of(train, test, self._config, self._backend, self._downscale)
        demand = replace(demand, gaussians=max(demand.gaussians, self._at_least), watched=self._watched)
        if not getattr(load(self._backend), "is_prepared", lambda: True)():
            demand = replace(demand, taken=demand.taken + COMPILING)
        fitted = fit(demand, self.bytes, self.gpu_bytes)
        if self._resumed and fitted.smaller > 1:
            raise self.too_small("photos of this size")
        self._tell(fitted.said)
        self._demand, self._most_pairs = fitted.demand, fitted.most_pairs
        return float(fitted.smaller), fitted.keep_in_views

    def fit_training(self, scene: "Scene", config: "TrainConfig") -> "TrainConfig":
        """The config, whose numbers are all fixed, with no more Gaussians than fit; shows the table.

        Raises InputError when nothing fits.
        """
        from sfumato.train.demand import demand_of
        from sfumato.train.memory import fit_loaded

        demand = self._demand or demand_of(_sizes(scene, "train"), _sizes(scene, "test"), config, self._backend)
        most = config.gaussians_for(scene)
        demand = replace(demand, gaussians=most, watched=self._watched)
        self.fitted = fit_loaded(demand, self.bytes, self.gpu_bytes)
        self._tell(self.fitted.said)
        self._show()
        return replace(config, max_gaussians=self.fitted.demand.gaussians, most_pairs=self.fitted.most_pairs)

    def too_small(self, what: str) -> InputError:
        """The sentence for a run that cannot be gone on with, since its numbers are settled."""
        leave = "leave out --view, " if self._watched else ""
        return InputError(
            f"going on with this run takes {what}, which do not fit into {self._said()}; {leave}"
            "close other programs, or raise --memory"
        )

    def _said(self) -> str:
        """What there is."""
        more = "" if self.gpu_bytes is None else f" and {say_bytes(self.gpu_bytes)} of the GPU's"
        return f"{say_bytes(self.bytes)} of memory{more}"

    @property
    def keep(self) -> int | None:
        """Bytes of photos prepared for training to hold; None: all."""
        demand = self.fitted.demand if self.fitted else self._demand
        return demand.keep if demand else None

    @property
    def on_device(self) -> int | None:
        """Bytes of photos prepared for training to keep on the GPU; None before photos were looked at."""
        demand = self.fitted.demand if self.fitted else self._demand
        if demand is None:
            return None
        every = sum(size.bytes for size in demand.train)  # they fit beside the rest
        return every if demand.on_device is None else demand.on_device

    @property
    def most(self) -> int | None:
        """Gaussians that there is room for beside photos as they are held; None before photos were looked at."""
        from sfumato.train.memory import most_gaussians

        return most_gaussians(self._demand, self.bytes, self.gpu_bytes) if self._demand else None

    def rehearsed(self, config: "TrainConfig") -> "TrainConfig":
        """The config with tile lists no longer than fit, for rehearsals."""
        return config if self._most_pairs is None else replace(config, most_pairs=self._most_pairs)

    def to_report(self) -> dict[str, object]:
        """For report.json."""
        gpu = {} if self.gpu_bytes is None else {"gpu_budget_bytes": self.gpu_bytes}
        return {"budget_bytes": self.bytes, **gpu, **(self.fitted.prediction.to_report() if self.fitted else {})}

    def _tell(self, sentences: Sequence[str]) -> None:
        """Say what is given up, once: most of it is known before the steps are, and still holds then."""
        for sentence in sentences:
            if sentence not in self._told:
                Console(stderr=True, highlight=False, soft_wrap=True).print(sentence, markup=False)
        self._told += sentences

    def _show(self) -> None:
        if self.fitted is None:
            return
        prediction = self.fitted.prediction
        _show_table(f"memory, of {say_bytes(self.bytes)}", prediction.table())
        if prediction.device:
            least = "" if self.gpu_bytes is None else f", of {say_bytes(self.gpu_bytes)}"
            _show_table(f"the GPU's memory{least}", prediction.device_table())


def _parsed(flag: str, asked: str | None) -> int | None:
    """The bytes that a flag asks for, if it was given."""
    amount = parse_bytes(asked) if asked else None
    if amount is not None and amount < LEAST:
        raise InputError(f"{flag} must be at least {say_bytes(LEAST)}, such as 4GB; got {asked!r}")
    return amount


def _show_table(title: str, rows: Sequence[tuple[str, int]]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, amount in rows:
        table.add_row(name, say_bytes(amount))
    console = Console(stderr=True, highlight=False)
    console.print(title, style="italic", markup=False)  # the table's own title would be broken at its width
    console.print(table)


def _sizes(scene: "Scene", split: str) -> "list[Size]":
    return [view.size for view in scene.views if view.split == split]
