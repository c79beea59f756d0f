"""Says how long computing takes and what it costs: device profiles, energy, memory."""
