"""Load → decide → save, one module per service; the caller owns the transaction and passes the time in."""
