"""Many runs: a study in a folder, and the paper's random search."""
