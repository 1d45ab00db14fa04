"""foreact beside its peers: the same work at the same size, in turns in one run, each in an environment of its own."""
