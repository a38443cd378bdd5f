"""An OpenAI-compatible LLM gateway that bills exactly what it delivered.

Read `gateway_core.pipeline` first: it is the line of one call from top to bottom.
"""

__version__ = "0.1.0"
