"""What every test is held to, the plugins' own too: properties may take as long as a busy machine needs for them."""

from hypothesis import HealthCheck, settings

settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
