"""The files of run, sweep and suite folders: read with limits, checked, typed."""
