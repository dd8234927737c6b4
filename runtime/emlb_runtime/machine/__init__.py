"""What this machine has: instruction sets, cores, quotas, memory and threads."""
