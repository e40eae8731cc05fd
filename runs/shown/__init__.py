"""What pages show of runs and workflows: reads and geometry. Nothing here changes anything."""
