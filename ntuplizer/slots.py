"""Which slots the objects of an event have, and which events are kept: options without arrays."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Types of objects as they are published (arXiv:2312.06909); 0 marks an empty slot.
EMPTY, LEPTON, B_JET, LIGHT_JET, MISSING = 0, 1, 2, 3, 4


class SlotOptions(BaseModel):
    """Which events to keep and which slots they have.

    The published selection is the default: one lepton or more, two b-jets or more and two light
    jets or more, in six slots together with the missing transverse momentum. No lepton slots and
    `leptons_max` 0 make the zero-lepton selection, two lepton slots the two-lepton one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lepton_pt_min: float = Field(10.0, ge=0, description="pT in GeV that a lepton must exceed")
    jet_pt_min: float = Field(20.0, ge=0, description="pT in GeV that a jet must exceed")
    # Detectors make a jet of an isolated lepton too.
    overlap: float = Field(0.4, ge=0, description="drop jets within this ΔR of such a lepton")
    leptons: int = Field(1, ge=0, le=4, description="slots for the hardest leptons")
    b_jets: int = Field(2, ge=0, le=8, description="slots for the hardest b-jets")
    light_jets: int = Field(2, ge=0, le=12, description="slots for the hardest other jets")
    leptons_min: int | None = Field(
        None, ge=0, description="leptons to have; without it, as many as slots"
    )
    b_jets_min: int | None = Field(
        None, ge=0, description="b-jets to have; without it, as many as slots"
    )
    light_jets_min: int | None = Field(
        None, ge=0, description="other jets to have; without it, as many as slots"
    )
    leptons_max: int | None = Field(
        None, ge=0, description="most leptons to have; without it, any number"
    )

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        least = self.required("leptons")
        if self.leptons_max is not None and self.leptons_max < least:
            raise ValueError(f"leptons_max {self.leptons_max} is below the {least} required")
        return self

    def required(self, kind: str) -> int:
        """Return how many `leptons`, `b_jets` or `light_jets` an event must have."""
        minimum = getattr(self, f"{kind}_min")
        return getattr(self, kind) if minimum is None else minimum

    @property
    def slots(self) -> dict[str, int]:
        """The slots in order: name → type of what fills it."""
        return {
            **_numbered("lepton", self.leptons, LEPTON),
            "met": MISSING,
            **_numbered("bjet", self.b_jets, B_JET, always=True),
            **_numbered("jet", self.light_jets, LIGHT_JET, always=True),
        }


def _numbered(name: str, count: int, kind: int, always: bool = False) -> dict[str, int]:
    if count == 1 and not always:
        return {name: kind}
    return {f"{name}{i + 1}": kind for i in range(count)}
