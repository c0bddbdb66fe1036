"""Many runs: what a job is, how jobs are started, and how each ended."""
