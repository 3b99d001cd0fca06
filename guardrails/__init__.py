"""Text in, verdict out. Knows neither jobs nor providers."""
