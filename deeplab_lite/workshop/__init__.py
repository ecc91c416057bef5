"""The road out, for lesson 09 and the command line: train, data sets, segment, evaluate, export."""
