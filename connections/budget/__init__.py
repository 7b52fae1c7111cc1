"""What the exchanges let one address send, shared by all its processes and tenants (docs/adr/0019)."""
