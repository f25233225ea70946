"""BFBox's search: what an architecture costs (``costs``), what a supernet thinks of it (``scoring``), in which order
architectures are tried (``algorithms``), in how many processes (``workers``), all of it from one command (``run``)."""
