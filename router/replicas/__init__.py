"""Replicas: several processes that serve from one database, and how they share the work by leases."""

from router.replicas.membership import Held, JudgedBy, LeaseUser, Membership

__all__ = ["Held", "JudgedBy", "LeaseUser", "Membership"]
