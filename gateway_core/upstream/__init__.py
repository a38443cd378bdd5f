"""The Upstream port: connections to providers, deadlines, caps, faults mapped once for all providers."""
