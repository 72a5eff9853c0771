"""A FastAPI back end whose jobs say how far they are, and a page with a live bar that outlives reloads."""
