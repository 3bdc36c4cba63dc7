"""The others, on the same servers: scripts in Python, the server's own ways, programs on PATH."""
