"""The embedded default: private servers and our processes on this machine, in directories and on ports of their own."""
