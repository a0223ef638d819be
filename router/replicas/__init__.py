"""Replicas: several processes that serve from one database, and how they share the work by leases."""

from router.replicas.membership import Held, JudgedBy, LeaseUser, Membership
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
