"""Data made by a program: one file per kind, drawn from seeds alone, each with its parameters in the data list and the card.

What was made here is called simulated wherever it is spoken of. Beats of the heart (`beats`) are made between two real images,
daily images (`fractions`) are made anew at each step of a training; their parameters are among its settings.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from jrscli.runtime.plain import need
from jrscli.training.simulated.contact import Contact
from jrscli.training.simulated.followups import FollowUps


@dataclass(frozen=True)
class Simulate:
    """What a program makes: one of these.

    contact: series of two bodies that touch and part, from nothing. followups: later visits of every case.
    """

    contact: Contact | None = None
    followups: FollowUps | None = None

    def __post_init__(self) -> None:
        need(sum(part is not None for part in self._parts().values()) == 1, f"one of {', '.join(self._parts())} is needed")

    def _parts(self) -> dict[str, object]:
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    @property
    def makes_images(self) -> bool:
        """Whether there are no files: all images are made."""
        return self.contact is not None

    def parameters(self) -> dict[str, float]:
        """Every number of it by name, for the card."""
        found = {}
        for name, part in self._parts().items():
            for key, value in dataclasses.asdict(part).items() if dataclasses.is_dataclass(part) else ():  # type: ignore[arg-type]
                found[f"{name}.{key}"] = float(value)
        return found
