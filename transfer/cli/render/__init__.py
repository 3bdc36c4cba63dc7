"""Reports and plans as text and as JSON lines."""
