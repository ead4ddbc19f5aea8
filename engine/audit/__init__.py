"""Hash-chained audit records in the transaction of what they record, signed checkpoints, verification."""
