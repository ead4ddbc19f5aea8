"""The operator's page: what the processes of this host do, and the pause and resumption of a run."""
