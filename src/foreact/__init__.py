"""foreact: World Action Models, robot policies whose predicted future helps produce the action."""

__version__ = "0.1.0"
