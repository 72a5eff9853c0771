"""Examples to run and to copy from. Each says in its first lines how to run it."""
