"""Code that a tiny CASA checkpoint brings in these tests: our own classes, with the names and arguments
that the authors' scripts use. Its mathematics are equations 2 and 4 of arXiv 2512.19535."""
