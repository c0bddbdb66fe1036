"""Many runs, one engine: what a job is, how jobs are started, what became of each."""
