"""The repository site: what the CA publishes (CPS 2.6.1), as pages in two languages and as JSON."""
