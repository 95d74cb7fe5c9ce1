"""The operator's CLI `tcu`."""
