"""Several router processes on the same ports of one machine, and the process that looks after them."""
