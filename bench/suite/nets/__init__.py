"""The nets of the suite: one file per source, each with a table `NETS`: name -> Recipe."""
