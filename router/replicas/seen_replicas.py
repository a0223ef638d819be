"""What this process sees of all replicas."""

from router.clock import Clock
from router.package import package_version
from router.replicas.membership import Membership
from router.replicas.replica_list import ReplicaList, list_replicas, only_one
from router.store import ReplicasView, Store


class SeenReplicas:
    """Lists all replicas, for pages, the API and ``/status``."""

    def __init__(self, store: Store, membership: Membership, clock: Clock) -> None:
        self._store = store
        self._membership = membership
        self._clock = clock
        self._began_at = clock.now()

    async def read(self) -> ReplicaList:
        """Return who serves, and who holds what, as the database has it. :raises StoreUnavailable: it can't be read"""
        return self._alone() or self._listed(await self._store.replicas.view())

    def last(self) -> ReplicaList | None:
        """Return the same as of the last renewal of this process. None: there was none yet."""
        if (alone := self._alone()) is not None or (found := self._membership.renewal) is None:
            return alone
        return self._listed(ReplicasView(found.now, found.rules, found.replicas, found.leases))

    def _alone(self) -> ReplicaList | None:
        mine = self._membership
        if not mine.is_alone:
            return None
        now, sha256 = self._clock.now(), mine.judged_by.sha256
        return only_one(mine.name, package_version(), self._began_at, sha256, now)

    def _listed(self, view: ReplicasView) -> ReplicaList:
        mine = self._membership
        return list_replicas(view, mine.session, mine.term, mine.wanted)
