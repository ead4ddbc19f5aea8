"""What the CA publishes by hand: documents, news and notices, with the periods of CPS 8.1.2."""
