"""What is deployed: units, accounts, directories, containers, and the guide."""
