"""Says how long bytes take: links, traces, topology, max-min sharing."""
