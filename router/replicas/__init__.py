"""Replicas: several processes that serve from one database, and how they share the work by leases."""
