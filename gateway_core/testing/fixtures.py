"""The pytest plugin that comes with the gateway: its fixtures, each from a module of its own."""
