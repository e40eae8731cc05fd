"""The workflow that a delivery over real HTTP starts."""

from pydantic import BaseModel, ConfigDict

from runs.definitions import Node, Pipeline, Workflow
from runs.registry import register
from runs.starts_by import Webhook


class Parcel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int


HOOKED = register(
    Workflow(
        name="hooked",
        version=1,
        team="Testers",
        goal=lambda parcel: f"Parcel {parcel.number}",
        starts=(Webhook(name="parcels"),),
        pattern=Pipeline(nodes=(Node(name="only", work=lambda parcel: parcel, takes=Parcel, gives=Parcel),)),
    )
)
