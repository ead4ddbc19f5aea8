"""Running processes, looked at and steered from beside them."""
