"""How everything is measured: rounds, ratios, latencies, memory, the machine."""
