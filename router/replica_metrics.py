"""What a replica shows about its leases."""

from collections.abc import Collection

from router import metric_table as table
from router.metric_values import MetricValues


class ReplicaMetrics(MetricValues):
    """The metrics of replicas. On a database that no other process can share, there is one replica, without leases."""

    def __init__(self, *, enabled: bool) -> None:
        super().__init__(enabled=enabled)
        self.replicas(1)
        self._set(table.RULES_IN_FORCE, 1)  # until it is known that other rules are in force

    def replicas(self, count: int) -> None:
        """Show how many replicas serve."""
        self._set(table.REPLICAS, count)

    def lease_held(self, lease: str, *, is_held: bool) -> None:
        """Show whether this replica holds a lease."""
        self._set(table.LEASE_HELD, is_held, lease)

    def leases(self, wanted: Collection[str], held: Collection[str]) -> None:
        """Show every lease that the rules need, and whether this replica holds it. So a lease that no replica holds is 0 on
        all of them, and one that is no longer needed is shown by none.
        """
        self._replace(table.LEASE_HELD, {(lease,): lease in held for lease in {*wanted, *held}})
        for lease in wanted:  # from the first scrape on, so that the first takeover is an increase
            self._count(table.LEASE_TAKEOVERS_TOTAL, lease, by=0)

    def lease_taken_over(self, lease: str) -> None:
        """Count a lease that another replica has held before."""
        self._count(table.LEASE_TAKEOVERS_TOTAL, lease)

    def leases_lost(self) -> None:
        """Count that this replica could not renew its session in time."""
        self._count(table.LEASES_LOST_TOTAL)
