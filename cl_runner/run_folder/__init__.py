"""What the files of run, sweep and suite folders hold: read with limits, checked, typed."""
