"""The workflows that the benchmarks run. Only the benchmarks' own processes have this app installed."""
