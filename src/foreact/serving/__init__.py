"""A trained model behind a WebSocket: many robots, one model, plans that do not depend on who else is connected."""
