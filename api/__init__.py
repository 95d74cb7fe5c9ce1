"""The public REST and SSE interface: requests become calls of `rules` and `db`, rows become the guides' answers."""
