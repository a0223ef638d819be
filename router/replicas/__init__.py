"""Replicas: several processes that serve from one database, and how they share the work by leases."""

from router.replicas.lease_user import Held, JudgedBy, LeaseUser
from router.replicas.membership import Membership
from router.replicas.replica_list import ListedLease, ListedReplica, ReplicaList
from router.replicas.seen_replicas import SeenReplicas

__all__ = [
    "Held",
    "JudgedBy",
    "LeaseUser",
    "ListedLease",
    "ListedReplica",
    "Membership",
    "ReplicaList",
    "SeenReplicas",
]
