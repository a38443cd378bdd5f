"""Static routes answer from the configuration."""

from typing import Any, ClassVar, cast

from gateway_core.routes import StaticRoutesPlugin
from gateway_core.testing import samples
from gateway_core.types import ModelFacts, Route


async def test_routes_are_those_of_the_served_models_and_nobody_can_change_them() -> None:
    class Running:
        models: ClassVar = {"m": ModelFacts("m", (Route("a", "x"), Route("b", "y")))}

    plugin = StaticRoutesPlugin()
    assert plugin.select_backend(samples.call("m")) is None
    await plugin.startup(cast("Any", Running()))
    assert plugin.select_backend(samples.call("other")) is None
    answer = plugin.select_backend(samples.call("m"))
    assert answer == [Route("a", "x"), Route("b", "y")]
    answer.clear()
    assert plugin.select_backend(samples.call("m")) == [Route("a", "x"), Route("b", "y")]
