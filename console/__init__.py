"""The live screen for call center, guardian and operator: a client of the public API, with the rights of who signed in.

It keeps nothing but sessions, in memory.
"""
