"""The cells that we and a peer run, without what makes them durable. Only the standard library is imported here."""

from tests.bench.contender import FRAME_ROWS
from tests.notebook.twelve import CELLS


def trivial(number: int) -> dict[str, str]:
    """Cells that do next to nothing."""
    return {f"cell{n}": f"x{n} = {n} + 1" for n in range(number)}


def plain(number: int) -> list[str]:
    """The same with names of their own: what the kernel takes without anything durable."""
    return [f"y{n} = {n} + 1" for n in range(number)]


def session() -> dict[str, str]:
    """Twelve cells with a frame of 80 MB, a fitted model and a plot."""
    found = {name: code.replace("DIE\n", "").replace("\nDIE", "") for name, code in CELLS.items()}
    return found | {"frame": found["frame"].replace("1_000_000", str(FRAME_ROWS))}
