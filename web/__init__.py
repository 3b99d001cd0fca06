"""The door: HTTP and WebSocket in, events out. Knows no provider."""
