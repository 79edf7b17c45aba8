"""Pages of runs: the list, one run with everything it left, and the fragments that other pages embed."""
