"""The state machine: webhooks, claims and outcomes in, new rows and ledger entries out. Pure: no SQL, no clock, no I/O."""
