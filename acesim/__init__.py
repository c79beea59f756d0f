"""acesim: which synchronisation policy reaches the target, in how many hours, gigabytes and joules."""
