"""Direct issuance: policy, planning, runs, workers, and the exchange with the card centre."""
