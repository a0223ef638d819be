"""The replicas: which processes serve from the database, and which leases each of them holds."""

from pydantic import BaseModel, ConfigDict, Field

from router.web.api.cursors import Query
from router.web.api.endpoint import Endpoint
from router.web.app_context import AppContext


class ReplicaAnswer(BaseModel):
    """A replica: a process that serves."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="Its session, new at each start; empty on SQLite.")
    name: str
    version: str
    started_at: int = Field(description="When its session began.")
    renewed_at: int | None = Field(description="When it renewed its session last; null on SQLite.")
    expires_at: int | None = Field(
        description="When its session ends if it does not renew it; null on SQLite."
    )
    sha256: str = Field(description="The hash of the files of its rules.")
    agrees: bool = Field(description="Its rules are those in force. If not, it holds no lease.")
    is_this: bool = Field(description="It is the one that answers.")
    leases: list[str] = Field(description="The leases that it holds.")


class LeaseAnswer(BaseModel):
    """A lease: the right to do some work. `background`, or `lanes` and a section of `channels:`."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    replica: str | None = Field(description="The id of its holder; null: no replica holds it.")
    holder: str | None = Field(description="The name of its holder.")
    since: int = Field(description="When it was granted last, or became free.")
    fence: int = Field(description="Grows with each grant.")


class ReplicasAnswer(BaseModel):
    """All replicas that serve from the same database."""

    model_config = ConfigDict(from_attributes=True)

    now: int = Field(description="The time of the database.")
    term: int = Field(description="How long a session lasts without a renewal (ms); 0 on SQLite.")
    is_shared: bool = Field(
        description="Several replicas may serve. false: on SQLite there is one, and it needs no leases."
    )
    this_replica: str | None = Field(
        description="The id of the one that answers; null: it has no session now, and sends nothing."
    )
    replicas: list[ReplicaAnswer]
    leases: list[LeaseAnswer] = Field(description="Every lease that the rules need.")


async def read_replicas(context: AppContext, _query: Query) -> ReplicasAnswer:
    found = await context.replicas()
    return ReplicasAnswer(
        now=found.now, term=found.term, is_shared=found.is_shared,
        this_replica=None if found.this is None else found.this.id,
        replicas=[ReplicaAnswer.model_validate(each) for each in found.replicas],
        leases=[LeaseAnswer.model_validate(each) for each in found.leases],
    )  # fmt: skip


READ_REPLICAS = Endpoint(
    "GET", "/api/v1/replicas", read_replicas, Query, ReplicasAnswer,
    "Which replicas serve from the database, and which leases each of them holds.",
)  # fmt: skip
ENDPOINTS = (READ_REPLICAS,)
