"""Tiers: each is a plugin of its own that states its name, its windows and its cap, or refuses."""
